"""Mean, spread and scatter of features from rows that come a block at a time: what factorisations need, and no rows.

A block may lie on several devices by rows: all that is taken of it are sums, which the compiler adds up between them.

Everything adds up over blocks. Two blocks of `n` and `k` rows with means `m` and `m + s` have together the scatter of
either about its own mean, and `n k / (n + k) s sᵀ` more. All is seen from an origin amid the first block: differences
to it are small numbers, and so is the mean of them, whose rounding would else be in every row, and in a sum over
millions of rows outweigh a difference of classes.

A Gram matrix knows small directions only down to the root of its rounding error. So the scatter is taken twice. The
first, `S = V diag(l) Vᵀ` of standardised features, gives axes `T = V diag(l)^-½`, with what is below its rounding
raised, along which the second, `Tᵀ Zᵀ Z T`, is nearly the identity where the first knew enough, and tells the rest
where not. With any square root `F` of the second, the rows of `F T⁻¹` have the Gram matrix of all rows `Z`, and so the
same factorisations.

References: Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance; Yamamoto, Nakatsukasa,
Yanagisawa & Fukaya (2015), Roundoff error analysis of the CholeskyQR2 algorithm.
"""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxmem.classifiers._linear import Shift, beyond_rounding, exactly, shifted

__all__ = ["Moments", "moments_of"]


class Moments(NamedTuple):
    """What rows come to before any label enters.

    Attributes:
        n: how many rows they are.
        shift: their mean.
        spread: standard deviation of each feature; zero for those that do not vary.
        condensed: few rows with the Gram matrix of the centred rows; none where nobody asked for it.
    """

    n: int
    shift: Shift
    spread: Float[Array, " d"]
    condensed: Float[Array, "k d"]


def moments_of(blocks: Iterable[Any], *, scatter: bool) -> Moments:
    """The moments of rows in blocks (k, d), which are gone through once, or twice for the scatter.

    Args:
        scatter: whether all of `Moments.condensed` is needed.
    """
    n, sums = 0, None
    for block in blocks:
        X = jnp.asarray(block)
        if sums is None:
            sums = _nothing(X, scatter)
        # In double precision, for there may be more rows than a float in single precision has digits for.
        weights = jnp.asarray([len(X) / (n + len(X)), math.sqrt(n / (n + len(X)) * len(X))], X.dtype)
        n, sums = n + len(X), jax.block_until_ready(_added(sums, X, weights))
    assert sums is not None
    shift, squares = _shift(sums), jnp.diag(sums.scatter) if scatter else sums.scatter[0]
    spread = jnp.where(shift.varies, jnp.sqrt(squares / n), 0)
    if not scatter:
        return Moments(n, shift, spread, sums.scatter[:0])
    axes, back = _axes(sums.scatter, spread, n)
    again = jnp.zeros_like(axes)
    for block in blocks:
        again = jax.block_until_ready(again + _along(shift, axes, jnp.asarray(block)))
    return Moments(n, shift, spread, _condensed(again, back))


class _Sums(NamedTuple):
    origin: Float[Array, " d"]
    offset: Float[Array, " d"]
    lowest: Float[Array, " d"]  # As differences to the origin.
    highest: Float[Array, " d"]
    scatter: Float[Array, "k d"]  # About the mean; its diagonal alone is a single row.


def _nothing(X: Float[Array, "k d"], scatter: bool) -> _Sums:
    d, infinite = X.shape[1], jnp.full(X.shape[1], jnp.inf, X.dtype)
    sums = jnp.zeros((d if scatter else 1, d), X.dtype)
    return _Sums(X.mean(axis=0), jnp.zeros(d, X.dtype), infinite, -infinite, sums)


@jax.jit
def _added(sums: _Sums, X: Float[Array, "k d"], weights: Float[Array, " two"]) -> _Sums:
    origin, offset, lowest, highest, scatter = sums
    away = X - origin[None, :]
    mean = away.mean(axis=0)
    centred = away - mean[None, :]
    rest = centred.mean(axis=0)
    step = mean + rest - offset
    # Beside the product and not one row more in it: rows may lie on several devices.
    rows, between = centred - rest[None, :], weights[1] * step
    if scatter.shape[0] == scatter.shape[1]:
        new = exactly(rows.T, rows) + between[:, None] * between[None, :]
    else:
        new = ((rows**2).sum(axis=0) + between**2)[None, :]
    lowest, highest = jnp.minimum(lowest, away.min(axis=0)), jnp.maximum(highest, away.max(axis=0))
    return _Sums(origin, offset + weights[0] * step, lowest, highest, scatter + new)


def _shift(sums: _Sums) -> Shift:
    """The mean, and which features vary by more than its rounding."""
    farthest = jnp.maximum(sums.highest - sums.offset, sums.offset - sums.lowest)
    return Shift(sums.origin, sums.offset, beyond_rounding(farthest, sums.origin + sums.offset))


@partial(jax.jit, static_argnums=2)
def _axes(
    scatter: Float[Array, "d d"], spread: Float[Array, " d"], n: int
) -> tuple[Float[Array, "d d"], Float[Array, "d d"]]:
    """Axes `T` along which the scatter is nearly the identity, and their inverse."""
    lengths = spread * jnp.sqrt(jnp.asarray(n, spread.dtype))
    scale = jnp.where(lengths > 0, 1 / jnp.where(lengths > 0, lengths, 1), 0)
    squares, axes = jnp.linalg.eigh(scale[:, None] * scatter * scale[None, :])
    # No smaller than what rounding may have left of nothing: what is raised is found the second time.
    squares = jnp.maximum(squares, 64 * jnp.finfo(scatter.dtype).eps * jnp.maximum(squares[-1], 1))
    roots = jnp.sqrt(squares)
    return scale[:, None] * axes / roots[None, :], (lengths[:, None] * axes * roots[None, :]).T


@jax.jit
def _along(shift: Shift, axes: Float[Array, "d d"], X: Float[Array, "k d"]) -> Float[Array, "d d"]:
    rows = exactly(shifted(shift, X), axes)
    return exactly(rows.T, rows)


@jax.jit
def _condensed(again: Float[Array, "d d"], back: Float[Array, "d d"]) -> Float[Array, "d d"]:
    squares, axes = jnp.linalg.eigh(again)
    return exactly(jnp.sqrt(jnp.maximum(squares, 0))[:, None] * axes.T, back)
