"""Means, ranges and scatter of features from rows that come a block at a time: what factorisations need, and no rows.

A block `X_b` of `n_b` rows with mean `m_b` joins `n` rows with mean `m`. With `Z_b` its rows less `m_b`, the scatter of
all rows about their common mean is that of the rows

    [R; Z_b; √(n n_b / (n + n_b)) (m_b - m)],

where `R` are few rows with the scatter of the first `n`. Their triangle by Householder's QR is the next `R`. Nothing is
ever squared, so `R` knows directions down to the rounding error itself, of which a Gram matrix only knows the root.
Where the scatter of single features is enough, their lengths over those rows are: a single row.

Everything is seen from an origin amid the first block: differences to it are small numbers, and so is the mean of
them, whose rounding would else be in every row, and in a sum over millions of rows outweigh a difference of classes.

References: Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance; Demmel, Grigori, Hoemmen &
Langou (2012), Communication-optimal parallel and sequential QR and LU factorizations.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

__all__ = ["Moments", "Shift", "added", "shifted"]


class Shift(NamedTuple):
    """Where the mean of features is, and which of them vary at all."""

    origin: Float[Array, " d"]
    offset: Float[Array, " d"]  # The mean is `origin + offset`; kept apart, for the sum would be rounded.
    varies: Bool[Array, " d"]


def shifted(shift: Shift, X: Float[Array, "k d"]) -> Float[Array, "k d"]:
    """Rows less the mean; features that do not vary over the training rows are zero."""
    return jnp.where(shift.varies[None, :], X - shift.origin[None, :] - shift.offset[None, :], 0)


class Moments(NamedTuple):
    """What rows add up to before any label enters.

    Attributes:
        n: how many rows they are.
        origin, offset: the mean is their sum.
        lowest, highest: range of each feature, as differences to `origin`.
        condensed: few rows that have the lengths of the centred rows' columns, and, unless it is a single one, their
            Gram matrix as well.
    """

    n: int
    origin: Float[Array, " d"]
    offset: Float[Array, " d"]
    lowest: Float[Array, " d"]
    highest: Float[Array, " d"]
    condensed: Float[Array, "k d"]

    @property
    def shift(self) -> Shift:
        """The mean, and which features vary by more than its rounding, as `_linear.centre` has it."""
        farthest = jnp.maximum(self.highest - self.offset, self.offset - self.lowest)
        rounding = jnp.finfo(self.origin.dtype).eps * jnp.abs(self.origin + self.offset)
        return Shift(self.origin, self.offset, farthest > 16 * rounding)

    @property
    def spread(self) -> Float[Array, " d"]:
        """Standard deviation of each feature; zero for those that do not vary."""
        return jnp.where(self.shift.varies, jnp.sqrt((self.condensed**2).sum(axis=0) / self.n), 0)


def added(moments: Moments | None, X: Float[Array, "k d"], *, scatter: bool) -> Moments:
    """The moments with a block of rows added to them; None: with no others.

    Args:
        scatter: keep the triangle, for factorisations; without, the lengths of single features.
    """
    k, d = X.shape
    if moments is None:
        none = jnp.full(d, jnp.inf, X.dtype)
        rows = jnp.zeros((d if scatter else 1, d), X.dtype)
        moments = Moments(0, X.mean(axis=0), jnp.zeros(d, X.dtype), none, -none, rows)
    n = moments.n + k
    # In double precision, for the number of rows may have more digits than a float in single precision.
    weights = jnp.asarray([k / n, math.sqrt(moments.n / n * k)], X.dtype)
    return Moments(n, moments.origin, *_added(scatter, moments[1:], X, weights))


@partial(jax.jit, static_argnums=0)
def _added(scatter: bool, moments: tuple[Any, ...], X: Float[Array, "k d"], weights: Float[Array, " two"]) -> Any:
    origin, offset, lowest, highest, condensed = moments
    away = X - origin[None, :]
    mean = away.mean(axis=0)
    centred = away - mean[None, :]
    rest = centred.mean(axis=0)
    step = mean + rest - offset
    rows = jnp.concatenate([condensed, centred - rest[None, :], weights[1] * step[None, :]])
    return (
        offset + weights[0] * step,
        jnp.minimum(lowest, away.min(axis=0)),
        jnp.maximum(highest, away.max(axis=0)),
        jnp.linalg.qr(rows, mode="r") if scatter else jnp.sqrt((rows**2).sum(axis=0, keepdims=True)),
    )
