"""Shuffles that respect blocks of rows: within every block, or of whole blocks.

**Within** (PALM's `-within`; Winkler et al. 2015): labels are exchanged inside each block only, so every block keeps
its own multiset of labels. The blocks are laid out as the rows of tables, one table for all blocks of about one size
(the same power of two above it), and all blocks of a table are shuffled at once:

* up to `EXACT_ROWS` rows a block, by Fisher & Yates' shuffle in Durstenfeld's form (1964): for i = width - 1, ..., 1
  swap places i and j, with j uniform on 0 .. i to within a share of 2^-48. The loop runs along the block and every step
  serves all blocks, so the work is one swap a row; sorting the rows of a table was 5 to 15 times as slow.
* above, by the bijection of `jaxmem.permutations.free`, on a grid of each block's own side, with words of its own.

**Whole** (PALM's `-whole`; Winkler et al. 2014): blocks are exchanged as wholes and only for blocks of as many rows,
row k of a block taking the label of row k of the other. That is a shuffle of block *numbers* within the strata of
equal size, so it is the scheme above, applied to blocks instead of rows, and spread over the rows.

References: Winkler, Ridgway, Webster, Smith & Nichols (2014), Permutation inference for the general linear model;
Winkler, Webster, Vidaurre, Nichols & Smith (2015), Multi-level block permutation.
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Integer, Key, UInt32

from jaxmem.permutations.enumeration import Enumeration
from jaxmem.permutations.free import EXACT_ROWS, ROUNDS, scaled_below, through_bijection

__all__ = ["Whole", "Within", "whole", "within"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Short:
    """Blocks of up to `EXACT_ROWS` rows; a place past the end of a block holds any row and is never read back."""

    rows: Int[Array, "blocks width"]
    sizes: Int[Array, " blocks"]

    @property
    def n_words(self) -> int:
        return 2 * self._n_steps_and_words[1] * len(self.rows)

    @property
    def _n_steps_and_words(self) -> tuple[int, int]:
        """How many steps draw from one 64-bit word, and so how many such words a block needs.

        The random words take longer than the shuffle. As many steps share one as leave 48 of its bits to the last.
        """
        width = self.rows.shape[1]
        n_steps = 16 // max(1, (width - 1).bit_length())
        return n_steps, -(-width // n_steps)

    def shuffled(self, words: UInt32[Array, " words"], y: Integer[Array, " n"]) -> Integer[Array, "blocks width"]:
        n_blocks, width = self.rows.shape
        n_steps, n_words = self._n_steps_and_words
        high, low = words.reshape(2, n_words, n_blocks)
        picks = []
        for first in range(0, n_steps * n_words, n_words):
            bound = first + 1 + jnp.arange(n_words, dtype=jnp.uint32)[:, None]
            # Read as a fraction in [0, 1), the word times the bound is the pick; what follows the point is the next
            # word. It is the 64-bit product with a small number, in halves of 32 bits.
            upper = high * bound
            pick, high, low = scaled_below(high, bound), upper + scaled_below(low, bound), low * bound
            picks.append(pick + (high < upper))
        i = jnp.arange(width, dtype=jnp.uint32)[:, None]
        j = jnp.where(i < self.sizes[None].astype(jnp.uint32), jnp.concatenate(picks)[:width], i).astype(jnp.int32)
        block = jnp.arange(n_blocks)

        def swap(step: Array, labels: Array) -> Array:
            i = width - 1 - step
            here, there = labels[i], labels.at[j[i], block].get(mode="promise_in_bounds")
            labels = labels.at[j[i], block].set(here, mode="promise_in_bounds", unique_indices=True)
            return labels.at[i].set(there)

        return jax.lax.fori_loop(0, width - 1, swap, y[self.rows].T).T


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Long:
    """Blocks of more rows, each on the upper left `side × side` cells of a square grid, its rows before place `end`."""

    rows: Int[Array, "blocks cells"]
    ends: Int[Array, " blocks"]
    sides: Int[Array, " blocks"]

    @property
    def n_words(self) -> int:
        return len(self.rows) * ROUNDS * 2

    def shuffled(self, words: UInt32[Array, " words"], y: Integer[Array, " n"]) -> Integer[Array, "blocks cells"]:
        n_blocks, n_cells = self.rows.shape
        one_block = partial(through_bijection, grid=math.isqrt(n_cells))
        return jax.vmap(one_block)(
            words.reshape(n_blocks, ROUNDS, 2), y[self.rows], self.ends, self.sides.astype(jnp.uint32)
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Within:
    """The stream of shuffles within blocks under one key; made by `within(key, blocks)`."""

    key: Key[Array, ""]
    tables: tuple[_Short | _Long, ...]
    # Where a row stands in the tables, read one after the other.
    place: Int[Array, " n"]

    def permutation(self, index: Integer[Array, ""] | int) -> Int[Array, " n"]:
        """Permutation number `index`: row `i` takes the label of row `permutation[i]`; index 0 is the identity."""
        return self.labels(jnp.arange(self.place.shape[0], dtype=self.place.dtype), index)

    def labels(self, y: Integer[Array, " n"], index: Integer[Array, ""] | int) -> Integer[Array, " n"]:
        """Labels `y` shuffled by permutation number `index`; write for one index and `vmap` for many."""
        key = jax.random.fold_in(self.key, index)
        # One draw for all tables: the generator's own code takes longer to compile than a table's.
        ends = np.cumsum([table.n_words for table in self.tables])
        words = jnp.split(jax.random.bits(key, (ends[-1],), jnp.uint32), ends[:-1])
        shuffled = [table.shuffled(part, y).reshape(-1) for table, part in zip(self.tables, words, strict=True)]
        return jnp.where(jnp.asarray(index) == 0, y, jnp.concatenate(shuffled)[self.place])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Whole:
    """The stream of exchanges of whole blocks; made by `whole(exchanges, blocks)`."""

    # A stream of permutations of the blocks, each of which takes the labels of a block of its size.
    exchanges: Within | Enumeration
    # The rows, block after block; where each block starts among them; every row's block, and its place in there.
    rows: Int[Array, " n"]
    starts: Int[Array, " blocks"]
    block: Int[Array, " n"]
    place: Int[Array, " n"]

    def permutation(self, index: Integer[Array, ""] | int) -> Int[Array, " n"]:
        """Permutation number `index`: row `i` takes the label of row `permutation[i]`; index 0 is the identity."""
        return self.labels(jnp.arange(self.rows.shape[0], dtype=self.rows.dtype), index)

    def labels(self, y: Integer[Array, " n"], index: Integer[Array, ""] | int) -> Integer[Array, " n"]:
        """Labels `y` with the blocks exchanged by permutation number `index`."""
        starts = self.starts[self.exchanges.permutation(index)]
        return y[self.rows][starts[self.block] + self.place]


def within(key: Key[Array, ""], blocks: Int[np.ndarray, " n"]) -> Within:
    """Open the stream of shuffles within `blocks`, the block number 0, 1, ... of every row, under `key`."""
    n = len(blocks)
    sizes = np.bincount(blocks)
    starts = np.cumsum(sizes) - sizes
    # Beneath all shuffles lies an exact one of the rows of each block, from the key of index 0 (never drawn from).
    high, low = jax.random.bits(jax.random.fold_in(key, 0), (2, n), jnp.uint32)
    numbers, unshuffled = jnp.asarray(blocks, jnp.int32), jnp.arange(n, dtype=jnp.int32)
    shuffled_rows = np.asarray(jax.lax.sort((numbers, high, low, unshuffled), num_keys=3)[3])
    rows = np.argsort(blocks, kind="stable")
    # The classes of size end at powers of two, and so does `EXACT_ROWS`: no class needs both kinds of table.
    power = np.ceil(np.log2(sizes)).astype(int)
    tables, place, offset = [], np.empty(n, np.int32), 0
    for members in (np.flatnonzero(power == p) for p in np.unique(power)):
        size, largest = sizes[members, None], int(sizes[members].max())
        # Which row of its block lies at each place of the table; none if the block has no row of that number.
        if largest <= EXACT_ROWS:
            table, shape = _Short, [size]
            number = np.broadcast_to(np.arange(largest), (len(members), largest))
        else:
            side, grid = np.ceil(np.sqrt(size)).astype(int), math.isqrt(largest - 1) + 1
            table, shape = _Long, [size // side * grid + size % side, side]
            left, right = divmod(np.arange(grid * grid), grid)
            number = np.where(right < side, left * side + right, largest)
        inside = number < size
        held = starts[members, None] + np.where(inside, number, 0)
        tables.append(table(jnp.asarray(shuffled_rows[held]), *(jnp.asarray(one[:, 0], jnp.int32) for one in shape)))
        place[rows[held[inside]]] = offset + np.flatnonzero(inside)
        offset += inside.size
    return Within(key, tuple(tables), jnp.asarray(place))


def whole(exchanges: Within | Enumeration, blocks: Int[np.ndarray, " n"]) -> Whole:
    """Spread `exchanges`, a stream over blocks that keeps to blocks of equal size, over the rows of `blocks`."""
    sizes = np.bincount(blocks)
    starts = np.cumsum(sizes) - sizes
    rows = np.argsort(blocks, kind="stable")
    place = np.empty(len(blocks), np.int32)
    place[rows] = np.arange(len(blocks)) - starts[blocks[rows]]
    return Whole(exchanges, *(jnp.asarray(array, jnp.int32) for array in (rows, starts, blocks, place)))
