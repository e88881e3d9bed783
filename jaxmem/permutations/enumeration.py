"""Every distinct labelling once, in place of random draws, where there are few enough.

Labels of one class are alike, so what counts is which places each class takes. With n_1 <= n_2 <= ... rows of each
class there are n! / (n_1! n_2! ...) = C(n, n_1) C(n - n_1, n_2) ... labellings, and for exchanges within strata the
product over the strata. Labelling number `rank` is found by writing it in those mixed radices and every digit in the
combinatorial number system (Knuth 2011, section 7.2.1.3): r = C(p_k, k) + ... + C(p_1, 1) with p_k > ... > p_1 are the
places, among those still open, of the k rows of a class. The largest class takes what is left, so that all others
hold at most half of the open places; then C(m, k) >= 2^k, and 2^31 labellings mean at most 31 rows to be placed,
however many rows there are. All numbers stay below 2^32.

Index 0 is the observed labelling and the others follow it in cyclic order, so indices 0 .. count - 1 are all of them.
Then the p-value (1 + C) / (1 + B), B = count - 1, is the exact one (Phipson & Smyth 2010).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Integer, UInt32

__all__ = ["Enumeration", "can_vary", "enumeration", "n_arrangements"]

# Ranks and their sums with the observed rank must fit 32 bits.
_MOST = 2**31


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Class:
    """One class of a stratum: its rows, and C(p, j) for j = 1 .. size and p below the number of open places."""

    rows: Int[Array, " size"]
    binomials: UInt32[Array, "size open"]
    ways: int = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Stratum:
    """Rows that exchange labels: all of them, those of each class but the largest, and those of the largest."""

    rows: Int[Array, " places"]
    smaller: tuple[_Class, ...]
    largest: Int[Array, " rest"]

    def sources(self, rank: UInt32[Array, ""]) -> tuple[UInt32[Array, ""], Int[Array, " places"]]:
        """The row whose label each row takes in arrangement `rank` of this stratum; and the digits left over."""
        is_open = jnp.ones(self.rows.shape, bool)
        sources = self.rows
        for one in self.smaller:
            rank, digit = rank // jnp.uint32(one.ways), rank % jnp.uint32(one.ways)
            ordinal = jnp.cumsum(is_open, dtype=jnp.int32) - 1
            for row, column in zip(one.rows[::-1], one.binomials[::-1], strict=True):
                p = (column <= digit).sum(dtype=jnp.int32) - 1
                digit -= column[p]
                taken = is_open & (ordinal == p)
                sources = jnp.where(taken, row, sources)
                is_open &= ~taken
        return rank, jnp.where(is_open, self.largest[jnp.cumsum(is_open, dtype=jnp.int32) - 1], sources)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Enumeration:
    """The stream of all distinct labellings, made by `enumeration`; indices from `count` on start over.

    Attributes:
        n: number of rows.
        count: number of distinct labellings, the observed one among them.
        observed: its rank.
        strata: those in which labels can be exchanged at all.
    """

    n: int = field(metadata={"static": True})
    count: int = field(metadata={"static": True})
    observed: int = field(metadata={"static": True})
    strata: tuple[_Stratum, ...]

    def permutation(self, index: Integer[Array, ""] | int) -> Int[Array, " n"]:
        """The permutation that makes labelling `index` of the observed one; rows of one class keep their order."""
        rank = (jnp.asarray(index).astype(jnp.uint32) + jnp.uint32(self.observed)) % jnp.uint32(self.count)
        permutation = jnp.arange(self.n, dtype=jnp.int32)
        for stratum in self.strata:
            rank, sources = stratum.sources(rank)
            permutation = permutation.at[stratum.rows].set(sources, unique_indices=True)
        return permutation

    def labels(self, y: Integer[Array, " n"], index: Integer[Array, ""] | int) -> Integer[Array, " n"]:
        """Labels `y` rearranged by permutation number `index`; all differ if `y` is what was enumerated."""
        return y[self.permutation(index)]


def enumeration(strata: Int[np.ndarray, " n"], symbols: Int[np.ndarray, " n"], at_most: int) -> Enumeration | None:
    """Enumerate the arrangements of `symbols` within `strata`; None if there are more than `at_most`."""
    count = 1
    for n_open, size in _choices(strata, symbols):
        # C(n_open, size) >= 2**size: no need to work out a number of thousands of digits.
        if size > 31:
            return None
        count *= math.comb(n_open, size)
        if count > min(at_most, _MOST):
            return None
    observed, radix, enumerated = 0, 1, []
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        *smaller, largest = sorted((rows[symbols[rows] == s] for s in np.unique(symbols[rows])), key=len)
        if not smaller:
            continue
        still_open, classes = rows, []
        for taken in smaller:
            n_open, size = len(still_open), len(taken)
            binomials = [[math.comb(p, j) for p in range(n_open)] for j in range(1, size + 1)]
            ways = math.comb(n_open, size)
            digit = sum(math.comb(p, j) for j, p in enumerate(np.searchsorted(still_open, taken).tolist(), 1))
            observed, radix = observed + digit * radix, radix * ways
            classes.append(_Class(jnp.asarray(taken, jnp.int32), jnp.asarray(binomials, jnp.uint32), ways))
            still_open = np.setdiff1d(still_open, taken)
        enumerated.append(_Stratum(jnp.asarray(rows, jnp.int32), tuple(classes), jnp.asarray(largest, jnp.int32)))
    return Enumeration(len(strata), count, observed, tuple(enumerated))


def n_arrangements(strata: Int[np.ndarray, " n"], symbols: Int[np.ndarray, " n"]) -> int:
    """How many distinct arrangements of `symbols` within `strata` there are."""
    return math.prod(math.comb(n_open, size) for n_open, size in _choices(strata, symbols))


def can_vary(strata: Int[np.ndarray, " n"], symbols: Int[np.ndarray, " n"]) -> bool:
    """Whether any stratum holds two different symbols, so that there is another arrangement than the observed one."""
    return any(True for _ in _choices(strata, symbols))


def _choices(strata: np.ndarray, symbols: np.ndarray) -> Iterator[tuple[int, int]]:
    """(open places, rows to place) of every class of every stratum but its largest, the smallest first."""
    n_symbols = int(symbols.max()) + 1
    classes, sizes = np.unique(strata.astype(np.int64) * n_symbols + symbols, return_counts=True)
    starts = np.flatnonzero(np.diff(classes // n_symbols)) + 1
    for within_stratum in np.split(sizes, starts):
        n_open = int(within_stratum.sum())
        for size in np.sort(within_stratum)[:-1].tolist():
            yield n_open, size
            n_open -= size
