"""Results of finished pieces of work, by what they are results of: computed once, and found again after a crash.

A piece is a dict of arrays. With a folder every piece is a file of its own as soon as it is there, whole or not at
all (`jaxmem.archives`), so that a study that is killed goes on where it was.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmem.archives import read_archive, write_archive

__all__ = ["Piece", "Store", "Work"]

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
