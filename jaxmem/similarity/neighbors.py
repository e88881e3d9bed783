"""Overlap of nearest neighbours: of the k rows nearest to a row in one network, how many are so in the other?

    overlap = mean over rows i of |N_a(i) ∩ N_b(i)| / k.

Each network has a matrix `W` of zeros and ones that says which rows are neighbours, and the overlap is the cosine of
two such matrices, `<W_a, W_b> / (|W_a| |W_b|)`, for `|W|² = n k`. Of unrelated networks it is `k / (n - 1)` on average.

Where rows are equally far, at the distance of the k-th neighbour, they share what places are left: with c rows closer
and t tied, each has `W_ij = (k - c) / t`. So no row is preferred for where it stands, the cosine is still 1 for a
network and itself, and without ties it is the overlap.

Reference: Huh, Cheung, Wang & Isola (2024), who call it mutual nearest-neighbour alignment; shared places are ours.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxmem.inputs import as_number
from jaxmem.similarity._rows import centred, inner, permuted_pairs, rounding, square_distances, unit
from jaxmem.similarity.base import Facts

__all__ = ["NeighborOverlap"]


@dataclass(frozen=True)
class NeighborOverlap:
    """Mean share of common nearest neighbours, by Euclidean distance.

    Args:
        n_neighbors: k, at most the number of rows minus two. Rows tied for the last places share them.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.similarity import NeighborOverlap
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> round(jm.pair_similarity(X, X[:, ::-1], NeighborOverlap(5)), 3)  # The same features in another order.
        1.0
    """

    n_neighbors: int = 10

    def __post_init__(self) -> None:
        """Check the number."""
        object.__setattr__(self, "n_neighbors", as_number(self.n_neighbors, "n_neighbors"))

    @property
    def facts(self) -> Facts:
        """Range and invariances."""
        return Facts(
            takes="features",
            low=0.0,
            high=1.0,
            larger_is_similar=True,
            invariances=("translation", "scaling", "rotation", "dead units"),
            more_rows_than_features=False,
            source="Huh et al. (2024)",
        )

    def prepare(self, X: Float[Array, "n d"]) -> Float[Array, "n n"]:
        """Which rows are neighbours of which, the weights of row i adding up to k; of unit norm."""
        n, k = len(X), int(self.n_neighbors)
        if k > n - 2:
            raise ValueError(
                f"n_neighbors is {k}, but {n} rows leave at most {n - 2} to choose: use fewer, or more rows."
            )
        X = centred(X)
        distances = jnp.where(jnp.eye(n, dtype=bool), jnp.inf, square_distances(X))
        # Not the last of the k by its place: XLA would sort all of them for it.
        last = -jax.lax.top_k(-distances, k)[0].min(axis=1, keepdims=True)
        # A row that is as far as the k-th is no longer than its own row and that distance together.
        nearby = rounding((X**2).sum(axis=1, keepdims=True) + last)
        closer, tied = distances < last - nearby, jnp.abs(distances - last) <= nearby
        share = (k - closer.sum(axis=1, keepdims=True)) / tied.sum(axis=1, keepdims=True)
        weights = jnp.where(closer, 1, jnp.where(tied, share, 0)).astype(X.dtype)
        return jnp.where((X != 0).any(), unit(weights), 0)

    def compare(self, a: Float[Array, "n n"], b: Float[Array, "n n"]) -> Float[Array, ""]:
        """The share of common neighbours, as a cosine."""
        return inner(a, b)

    def permute(self, state: Float[Array, "n n"], permutation: Int[Array, " n"]) -> Float[Array, "n n"]:
        """Rows and columns in another order."""
        return permuted_pairs(state, permutation)
