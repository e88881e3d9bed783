"""k-nearest neighbours: which rows are neighbours does not depend on labels, only their votes do.

`rows` searches the `k` nearest training rows of every row to score, once, exactly, a block of rows at a time, so that
the (m, n) distance matrix never exists. A label vector then costs a gather and a vote: O(mk), no matrix product at all.

For accuracy with `k = 1` the paired null has a closed-form mean: with `r` the share of validation rows whose
nearest training row is their own source, it is `r + (1 - r) Σ_c n_c (n_c - 1) / (n (n - 1))`.

References: Fix & Hodges (1951); Dudani (1976) for weights by distance; scikit-learn's `KNeighborsClassifier`.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer

from jaxmem.blocks import over_row_blocks
from jaxmem.classifiers._linear import exactly
from jaxmem.inputs import as_number, one_of
from jaxmem.metrics import Predicted, predictions

__all__ = ["KNeighbors"]

# Distances held at once while searching: 16 Mi numbers, 64 MiB in single precision.
_DISTANCES_AT_ONCE = 2**24

# Neighbours of all rows that are kept where folds follow the labels: 512 MiB.
_NEIGHBORS_KEPT = 2**27

# Up to so many, neighbours are compared with each other; more, counted class by class.
_FEW_NEIGHBORS = 16


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    origin: Float[Array, " d"]
    points: Float[Array, "n d"]
    n_classes: int = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Whole:
    state: _State
    nearest: Int[Array, "n l"]  # So many that enough are left without any fold.


class _Rows(NamedTuple):
    neighbors: Int[Array, "m k"]
    votes: Float[Array, "m k"] | None  # How much each neighbour's vote counts, summing to one; None: all alike.


@dataclass(frozen=True)
class KNeighbors:
    """Classifier by the votes of the nearest training rows; equals scikit-learn's `KNeighborsClassifier`.

    Ties between votes go to the first class, equal distances to the first row; those of features on a grid, such as
    indicators and counts, are equal to the last bit.

    Args:
        n_neighbors: how many training rows vote, at least 1 and at most the number of training rows.
        metric: "euclidean" or "cosine". A row of zeros has cosine distance 1 from every row.
        weights: "uniform", or "distance": votes count by the inverse of the distance; where some neighbours are at
            distance zero, they alone vote.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> jm.permutation_test(jm.KNeighbors(3), X, y, validation=jm.KFold(4), n_permutations=99).pvalue
        0.01
    """

    n_neighbors: int = 1
    metric: str = "euclidean"
    weights: str = "uniform"
    gives: ClassVar[str] = "probabilities"

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        object.__setattr__(self, "n_neighbors", as_number(self.n_neighbors, "n_neighbors"))
        one_of(self.metric, ("euclidean", "cosine"), "metric")
        one_of(self.weights, ("uniform", "distance"), "weights")

    def prepare(self, X: Float[Array, "n d"], n_classes: int) -> _State:
        """Move the origin near the mean, or the rows on to the unit sphere."""
        if self.n_neighbors > X.shape[0]:
            raise ValueError(
                f"n_neighbors is {self.n_neighbors}, but there are only {X.shape[0]} training rows to choose from."
            )
        # Distances stay when the origin moves, and the cancellation in computing them shrinks; angles do not stay.
        origin = _near_the_mean(X) if self.metric == "euclidean" else jnp.zeros_like(X[0])
        return _State(origin, self._placed(X, origin), n_classes)

    def rows(self, state: _State, X_new: Float[Array, "m d"]) -> _Rows:
        """The nearest training rows of every row, nearest first, and the weights of their votes."""
        half_norms = 0.5 * (state.points**2).sum(axis=1)

        def nearest(block: Float[Array, "b d"]) -> tuple[None, _Rows]:
            placed = self._placed(block, state.origin)
            # |x - z|² = |x|² - 2 (x·z - |z|²/2), and |x|² is the same for every z. On the unit sphere, that orders by
            # angle.
            closeness = exactly(placed, state.points.T) - half_norms[None, :]
            if self.n_neighbors == 1:
                neighbors = jnp.argmax(closeness, axis=1)[:, None].astype(jnp.int32)
            else:
                neighbors = jax.lax.top_k(closeness, self.n_neighbors)[1].astype(jnp.int32)
            return None, _Rows(neighbors, self._votes(placed, state.points, neighbors))

        block_rows = max(1, _DISTANCES_AT_ONCE // state.points.shape[0])
        return over_row_blocks(nearest, X_new, block_rows)[1]

    def foldable(self, X: Float[Array, "n d"], n_classes: int, largest: int) -> _Whole | None:
        """The neighbours of every row among all rows, as many as a fold can hold and `n_neighbors` more."""
        if len(X) * (largest + self.n_neighbors) > _NEIGHBORS_KEPT:
            return None
        state = self.prepare(X, n_classes)
        if self.n_neighbors > len(X) - largest:
            raise ValueError(
                f"n_neighbors is {self.n_neighbors}, but folds leave only {len(X) - largest} training rows to choose "
                "from."
            )
        more = replace(self, n_neighbors=min(len(X), largest + self.n_neighbors), weights="uniform")
        return _Whole(state, more.rows(state, X).neighbors)

    def fold(self, whole: _Whole, inside: Int[Array, " m"], outside: Int[Array, " k"]) -> tuple[_State, _Rows]:
        """The first of a row's neighbours that are not in its fold."""
        state, k = whole.state, self.n_neighbors
        is_outside = jnp.zeros(len(state.points), bool).at[outside].set(True)
        candidates = whole.nearest[inside]
        there = is_outside[candidates]
        rank = jnp.cumsum(there, axis=1) - 1
        # What is not among the first k goes into a column that is thrown away.
        place = jnp.where(there & (rank < k), rank, k)
        chosen = jnp.zeros((len(inside), k + 1), jnp.int32)
        chosen = chosen.at[jnp.arange(len(inside))[:, None], place].set(candidates)[:, :k]
        votes = self._votes(state.points[inside], state.points, chosen)
        number = jnp.cumsum(is_outside).astype(jnp.int32) - 1
        return state, _Rows(number[chosen], votes)

    def fit(self, state: _State, labels: Integer[Array, " n"]) -> Integer[Array, " n"]:
        """The labels themselves: there is nothing to fit."""
        return labels

    def decision(self, state: _State, params: Integer[Array, " n"], rows: _Rows) -> Float[Array, "m n_classes"]:
        """Share of the neighbours' votes that each class gets."""
        labels = params[rows.neighbors].T
        classes = jnp.arange(state.n_classes, dtype=labels.dtype)
        votes = labels[None, :, :] == classes[:, None, None]
        if rows.votes is None:
            return (votes.sum(axis=1).astype(state.points.dtype) / self.n_neighbors).T
        return (votes * rows.votes.T[None, :, :]).sum(axis=1).T

    def predicted(self, state: _State, params: Integer[Array, " n"], rows: _Rows) -> Predicted:
        """The class of most votes: of few neighbours, by asking each how many others have its class."""
        k = self.n_neighbors
        if k > _FEW_NEIGHBORS or rows.votes is not None:
            return Predicted(predictions(self.decision(state, params, rows)), state.n_classes)
        labels = [params[rows.neighbors[:, j]] for j in range(k)]
        winner, most = labels[0], jnp.zeros(labels[0].shape, jnp.uint8)
        for label in labels:
            votes = sum((label == other).astype(jnp.uint8) for other in labels)
            wins = (votes > most) | ((votes == most) & (label < winner))
            winner, most = jnp.where(wins, label, winner), jnp.where(wins, votes, most)
        return Predicted(winner, state.n_classes)

    def _placed(self, X: Float[Array, "b d"], origin: Float[Array, " d"]) -> Float[Array, "b d"]:
        """Rows where their Euclidean distances are, or order like, the distances asked for."""
        if self.metric == "euclidean":
            return X - origin[None, :]
        norms = jnp.linalg.norm(X, axis=1, keepdims=True)
        return X / jnp.where(norms > 0, norms, 1)

    def _votes(
        self, placed: Float[Array, "b d"], points: Float[Array, "n d"], neighbors: Int[Array, "b k"]
    ) -> Float[Array, "b k"] | None:
        if self.weights == "uniform":
            return None
        # From the differences themselves, one neighbour at a time: the expanded square loses what is near zero.
        squares = jnp.stack([((placed - points[j]) ** 2).sum(axis=1) for j in neighbors.T], axis=1)
        distances = jnp.sqrt(squares) if self.metric == "euclidean" else squares / 2
        zero = distances == 0
        inverse = jnp.where(zero.any(axis=1, keepdims=True), zero, 1 / jnp.where(zero, 1, distances))
        return (inverse / inverse.sum(axis=1, keepdims=True)).astype(placed.dtype)


def _near_the_mean(X: Float[Array, "n d"]) -> Float[Array, " d"]:
    """The mean, rounded to a sixteenth or so of the range of each feature.

    To a power of two: features on a grid, such as indicators and counts, stay on one, and equal distances equal.
    """
    origin, span = X.mean(axis=0), X.max(axis=0) - X.min(axis=0)
    step = jnp.ldexp(jnp.ones_like(span), jnp.frexp(span)[1] - 4)
    step = jnp.maximum(step, jnp.finfo(X.dtype).tiny)  # Smaller ones are flushed to zero on some devices.
    return jnp.where(span > 0, jnp.round(origin / step) * step, X[0])
