"""Rows of features that are read a block at a time, whenever they are needed, and are never in memory as a whole.

A pass over them has the next block read by a thread while this one is worked on. Two blocks are in memory at any time.
"""

import mmap
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxmem.devices import by_all, n_parts
from jaxmem.inputs import as_array, as_features, check_shape, check_values, float_type, unmasked
from jaxmem.sharding import ShardedRows, sharded

__all__ = ["Features", "RowBlocks", "as_rows"]

# Long enough for a disk and a matrix product to run at full speed.
_BLOCK_BYTES = 2**24


@dataclass(frozen=True, eq=False)
class RowBlocks:
    """Features that are read a block of rows at a time, anew for every pass over them.

    Args:
        source: whatever has `shape`, `dtype` and rows that can be sliced (`source[10:20]`); or a function of no
            arguments that returns an iterator of blocks, arrays of shape (k, d) with any k, the same rows in the same
            order whenever it is called.
        shape: (n, d), of the blocks of a function together; of an array, its own.
        dtype: of the blocks; None: the array's, or float32. Floats keep their precision where JAX allows, all else
            becomes float32.

    Raises:
        ValueError: neither of the two, a function without a shape, an array with another, or no real numbers.

    Examples:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(y[:, None], size=(40, 3)).astype("float32")
        >>> blocks = jm.RowBlocks(lambda: iter(np.split(X, 4)), shape=X.shape)  # Files, say, read one after the other.
        >>> test = jm.permutation_test(jm.Ridge(), blocks, y, validation=jm.Holdout(X, y), n_permutations=99)
        >>> float(test.pvalue)
        0.02
    """

    source: Any
    shape: tuple[int, ...] = ()
    dtype: Any = None

    def __post_init__(self) -> None:
        """Take shape and type of an array from it."""
        own = tuple(getattr(self.source, "shape", ()))
        if own and self.shape and tuple(self.shape) != own:
            raise ValueError(f"RowBlocks said to have shape {self.shape} got an array of shape {own}: leave shape out.")
        object.__setattr__(self, "shape", own or tuple(self.shape))
        if not self.shape or not (hasattr(self.source, "shape") or callable(self.source)):
            raise ValueError(
                "RowBlocks takes an array with a shape and rows to slice, or a function that returns an iterator of "
                f"blocks together with shape=(n, d), but got a {type(self.source).__name__} and shape {self.shape}."
            )
        given = getattr(self.source, "dtype", np.float32) if self.dtype is None else self.dtype
        object.__setattr__(self, "dtype", float_type(given, "RowBlocks"))

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All rows, in memory."""
        return np.concatenate(list(self)).astype(self.dtype if dtype is None else dtype, copy=False)

    def astype(self, dtype: Any) -> "RowBlocks":
        """The same rows in another type."""
        return replace(self, dtype=dtype)

    @property
    def block_rows(self) -> int:
        """Rows a block; the last block may be shorter."""
        # No fewer than features: the scatter that a block adds to has as many rows.
        rows = max(_BLOCK_BYTES // (self.shape[1] * self.dtype.itemsize), self.shape[1])
        # Of an array in chunks whole ones are read: whoever reads half of one decodes all of it.
        chunks = getattr(self.source, "chunks", None)
        chunk = chunks[0] if chunks and isinstance(chunks[0], int) else 1
        return min(max(rows // chunk, 1) * chunk, len(self))

    def __iter__(self) -> Generator[np.ndarray]:
        """One pass: blocks of `block_rows` rows in order; the next one is read while this one is worked on."""
        blocks = self._sliced() if hasattr(self.source, "shape") else self._cut()
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(next, blocks, None)
            while (block := coming.result()) is not None:
                coming = reader.submit(next, blocks, None)
                yield block

    def _sliced(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self), self.block_rows):
            rows = self.source[start : start + self.block_rows]
            expected = (min(self.block_rows, len(self) - start), self.shape[1])
            if tuple(rows.shape) != expected:
                raise ValueError(
                    f"RowBlocks of an array of shape {self.shape} got {tuple(rows.shape)} from row {start} on, and not "
                    f"{expected}: the array says of itself what it does not hold."
                )
            block = np.empty((len(rows), self.shape[1]), self.dtype)
            _fill(block, rows)
            _release(self.source)
            yield block

    def _cut(self) -> Iterator[np.ndarray]:
        """Blocks of the size that is wanted from those of a function, which may be of any."""
        n, d = self.shape
        start = filled = 0
        block = np.empty((self.block_rows, d), self.dtype)
        for piece in self.source():
            piece = np.asarray(unmasked(piece, "RowBlocks"))
            if piece.ndim != 2 or piece.shape[1] != d or start + filled + len(piece) > n:
                raise ValueError(
                    f"RowBlocks said to have shape {self.shape} got a block of shape {piece.shape} after "
                    f"{start + filled} rows."
                )
            float_type(piece.dtype, "RowBlocks")
            while len(piece):
                taken = piece[: len(block) - filled]
                _fill(block[filled : filled + len(taken)], taken)
                filled, piece = filled + len(taken), piece[len(taken) :]
                if filled == len(block):
                    yield block
                    start, filled = start + filled, 0
                    block = np.empty((min(self.block_rows, n - start), d), self.dtype)
        if start < n:
            raise ValueError(f"RowBlocks said to have shape {self.shape} ended after {start + filled} rows.")


# Features in memory, on their way through it, or in the memories of several devices.
Features = Float[Array, "n d"] | RowBlocks | ShardedRows


def as_rows(X: Any, name: str = "X", mesh: Mesh | None = None) -> Features:
    """Take features as `as_features` does, but those that are to be read a block at a time as `RowBlocks`.

    These are `RowBlocks`, memory maps, and arrays of HDF5 and Zarr; but where they have no more rows than features,
    which take no more memory than the matrices of features by features that classifiers hold, they are read as a whole.

    Over a mesh that has an axis of rows they become `ShardedRows`, whatever they were: a device takes its own, and
    nothing has all of them.

    Raises:
        ValueError: as from `as_features`, whatever block it is found in, and in whichever of several processes; blocks
            of a function, which come in their own order, where rows are to be shared out.
    """
    if mesh is None or n_parts(mesh) == 1:
        return by_all(lambda: _whole(X, name), mesh)
    rows = _sharded(X, name, mesh)
    # Rows that are left over lie in all processes, of which one may have read others than the rest.
    by_all(lambda: check_values(rows, name), mesh)
    return rows


def _whole(X: Any, name: str) -> Features:
    if not isinstance(X, RowBlocks) and not _on_disk(X):
        return as_features(X, name)
    check_shape(tuple(X.shape), name)
    if X.shape[0] <= X.shape[1]:
        return as_features(np.asarray(X), name)
    rows = X if isinstance(X, RowBlocks) else RowBlocks(X, dtype=float_type(X.dtype, name))
    check_values(rows, name)
    return rows


def _sharded(X: Any, name: str, mesh: Mesh) -> ShardedRows:
    if isinstance(X, RowBlocks):
        if not hasattr(X.source, "shape"):
            raise ValueError(
                f"{name} is RowBlocks of a function, whose blocks come one after the other, but every device is to "
                "have rows of its own: give RowBlocks what has rows to slice, or share out permutations alone."
            )
        source, dtype = unmasked(X.source, name), X.dtype
    else:
        source = X if _on_disk(X) else as_array(X, name)
        dtype = float_type(source.dtype, name)
    check_shape(tuple(source.shape), name)
    return sharded(source, dtype, mesh, name)


def _on_disk(X: Any) -> bool:
    """Whether it is a memory map, or by all that one can see an array of HDF5 (h5py) or of Zarr."""
    on_disk = hasattr(X, "chunks") and (hasattr(X, "read_direct") or hasattr(X, "store"))
    return isinstance(X, np.memmap) or (on_disk and hasattr(X, "shape") and hasattr(X, "dtype"))


def _fill(block: np.ndarray, rows: Any) -> None:
    """Copy rows, for whoever gave them may change them."""
    with np.errstate(over="ignore"):  # What overflows is refused, as infinite.
        block[:] = unmasked(rows, "RowBlocks")


def _release(source: Any) -> None:
    """Give the pages of a memory map back, or they count as memory; the system's cache keeps them while it can."""
    mapping = source
    while isinstance(mapping, np.ndarray):
        mapping = mapping.base
    # What was written to a private map (mode "c") is nowhere else.
    if isinstance(mapping, mmap.mmap) and getattr(source, "mode", "c") != "c" and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
