"""Results of finished pieces of work, by what they are results of: computed once, and found again after a crash.

A piece is a dict of arrays. With a folder every piece is a file of its own as soon as it is there, whole or not at
all (`jaxmem.archives`), so that a study that is killed goes on where it was. A folder says in a file what its pieces
are of.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmem.archives import read_archive, write_archive

__all__ = ["ABOUT", "Piece", "Store", "Work", "claim_folder", "differing", "forget"]

ABOUT = "about.json"

Piece = dict[str, np.ndarray]


class Work(NamedTuple):
    """A piece of a study, and what makes it.

    Attributes:
        key: all that decides its numbers.
        compute: makes it, from scratch or from what the pieces before it have left in memory.
        title: what it belongs to, for a bar.
    """

    key: Any
    compute: Callable[[], Piece]
    title: str = ""


class Store:
    """Pieces by key; a key is anything whose `repr` says all that decides the numbers.

    Args:
        folder: where pieces are kept; None: in memory alone.
        others: folders with pieces of other stores, to be read.
    """

    def __init__(self, folder: Path | None = None, others: Sequence[Path] = ()) -> None:
        self.folder = folder
        self._folders = [*([] if folder is None else [folder]), *others]
        self._pieces: dict[str, Piece] = {}

    def __contains__(self, key: Any) -> bool:
        return self._find(self.name(key)) is not None

    def __getitem__(self, key: Any) -> Piece:
        """The piece of that key; KeyError where it is not there."""
        piece = self._find(self.name(key))
        if piece is None:
            raise KeyError(key)
        return piece

    def __setitem__(self, key: Any, piece: Piece) -> None:
        """Keep the piece of that key."""
        name = self.name(key)
        self._pieces[name] = piece
        if self.folder is not None:
            write_archive(self.folder / name, piece, {})

    def folder_for(self, key: Any) -> Path | None:
        """A folder for what work in progress keeps by itself, if anything is kept."""
        return None if self.folder is None else self.folder / self.name(key).removesuffix(".npz")

    @staticmethod
    def name(key: Any) -> str:
        """The name of a key's piece, and of its file: the same in every process."""
        return hashlib.sha256(repr(key).encode()).hexdigest()[:32] + ".npz"

    def _find(self, name: str) -> Piece | None:
        for folder in self._folders:
            if name not in self._pieces:
                with suppress(OSError, ValueError):  # Not there, or damaged: it is computed again.
                    self._pieces[name], _ = read_archive(folder / name, "piece of a study")
        return self._pieces.get(name)


def claim_folder(folder: Path, mine: dict[str, Any]) -> None:
    """Make a folder one for the pieces of some work, or make sure that it is.

    Args:
        folder: made if it is not there.
        mine: what decides the pieces, as plain values.

    Raises:
        ValueError: it holds something else.
    """
    mine = json.loads(json.dumps(mine))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        description = folder / ABOUT
        if not description.exists():
            if any(folder.iterdir()):
                raise ValueError("it holds other things")
            description.write_text(json.dumps(mine, indent=2))
        theirs = json.loads(description.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder} cannot be used for unfinished work: {error}. Remove it, or name another."
        ) from error
    if theirs != mine:
        raise ValueError(
            f"{folder} holds unfinished work with another {', '.join(differing(mine, theirs))}: remove it to start "
            "anew, or run what it was made by."
        )


def differing(mine: dict[str, Any], theirs: Any, but: Sequence[str] = ()) -> list[str]:
    """What is not the same of two descriptions."""
    theirs = theirs if isinstance(theirs, dict) else {}
    return sorted(name for name in mine if theirs.get(name) != mine[name] and name not in but)


def forget(folder: Path) -> None:
    """Remove a folder of pieces, and all that is in it."""
    shutil.rmtree(folder, ignore_errors=True)
