"""Results of finished pieces of work, by what they are results of: computed once, and found again after a crash.

A piece is a dict of arrays. With a folder every piece is a file of its own as soon as it is there, whole or not at
all (`jaxmem.archives`), so that a study that is killed goes on where it was.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from jaxmem.archives import read_archive, write_archive

__all__ = ["Store"]

Piece = dict[str, np.ndarray]


class Store:
    """Pieces by key; a key is anything whose `repr` says all that decides the numbers.

    Args:
        folder: where pieces are kept; None: in memory alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._pieces: dict[str, Piece] = {}

    def __contains__(self, key: Any) -> bool:
        return self._find(_name(key)) is not None

    def get(self, key: Any, compute: Callable[[], Piece]) -> Piece:
        """The piece of that key, computed if it is not there yet."""
        name = _name(key)
        piece = self._find(name)
        if piece is None:
            piece = self._pieces[name] = compute()
            if self.folder is not None:
                write_archive(self.folder / name, piece, {})
        return piece

    def folder_for(self, key: Any) -> Path | None:
        """A folder for what work in progress keeps by itself, if anything is kept."""
        return None if self.folder is None else self.folder / _name(key).removesuffix(".npz")

    def _find(self, name: str) -> Piece | None:
        if name not in self._pieces and self.folder is not None:
            with suppress(OSError, ValueError):  # Not there, or damaged: it is computed again.
                self._pieces[name], _ = read_archive(self.folder / name, "piece of a study")
        return self._pieces.get(name)


def _name(key: Any) -> str:
    return hashlib.sha256(repr(key).encode()).hexdigest()[:32] + ".npz"
