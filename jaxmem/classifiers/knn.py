"""k-nearest neighbours: which rows are neighbours does not depend on labels, only their votes do.

`rows` searches the `k` nearest training rows of every row to score, once, exactly, a block of rows at a time, so that
the (m, n) distance matrix never exists. A label vector then costs a gather and a vote: O(mk), no matrix product at all.

For accuracy with `k = 1` the paired null has a closed-form mean: with `r` the share of validation rows whose
nearest training row is their own source, it is `r + (1 - r) Σ_c n_c (n_c - 1) / (n (n - 1))`.

References: Fix & Hodges (1951); scikit-learn's `KNeighborsClassifier` (uniform weights, Euclidean distance).
"""

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer

from jaxmem.blocks import over_row_blocks

__all__ = ["KNeighbors"]

# Distances held at once while searching: 16 Mi numbers, 64 MiB in single precision.
_DISTANCES_AT_ONCE = 2**24


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    mean: Float[Array, " d"]
    centred: Float[Array, "n d"]
    n_classes: int = field(metadata={"static": True})


@dataclass(frozen=True)
class KNeighbors:
    """Classifier by the votes of the nearest training rows; equals scikit-learn's `KNeighborsClassifier(n_neighbors)`.

    Distances are Euclidean, ties between votes go to the first class, ties between distances to the first row.

    Args:
        n_neighbors: how many training rows vote, at least 1 and at most the number of training rows.
    """

    n_neighbors: int = 1
    gives: ClassVar[str] = "probabilities"

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        if not (isinstance(self.n_neighbors, int) and self.n_neighbors >= 1):
            raise ValueError(f"n_neighbors must be an integer >= 1, but is {self.n_neighbors!r}.")

    def prepare(self, X: Float[Array, "n d"], n_classes: int) -> _State:
        """Centre the training rows: distances stay, and the cancellation in computing them shrinks."""
        if self.n_neighbors > X.shape[0]:
            raise ValueError(
                f"n_neighbors is {self.n_neighbors}, but there are only {X.shape[0]} training rows to choose from."
            )
        mean = X.mean(axis=0)
        return _State(mean, X - mean[None, :], n_classes)

    def rows(self, state: _State, X_new: Float[Array, "m d"]) -> Int[Array, "m k"]:
        """Index of the nearest training rows of every row, nearest first."""
        half_norms = 0.5 * (state.centred**2).sum(axis=1)

        def nearest(block: Float[Array, "b d"]) -> tuple[None, Int[Array, "b k"]]:
            # |x - z|² = |x|² - 2 (x·z - |z|²/2), and |x|² is the same for every z.
            product = jnp.matmul(block - state.mean[None, :], state.centred.T, precision="highest")
            closeness = product - half_norms[None, :]
            if self.n_neighbors == 1:
                return None, jnp.argmax(closeness, axis=1)[:, None].astype(jnp.int32)
            return None, jax.lax.top_k(closeness, self.n_neighbors)[1].astype(jnp.int32)

        block_rows = max(1, _DISTANCES_AT_ONCE // state.centred.shape[0])
        return over_row_blocks(nearest, X_new, block_rows)[1]

    def fit(self, state: _State, labels: Integer[Array, " n"]) -> Integer[Array, " n"]:
        """The labels themselves: there is nothing to fit."""
        return labels

    def decision(
        self, state: _State, params: Integer[Array, " n"], rows: Int[Array, "m k"]
    ) -> Float[Array, "m n_classes"]:
        """Share of the neighbours' votes that each class gets."""
        votes = params[rows].T
        classes = jnp.arange(state.n_classes, dtype=votes.dtype)
        shares = (votes[None, :, :] == classes[:, None, None]).sum(axis=1) / self.n_neighbors
        return shares.T.astype(state.mean.dtype)
