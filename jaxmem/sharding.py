"""Rows of features that lie on several devices, each of which has its own.

Rows that the devices cannot share out evenly, fewer than there are devices, lie on all of them.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from jaxmem.devices import ROWS, Block, by_all, fetched, n_parts, on_all

__all__ = ["ShardedRows", "sharded"]


@dataclass(frozen=True, eq=False)
class ShardedRows:
    """Features over the axis "rows" of a mesh; made by `sharded`.

    Attributes:
        blocks: the rows that are divided evenly, and those that are left, if any.
        mesh: the devices.
        shape: (n, d), of all rows.
        dtype: of the features.
    """

    blocks: tuple[Block, ...]
    mesh: Mesh
    shape: tuple[int, int]
    dtype: np.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Float[Array, "k d"]]:
        """The rows in order, block by block."""
        return (block.rows for block in self.blocks)

    def astype(self, dtype: Any) -> "ShardedRows":
        """The same rows in another type."""
        if dtype == self.dtype:
            return self
        blocks = tuple(replace(block, rows=block.rows.astype(dtype)) for block in self.blocks)
        return replace(self, blocks=blocks, dtype=np.dtype(dtype))

    def digests(self) -> bytes:
        """Of what every device has, in the order of the rows; all processes have to call this."""
        digests = b""
        for block in self.blocks:
            size = len(block.rows) // (n_parts(self.mesh) if block.divided else 1)
            own = {(shard.index[0].start or 0) // size: shard.data for shard in block.rows.addressable_shards}

            def digest(index: Any, own: dict[int, Any] = own) -> np.ndarray:
                total = hashlib.sha256(np.ascontiguousarray(own[index[0].start or 0]).view(np.uint8).data)
                return np.frombuffer(total.digest(), np.uint8)[None]

            parts = NamedSharding(self.mesh, PartitionSpec(ROWS if block.divided else None))
            shape = (len(block.rows) // size, hashlib.sha256().digest_size)
            digests += fetched(jax.make_array_from_callback(shape, parts, digest)).tobytes()
        return digests


def sharded(source: Any, dtype: np.dtype, mesh: Mesh, name: str) -> ShardedRows:
    """Share rows out among devices.

    Args:
        source: shape (n, d): an array of JAX on these very devices; or whatever has rows that can be sliced, of which
            a process takes those of its own devices.
        dtype: of the features.
        mesh: the devices.
        name: how the caller knows these rows.

    Raises:
        ValueError: an array that lies on devices of several processes, but not on these or by uneven parts; rows of
            another shape than `source` says.
        Exception: what reading rows raises, here or in another process.
    """
    n, d = source.shape
    even = n - n % n_parts(mesh)
    divided = NamedSharding(mesh, PartitionSpec(ROWS))
    if isinstance(source, jax.Array):
        there = source.sharding.device_set == set(mesh.devices.flat) and even == n
        if there:
            rows = jax.device_put(source, divided).astype(dtype)
            return ShardedRows((Block(rows, 0, True),), mesh, (n, d), dtype)
        if not source.is_fully_addressable:
            raise ValueError(
                f"{name} lies on devices of several processes. They have to be those of the mesh that is passed as "
                f"devices, and its {n_parts(mesh)} parts along 'rows' have to divide its {n} rows. "
                "Or pass what every process can slice its rows from: jm.RowBlocks(...)."
            )
        source = np.asarray(source)

    def read(index: Any) -> np.ndarray:
        start, stop, _ = index[0].indices(n)
        with np.errstate(over="ignore"):  # What overflows is refused, as infinite.
            rows = np.array(source[index[0]], dtype)
        if rows.shape != (stop - start, d):
            raise ValueError(
                f"{name} says that its shape is {(n, d)}, but its rows {start} .. {stop - 1} have shape {rows.shape}, "
                f"and not {(stop - start, d)}."
            )
        return rows

    def blocks() -> tuple[Block, ...]:
        found = []
        if even:
            found.append(Block(jax.make_array_from_callback((even, d), divided, read), 0, True))
        if even < n:
            found.append(Block(on_all(read((slice(even, n),)), mesh), even))
        return tuple(found)

    return ShardedRows(by_all(blocks, mesh), mesh, (n, d), dtype)
