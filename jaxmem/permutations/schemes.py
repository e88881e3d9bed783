"""Which exchanges a test makes: the choice of scheme and blocks, checked, as a stream of permutations."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Int, Integer, Key

from jaxmem.inputs import one_of
from jaxmem.permutations.blocks import Within, whole, within
from jaxmem.permutations.enumeration import Enumeration, can_vary, enumeration, n_arrangements
from jaxmem.permutations.free import shuffles

__all__ = [
    "CHOSEN_ROWS",
    "REMATCHINGS",
    "SCHEMES",
    "SECOND_STREAM",
    "PermutationPlan",
    "Stream",
    "n_labelings",
    "plan",
    "random_stream",
]

SCHEMES = ("free", "within", "whole")

# Where the keys come from of what is drawn beside the permutations: numbers that no permutation has.
SECOND_STREAM, REMATCHINGS, CHOSEN_ROWS = 2**32 - 1, 2**32 - 2, 2**32 - 3


@runtime_checkable
class Stream(Protocol):
    """Permutations by index, a pytree: written for one index, which may be traced and mapped over.

    Index 0 is the identity, and every other permutation depends on its index alone.
    """

    def permutation(self, index: Any) -> Int[Array, " n"]:
        """Permutation number `index`: row `i` takes the label of row `permutation[i]`."""
        ...

    def labels(self, y: Any, index: Any) -> Integer[Array, " n"]:
        """Labels `y`, shape (n,), under permutation number `index`: `y[permutation(index)]`."""
        ...


class PermutationPlan(NamedTuple):
    """What a test is to go through: permutations 0 .. n_permutations of `stream`, the observed one being number 0.

    Attributes:
        stream: the permutations.
        n_permutations: how many there are besides the observed one.
        exact: whether they are all the distinct labellings there are, each of them once.
    """

    stream: Stream
    n_permutations: int
    exact: bool


class _Units(NamedTuple):
    """What is exchanged: rows, or the blocks of these rows; each within its stratum, told apart by its symbol."""

    strata: Int[np.ndarray, " units"]
    symbols: Int[np.ndarray, " units"]
    blocks: Int[np.ndarray, " n"] | None = None


def plan(
    key: Key[Array, ""],
    codes: Integer[Array, " n"] | Integer[np.ndarray, " n"],
    *,
    scheme: str = "free",
    blocks: Any = None,
    n_permutations: int,
) -> PermutationPlan:
    """Plan a test of `n_permutations` random permutations, or of all distinct labellings if they are no more than that.

    Args:
        key: what the random permutations depend on; an enumeration does not.
        codes: the labels as integers, shape (n,).
        scheme: "free" (every row with every other), "within" (rows of one block), "whole" (blocks of equal size as
            wholes, their rows in order; a block whose size no other has stays where it is).
        blocks: one integer or string per row, for "within" and "whole". Names play no part, only which rows share one.
        n_permutations: how many are asked for besides the observed labelling.

    Raises:
        ValueError: an unknown scheme, blocks that do not fit it, or nothing that it could exchange.
    """
    units = _exchangeable(codes, scheme, blocks)
    complete = enumeration(units.strata, units.symbols, at_most=n_permutations + 1)
    if complete is None:
        return PermutationPlan(_random(key, units, scheme), n_permutations, exact=False)
    return PermutationPlan(_over_rows(complete, units), complete.count - 1, exact=True)


def random_stream(
    key: Key[Array, ""],
    codes: Integer[Array, " n"] | Integer[np.ndarray, " n"],
    *,
    scheme: str = "free",
    blocks: Any = None,
) -> Stream:
    """Open the stream of random permutations under a scheme, however few labellings there are; as for `plan`."""
    return _random(key, _exchangeable(codes, scheme, blocks), scheme)


def n_labelings(y: Any, scheme: str = "free", blocks: Any = None) -> int:
    """How many distinct labellings a scheme allows, the observed one among them: an exact integer of any length.

    Free: n! / (n_1! n_2! ...). Within blocks: the product of that over the blocks. Whole blocks: the same for the
    arrangements of the blocks' label patterns, a product over the sizes of blocks.

    Args:
        y: labels, shape (n,).
        scheme: as for `plan`.
        blocks: as for `plan`.

    Raises:
        ValueError: an unknown scheme, or blocks that do not fit it.
    """
    y = np.asarray(y)
    if y.ndim != 1 or y.size == 0:
        raise ValueError(f"y must hold one label per row, shape (n,), but has shape {y.shape}.")
    units = _units(np.unique(y, return_inverse=True)[1], scheme, blocks)
    return n_arrangements(units.strata, units.symbols)


def _random(key: Key[Array, ""], units: _Units, scheme: str) -> Stream:
    if scheme == "free":
        return shuffles(key, len(units.strata))
    return _over_rows(within(key, units.strata), units)


def _over_rows(exchanges: Within | Enumeration, units: _Units) -> Stream:
    return exchanges if units.blocks is None else whole(exchanges, units.blocks)


def _exchangeable(codes: Any, scheme: str, blocks: Any) -> _Units:
    """Units of which some can change places with an effect on the labels."""
    units = _units(np.asarray(codes), scheme, blocks)
    if can_vary(units.strata, units.symbols):
        return units
    if scheme == "free":
        raise ValueError("Every row has the same label, so that no shuffle changes anything: two classes are needed.")
    sizes = np.bincount(units.strata if units.blocks is None else units.blocks)
    if scheme == "within":
        how = "is a single row" if sizes.max() == 1 else "holds labels of one class only"
        raise ValueError(
            f"scheme='within' has nothing to exchange: each of the {len(sizes)} blocks {how}, so that the test could "
            "never reject. Exchange blocks of equal size with scheme='whole', or all rows with scheme='free'."
        )
    shown, occurrences = np.unique(sizes, return_counts=True)
    if occurrences.max() == 1:
        listed = ", ".join(map(str, shown[:10])) + (", ..." if len(shown) > 10 else "")
        raise ValueError(
            f"scheme='whole' exchanges blocks of equal size, but no two of the {len(sizes)} blocks have one: their "
            f"sizes are {listed} rows. Drop rows until blocks agree in size, or use scheme='within'."
        )
    raise ValueError(
        f"scheme='whole' has nothing to exchange: among the {len(sizes)} blocks, those of equal size carry the same "
        "labels row by row, so that the test could never reject. Use scheme='within', or other blocks."
    )


def _units(codes: np.ndarray, scheme: str, blocks: Any) -> _Units:
    one_of(scheme, SCHEMES, "scheme")
    codes = codes.astype(int)
    if scheme == "free":
        if blocks is not None:
            raise ValueError(
                "blocks were given, but scheme='free' exchanges all rows and would ignore them: choose scheme='within' "
                "(rows inside a block) or scheme='whole' (blocks of equal size), or drop blocks."
            )
        return _Units(np.zeros(len(codes), int), codes)
    if blocks is None:
        raise ValueError(f"scheme={scheme!r} needs blocks: pass blocks=, one integer or string per row of X.")
    blocks = _block_numbers(blocks, len(codes))
    if scheme == "within":
        return _Units(blocks, codes)
    return _Units(*_patterns(codes, blocks), blocks)


def _block_numbers(blocks: Any, n: int) -> Int[np.ndarray, " n"]:
    """Blocks as numbers 0, 1, ... in the order of their first rows: a block's name plays no part."""
    array = np.asarray(blocks)
    if array.shape != (n,):
        more = " There are more blocks than rows." if array.ndim == 1 and len(array) > n else ""
        raise ValueError(
            f"blocks must hold one block per row, shape ({n},), but has shape {array.shape}.{more} Repeat each block's "
            "integer or string for every row in it."
        )
    if array.dtype.kind in "fO":
        missing = np.flatnonzero([value is None or value != value for value in array.tolist()])
        if missing.size:
            raise ValueError(
                f"blocks is missing (NaN or None) in {missing.size} of {n} rows, the first in row {missing[0]}. "
                "Drop those rows, or give each a block."
            )
    if array.dtype == object and all(isinstance(value, str) for value in array):
        array = array.astype(str)
    if array.dtype.kind not in "iubUS":
        raise ValueError(
            f"blocks must hold integers or strings, but its dtype is {array.dtype}. "
            "If these are whole numbers, pass blocks.astype(int)."
        )
    _, first, numbers = np.unique(array, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers]


def _patterns(
    codes: np.ndarray, blocks: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " blocks"], Int[np.ndarray, " blocks"]]:
    """The stratum of every block, one per size; and its pattern of labels, numbered within the stratum."""
    sizes = np.bincount(blocks)
    starts = np.cumsum(sizes) - sizes
    sorted_codes = codes[np.argsort(blocks, kind="stable")]
    different, strata = np.unique(sizes, return_inverse=True)
    patterns = np.empty(len(sizes), int)
    for stratum, size in enumerate(different):
        members = np.flatnonzero(strata == stratum)
        labels = sorted_codes[starts[members, None] + np.arange(size)]
        patterns[members] = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    return strata, patterns
