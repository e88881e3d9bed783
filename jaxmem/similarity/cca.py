"""Canonical correlations: how much of the subspaces that the features of two networks span do they have in common?

With orthonormal bases `U_x`, `U_y` of the centred features, the canonical correlations are the singular values
`ρ_1 >= ρ_2 >= ...` of `U_xᵀ U_y`, as many as the smaller of the two ranks, `r`. The bases are the left singular vectors
of the features themselves, without squaring them in a covariance matrix; directions below the rounding error of the
largest are not there. Where the scale of single features plays no part they are first brought to one length each, so
that small ones keep their digits.

Centred features lie in the `n - 1` dimensions that n rows have. Where the ranks of two networks add up to more, their
subspaces meet whatever the networks are, and as many correlations as there are too many dimensions are exactly 1: such
pairs are refused. SVCCA counts the directions that it keeps.

* Mean CCA: `Σ ρ_i / r`. Blind to how much a direction matters, and so to anything that noise adds.
* SVCCA (Raghu et al. 2017): the same, of the first singular directions that hold a given share of the variance.
* PWCCA (Morcos et al. 2018): `Σ α_i ρ_i / Σ α_i`, where `α_i = Σ_j |<h_i, x_j>|` says how much the features `x_j` of a
  network make of its canonical variable `h_i`. They take the weights of one of the networks; this is the mean of
  both ways, for it to be symmetric.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxmem.classifiers._linear import exactly
from jaxmem.similarity._rows import centred, unit
from jaxmem.similarity.base import Facts

__all__ = ["CCA", "PWCCA", "SVCCA"]


class _Span(NamedTuple):
    basis: Float[Array, "n r"]  # Orthonormal columns; zero beyond the rank.
    rank: Float[Array, ""]


class _Weighed(NamedTuple):
    basis: Float[Array, "n r"]
    rank: Float[Array, ""]
    loadings: Float[Array, "r d"]  # The features in that basis.


def _facts(invariances: tuple[str, ...], source: str, more_rows_than_features: bool = True) -> Facts:
    return Facts("features", 0.0, 1.0, True, invariances, more_rows_than_features, source)


def _singular(X: Float[Array, "n d"]) -> tuple[Float[Array, "n r"], Float[Array, " r"]]:
    """Left singular vectors and values of centred features; those at or below rounding are zero."""
    left, values, _ = jnp.linalg.svd(X, full_matrices=False)
    there = values > values.max() * max(X.shape) * jnp.finfo(X.dtype).eps
    return jnp.where(there[None, :], left, 0), jnp.where(there, values, 0)


def _span(X: Float[Array, "n d"]) -> _Span:
    """An orthonormal basis of centred features."""
    basis, values = _singular(jax.vmap(unit, in_axes=1, out_axes=1)(X))
    return _Span(basis, (values > 0).sum().astype(X.dtype))


def _mean_correlation(a: _Span, b: _Span) -> Float[Array, ""]:
    total = jnp.linalg.svd(exactly(a.basis.T, b.basis), compute_uv=False).sum()
    return total / jnp.maximum(jnp.minimum(a.rank, b.rank), 1)


@dataclass(frozen=True)
class CCA:
    """Mean canonical correlation.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.similarity import CCA
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> round(jm.pair_similarity(X, X[:, ::-1], CCA()), 3)  # The same features in another order.
        1.0
    """

    @property
    def facts(self) -> Facts:
        """Range and invariances."""
        return _facts(
            ("translation", "scaling", "rotation", "linear map", "dead units"), "Hotelling (1936); Raghu et al. (2017)"
        )

    def prepare(self, X: Float[Array, "n d"]) -> _Span:
        """An orthonormal basis of the features."""
        return _span(centred(X))

    def compare(self, a: _Span, b: _Span) -> Float[Array, ""]:
        """The mean singular value of the product of the bases."""
        return _mean_correlation(a, b)

    def permute(self, state: _Span, permutation: Int[Array, " n"]) -> _Span:
        """Rows in another order."""
        return state._replace(basis=state.basis[permutation])


@dataclass(frozen=True)
class SVCCA:
    """Mean canonical correlation of the directions that matter most.

    Args:
        variance: share of the features' variance to keep, in (0, 1]: the fewest singular directions that hold it.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.similarity import SVCCA
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> round(jm.pair_similarity(X, X[:, ::-1], SVCCA(variance=0.9)), 3)  # The same features in another order.
        1.0
    """

    variance: float = 0.99

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 < self.variance <= 1:
            raise ValueError(f"variance must be a share in (0, 1], but is {self.variance!r}.")

    @property
    def facts(self) -> Facts:
        """Range and invariances."""
        # Wide features will do, if few directions hold their variance.
        return _facts(("translation", "scaling", "rotation", "dead units"), "Raghu et al. (2017)", False)

    def prepare(self, X: Float[Array, "n d"]) -> _Span:
        """An orthonormal basis of the first directions."""
        basis, values = _singular(centred(X))
        squares = values**2
        # A direction is kept unless those before it hold the share already.
        kept = (values > 0) & (jnp.cumsum(squares) - squares < self.variance * squares.sum())
        return _Span(jnp.where(kept[None, :], basis, 0), kept.sum().astype(X.dtype))

    def compare(self, a: _Span, b: _Span) -> Float[Array, ""]:
        """The mean singular value of the product of the bases."""
        return _mean_correlation(a, b)

    def permute(self, state: _Span, permutation: Int[Array, " n"]) -> _Span:
        """Rows in another order."""
        return state._replace(basis=state.basis[permutation])


@dataclass(frozen=True)
class PWCCA:
    """Canonical correlations weighted by how much the features make of them, the mean of both networks' weights.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.similarity import PWCCA
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> round(jm.pair_similarity(X, X[:, ::-1], PWCCA()), 3)  # The same features in another order.
        1.0
    """

    @property
    def facts(self) -> Facts:
        """Range and invariances."""
        # A rotation of the features changes which of them make use of a direction.
        return _facts(("translation", "scaling", "dead units"), "Morcos et al. (2018)")

    def prepare(self, X: Float[Array, "n d"]) -> _Weighed:
        """An orthonormal basis of the features, and the features in it."""
        X = centred(X)
        basis, rank = _span(X)
        return _Weighed(basis, rank, exactly(basis.T, X))

    def compare(self, a: _Weighed, b: _Weighed) -> Float[Array, ""]:
        """The mean of the correlations, weighted by either network's features."""
        first, correlations, second = jnp.linalg.svd(exactly(a.basis.T, b.basis), full_matrices=False)
        there = jnp.arange(len(correlations)) < jnp.minimum(a.rank, b.rank)

        def weighted(directions: Float[Array, "k r"], loadings: Float[Array, "r d"]) -> Float[Array, ""]:
            weights = jnp.where(there, jnp.abs(exactly(directions, loadings)).sum(axis=1), 0)
            total = weights.sum()
            return (weights * correlations).sum() / jnp.where(total > 0, total, 1)

        return (weighted(first.T, a.loadings) + weighted(second, b.loadings)) / 2

    def permute(self, state: _Weighed, permutation: Int[Array, " n"]) -> _Weighed:
        """Rows in another order."""
        return state._replace(basis=state.basis[permutation])
