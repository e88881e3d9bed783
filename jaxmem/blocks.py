"""Work on many rows a block at a time, so that what a block needs stays in the cache and memory stays bounded."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["BLOCK_ROWS", "over_row_blocks"]

# Long enough for a matrix product to run at full speed, short enough for its result to stay in a CPU's cache.
BLOCK_ROWS = 1_024


def over_row_blocks(
    function: Callable[..., tuple[Any, Any]], arrays: Any, block_rows: int = BLOCK_ROWS
) -> tuple[Any, Any]:
    """Apply `function` to blocks of rows: its first output is summed over the blocks, its second is concatenated.

    Args:
        function: takes `arrays` restricted to some rows; returns `(sums, rows)`, two pytrees. The leaves of `sums` have
            the same shape for every block, those of `rows` have the rows as their leading axis. Either may be `None`.
        arrays: a pytree whose leaves have `n` rows as leading axis.
        block_rows: rows a block; the last block may be shorter.

    Returns:
        `(sums, rows)` over all `n` rows.
    """
    n = jax.tree.leaves(arrays)[0].shape[0]
    n_blocks, rest = divmod(n, block_rows)
    if n_blocks == 0 or (n_blocks == 1 and rest == 0):
        return function(arrays)

    def block(start: Any, size: int) -> Any:
        return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, size), arrays)

    def step(index: Any, done: tuple[Any, Any], size: int = block_rows) -> tuple[Any, Any]:
        new_sums, new_rows = function(block(index * block_rows, size))
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=index * block_rows, axis=0)
        return jax.tree.map(jnp.add, done[0], new_sums), jax.tree.map(put, done[1], new_rows)

    # Rows are written where they stay: concatenated, all of them would be copied once more.
    sums, rows = jax.eval_shape(lambda: function(block(0, block_rows)))
    empty = (
        jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), sums),
        jax.tree.map(lambda a: jnp.zeros((n, *a.shape[1:]), a.dtype), rows),
    )
    done = jax.lax.fori_loop(0, n_blocks, step, empty)
    return step(n_blocks, done, rest) if rest else done
