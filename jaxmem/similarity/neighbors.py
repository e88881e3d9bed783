"""Overlap of nearest neighbours: of the k rows nearest to a row in one network, how many are so in the other?

    overlap = mean over rows i of |N_a(i) ∩ N_b(i)| / k.

Each network has a matrix of zeros and ones that says which rows are neighbours, and the overlap is the inner product of
two such matrices over `n k`. Of unrelated networks it is `k / (n - 1)` on average.

Reference: Huh, Cheung, Wang & Isola (2024), who call it mutual nearest-neighbour alignment.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxmem.inputs import as_number
from jaxmem.similarity._rows import centred, inner, permuted_pairs, square_distances
from jaxmem.similarity.base import Facts

__all__ = ["NeighborOverlap"]


@dataclass(frozen=True)
class NeighborOverlap:
    """Mean share of common nearest neighbours, by Euclidean distance.

    Args:
        n_neighbors: k, at most the number of rows minus two. Ties between distances go to the first row.
    """

    n_neighbors: int = 10

    def __post_init__(self) -> None:
        """Check the number."""
        as_number(self.n_neighbors, "n_neighbors")

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
        """Which rows are neighbours of which: row i has k ones, divided by the root of `n k`."""
        n, k = len(X), int(self.n_neighbors)
        if k > n - 2:
            raise ValueError(f"n_neighbors is {k}, but {n} rows leave at most {n - 2} to choose: use fewer.")
        X = centred(X)
        distances = jnp.where(jnp.eye(n, dtype=bool), jnp.inf, square_distances(X))
        nearest = jax.lax.top_k(-distances, k)[1]
        found = jnp.zeros((n, n), X.dtype).at[jnp.arange(n)[:, None], nearest].set(1)
        return jnp.where((X != 0).any(), found / jnp.sqrt(jnp.asarray(n * k, X.dtype)), 0)

    def compare(self, a: Float[Array, "n n"], b: Float[Array, "n n"]) -> Float[Array, ""]:
        """The share of common neighbours."""
        return inner(a, b)

    def permute(self, state: Float[Array, "n n"], permutation: Int[Array, " n"]) -> Float[Array, "n n"]:
        """Rows and columns in another order."""
        return permuted_pairs(state, permutation)
