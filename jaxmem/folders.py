"""Folders of results: written whole or not at all, and never over what is there unless that is asked for."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["check_folder", "write_folder"]


def check_folder(folder: str | os.PathLike, *, force: bool = False) -> Path:
    """Make sure, before any work, that results can be written to a folder.

    Raises:
        ValueError: it exists and `force` is not given, is a file, or cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder for the results.")
    if folder.exists() and not force:
        raise ValueError(f"{folder} exists: name another folder, or pass --force (force=True) to replace its results.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for place in (folder.parent, folder) if folder.exists() else (folder.parent,):
            with tempfile.TemporaryFile(dir=place):
                pass
    except OSError as error:
        raise ValueError(f"{folder} cannot be written: {error.strerror}. Name a folder that can be.") from error
    return folder


def write_folder(folder: str | os.PathLike, write: Callable[[Path], object], *, force: bool = False) -> Path:
    """Have files written into a folder, all of them or none; its parents are made.

    Args:
        folder: where.
        write: writes the files into the folder that it is given, which is another one beside it.
        force: write into a folder that exists, replacing files of the same names and no others.

    Returns:
        The folder's absolute path.

    Raises:
        ValueError: the folder exists and `force` is not given, or it cannot be written.
    """
    folder = check_folder(folder, force=force)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as workshop:
        finished = Path(workshop, folder.name)
        finished.mkdir()
        write(finished)
        if folder.exists():
            for file in finished.iterdir():
                file.replace(folder / file.name)
        else:
            finished.rename(folder)
    return folder
