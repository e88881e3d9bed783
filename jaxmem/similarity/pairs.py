"""Similarities of one pair of networks, or of all pairs of many: every network prepared once, pairs by tiles.

A tile is some networks against some others, compared in one compiled call under two nested `vmap`s: what a pair does
as an inner product is then a matrix product, and XLA takes the factorisations of a batch over the cores. Tiles above
the diagonal are mirrored. A tile, and the prepared networks that are held at a time, are bounded in memory; where not
all can be held, they are prepared anew for every row of tiles. Networks of one shape and type that are small, all of
them together, take one call: there a call takes longer than its tile.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxmem.inputs import Several
from jaxmem.similarity.base import Measure
from jaxmem.similarity.measures import as_networks, check_directions, measure_by_name
from jaxmem.threads import one_blas_thread

__all__ = ["compared", "pair_similarity", "prepared", "similarities"]

# Bytes of prepared networks held at once, and of what a tile's pairs may need, each about as much as a network.
_HELD, _OF_A_TILE = 2**31, 2**30
# Tiles a side at most, where memory allows: more of them waste less on the diagonal, fewer make larger products.
_TILES = 8
# Bytes of two things that leave the cache at every step if they are larger: of all prepared networks, up to which these
# take one call; and of a tile's pairs, up to which a tile may grow beyond its share.
_TOGETHER = 2**24


def pair_similarity(X: Any, Y: Any, measure: str | Measure = "cka") -> float:
    """Similarity of two networks by what they make of the same rows.

    Args:
        X: of the first network, a row per example: features (n, d), or what else the measure takes, see
            `jaxmem.similarity.Facts`.
        Y: of the second network, the same rows in the same order; its width may be another.
        measure: a name of `jaxmem.similarity.MEASURES`, or a measure with choices of its own, `CKA("rbf")` say.

    Returns:
        A number in the measure's range; `measure.facts.larger_is_similar` says which end means alike.

    Raises:
        ValueError: unknown measures; different or too few rows; NaN; too few rows for so many features, where the
            measure finds anything alike then.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> round(jm.pair_similarity(X, 2 * X[:, ::-1] + 1, "cka"), 3)  # The same but for order, scale and origin.
        1.0
    """
    measure = measure_by_name(measure)
    arrays = as_networks(measure, (X, Y), ("X", "Y"))
    a, b = prepared(measure, arrays, ("X", "Y"))
    return float(_of_pair(measure, a, b))


def similarities(
    networks: Sequence[Any] | Mapping[str, Any] | Array | np.ndarray, measure: str | Measure = "cka"
) -> Float[np.ndarray, "N N"]:
    """Similarities of every network with every other, by what they make of the same rows.

    Meanwhile NumPy's and SciPy's BLAS have one thread in the whole process: XLA takes pairs over the cores.

    Args:
        networks: one array a network, as for `pair_similarity`: a list, a mapping, or an array with a leading axis of
            networks. Two or more.
        measure: as for `pair_similarity`.

    Returns:
        A symmetric matrix, in the order of the networks. The diagonal is a network's similarity to itself: 1 (0 for
        divergences), but less for predictivity, whose penalty takes something, and 0 for features that do not vary over
        the rows, for kappa of one class only, and for the errors of a network that makes none; with RSA and unbiased
        CKA also for rows that are all equally far apart.

    Raises:
        ValueError: as `pair_similarity` does, and for fewer than two networks.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> networks = np.random.default_rng(0).normal(size=(5, 40, 3))
        >>> jm.similarities(networks, "procrustes").shape
        (5, 5)
    """
    measure = measure_by_name(measure)
    if isinstance(networks, Mapping):
        names, arrays = [f"networks[{name!r}]" for name in networks], list(networks.values())
    else:
        try:
            arrays = list(networks)
        except TypeError as error:
            raise ValueError(
                "networks must be a list, a mapping, or an array with a leading axis of networks, but is "
                f"{str(networks)[:40]}."
            ) from error
        names = [f"networks[{number}]" for number in range(len(arrays))]
    if len(arrays) < 2:
        raise ValueError(f"networks must hold two or more, but holds {len(arrays)}.")
    arrays = as_networks(measure, arrays, names)
    found = np.zeros((len(arrays), len(arrays)))
    with one_blas_thread():
        for rows, columns, values in _tiles(measure, arrays, names):
            found[rows, columns] = np.asarray(values)
    above = np.triu(found, 1)
    return above + above.T + np.diag(np.diag(found))


def prepared(measure: Measure, arrays: Several, names: Sequence[str]) -> list[Any]:
    """The states of networks, padded with zeros to the shapes of the widest; see `check_directions` for errors."""
    shapes = _widest(measure, arrays)
    states = [_padded(_prepare(measure, X), shapes) for X in arrays]
    check_directions(measure, len(arrays[0]), states, names)
    return states


def _tiles(
    measure: Measure, arrays: Several, names: Sequence[str]
) -> Iterator[tuple[slice, slice, Float[Array, "rows columns"]]]:
    """The tiles on and above the diagonal of the matrix of all pairs, and where each of them lies in it.

    Small networks of one shape and type give the whole matrix as one tile: what lies below its diagonal may be missing.
    """
    shapes, kinds = _widest(measure, arrays), _kinds(arrays)
    n = next(iter(kinds)).shape[0]
    size = max(1, sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes)))
    side = max(math.ceil(len(arrays) / _TILES), math.isqrt(_TOGETHER // size))
    side = max(1, min(side, math.isqrt(_OF_A_TILE // size)))
    side = math.ceil(len(arrays) / math.ceil(len(arrays) / side))  # All of about one size.

    if len(arrays) * size <= _TOGETHER and len(kinds) == 1:
        states, found = _of_all(measure, side, arrays)
        check_directions(measure, n, [states], names)
        yield slice(None), slice(None), found
        return

    slices = [slice(start, start + side) for start in range(0, len(arrays), side)]

    def states_of(number: int) -> Any:
        each = [_padded(_prepare(measure, X), shapes) for X in arrays[slices[number]]]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    if len(arrays) * size <= _HELD:
        states_of = cache(states_of)
    check_directions(measure, n, map(states_of, range(len(slices))), names)
    for row in range(len(slices)):
        of_row = states_of(row)
        for column in range(row, len(slices)):
            of_column = of_row if column == row else states_of(column)
            yield slices[row], slices[column], _of_tile(measure, of_row, of_column)


def _widest(measure: Measure, arrays: Several) -> Any:
    """Shapes that hold the states of all networks."""
    states = [_prepare.eval_shape(measure, kind) for kind in _kinds(arrays)]

    def widest(*leaves: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        shape = tuple(map(max, zip(*(leaf.shape for leaf in leaves), strict=True)))
        return jax.ShapeDtypeStruct(shape, jnp.result_type(*(leaf.dtype for leaf in leaves)))

    return jax.tree.map(widest, *states)


def _kinds(arrays: Several) -> set[jax.ShapeDtypeStruct]:
    """The shapes and types that there are."""
    if isinstance(arrays, jax.Array):
        return {jax.ShapeDtypeStruct(arrays.shape[1:], arrays.dtype)}
    return {jax.ShapeDtypeStruct(X.shape, X.dtype) for X in arrays}


def _padded(state: Any, shapes: Any) -> Any:
    def pad(leaf: Array, to: jax.ShapeDtypeStruct) -> Array:
        if leaf.shape == to.shape:
            return leaf.astype(to.dtype)
        return jnp.pad(leaf, [(0, more - own) for own, more in zip(leaf.shape, to.shape, strict=True)]).astype(to.dtype)

    return jax.tree.map(pad, state, shapes)


def compared(measure: Measure, a: Any, b: Any) -> Float[Array, ""]:
    """What the measure says of a pair, without what rounding puts beyond its range.

    Raises:
        ValueError: while it is traced, what the measure says is not one number.
    """
    found = measure.compare(a, b)
    if not jnp.isscalar(found):
        kind = f"shape {found.shape}" if isinstance(found, jax.Array | np.ndarray) else f"a {type(found).__name__}"
        raise ValueError(
            f"compare of {measure!r} must return one number for a pair of states, shape (), but returns {kind}: take "
            "the mean or the sum over what is left."
        )
    return jnp.clip(found, measure.facts.low, measure.facts.high)


@partial(jax.jit, static_argnums=0)
def _prepare(measure: Measure, X: Float[Array, "n d"]) -> Any:
    return measure.prepare(X)


@partial(jax.jit, static_argnums=0)
def _of_pair(measure: Measure, a: Any, b: Any) -> Float[Array, ""]:
    return compared(measure, a, b)


@partial(jax.jit, static_argnums=0)
def _of_tile(measure: Measure, rows: Any, columns: Any) -> Float[Array, "rows columns"]:
    of_row = jax.vmap(partial(compared, measure), in_axes=(None, 0))
    return jax.vmap(of_row, in_axes=(0, None))(rows, columns)


@partial(jax.jit, static_argnums=(0, 1))
def _of_all(measure: Measure, side: int, networks: Several) -> tuple[Any, Float[Array, "N N"]]:
    """The states of all networks, and the pairs of them in tiles on and above the diagonal."""
    states = jax.vmap(measure.prepare)(jnp.asarray(networks))
    # All tiles of one size: the last begin early enough.
    starts = [min(start, len(networks) - side) for start in range(0, len(networks), side)]
    firsts = jnp.array(list(itertools.combinations_with_replacement(starts, 2)))

    def tile(first: Int[Array, "2"]) -> Float[Array, "side side"]:
        some = partial(jax.lax.dynamic_slice_in_dim, slice_size=side)
        rows, columns = (jax.tree.map(partial(some, start_index=start), states) for start in first)
        return _of_tile(measure, rows, columns)

    def step(number: Int[Array, ""], found: Float[Array, "N N"]) -> Float[Array, "N N"]:
        return jax.lax.dynamic_update_slice(found, tile(firsts[number]), tuple(firsts[number]))

    empty = jnp.zeros((len(networks), len(networks)), jax.eval_shape(tile, firsts[0]).dtype)
    return states, jax.lax.fori_loop(0, len(firsts), step, empty)
