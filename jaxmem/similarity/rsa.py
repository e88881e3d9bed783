"""Representational similarity analysis: do two networks place the same rows far apart?

Each network has a matrix of dissimilarities between its rows. Their correlation over all pairs of rows, Pearson's or
Spearman's, is the similarity of the networks. Both are cosines of vectors that each network has for itself:
dissimilarities minus their mean, or their ranks minus the mean rank, tied ones sharing theirs.

Reference: Kriegeskorte, Mur & Bandettini (2008), who took one minus the correlation of two rows as dissimilarity.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxmem.classifiers._linear import centre, exactly
from jaxmem.inputs import one_of
from jaxmem.similarity._rows import centred, inner, permuted_pairs, square_distances, unit
from jaxmem.similarity.base import Facts

__all__ = ["RSA"]

_STEPS = 2**20


@dataclass(frozen=True)
class RSA:
    """Correlation of the dissimilarities between rows.

    Args:
        correlation: "pearson" or "spearman".
        distance: "euclidean", or "correlation": one minus the correlation of two rows over the features, 1 for a row
            that is constant over them.
    """

    correlation: str = "pearson"
    distance: str = "euclidean"

    def __post_init__(self) -> None:
        """Check the choices."""
        one_of(self.correlation, ("pearson", "spearman"), "correlation")
        one_of(self.distance, ("euclidean", "correlation"), "distance")

    @property
    def facts(self) -> Facts:
        """Range and invariances."""
        euclidean = ("translation", "scaling", "rotation", "dead units")
        return Facts(
            takes="features",
            low=-1.0,
            high=1.0,
            larger_is_similar=True,
            # Dead units, and what a rotation mixes, move the mean over the features of a row.
            invariances=euclidean if self.distance == "euclidean" else ("scaling",),
            more_rows_than_features=False,
            source="Kriegeskorte et al. (2008)",
        )

    def prepare(self, X: Float[Array, "n d"]) -> Float[Array, "n n"]:
        """Dissimilarities or their ranks, centred off the diagonal and of unit norm."""
        if self.distance == "euclidean":
            values = square_distances(centred(X))
        else:
            rows = centre(X.T)[1].T
            lengths = jnp.sqrt((rows**2).sum(axis=1, keepdims=True))
            rows = rows / jnp.where(lengths > 0, lengths, 1)
            values = 1 - exactly(rows, rows.T)
        n, diagonal = len(X), jnp.eye(len(X), dtype=bool)
        if self.correlation == "spearman":
            values = _ranks(values)
        elif self.distance == "euclidean":
            values = jnp.sqrt(values)
        off = jnp.where(diagonal, 0, values)
        varies = jnp.where(diagonal, -jnp.inf, values).max() > jnp.where(diagonal, jnp.inf, values).min()
        return unit(jnp.where(diagonal | ~varies, 0, off - off.sum() / (n * (n - 1))))

    def compare(self, a: Float[Array, "n n"], b: Float[Array, "n n"]) -> Float[Array, ""]:
        """The correlation over all pairs of rows."""
        return inner(a, b)

    def permute(self, state: Float[Array, "n n"], permutation: Int[Array, " n"]) -> Float[Array, "n n"]:
        """Rows and columns in another order."""
        return permuted_pairs(state, permutation)


def _ranks(values: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Ranks of the entries off the diagonal, tied ones sharing theirs; the diagonal's are of no use."""
    # On a grid of a million steps, equal distances that differ by rounding are equal again; and counting sorts it.
    largest = values.max()
    steps = jnp.round(values / jnp.where(largest > 0, largest, 1) * (_STEPS - 1)).astype(jnp.int32)
    off = ~jnp.eye(len(values), dtype=bool)
    counts = jnp.zeros(_STEPS, jnp.int32).at[steps].add(off.astype(jnp.int32))
    ranks = jnp.cumsum(counts) - (counts - 1) / 2
    return ranks[steps].astype(values.dtype)
