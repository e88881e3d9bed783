"""Nearest centroid: the class whose mean is nearest, from class sums and nothing else.

For the Euclidean distance, `|x - m_k|² = |x|² - 2 (x·m_k - |m_k|² / 2)`, and `|x|²` is the same for all classes. A row
scores the difference to the last class, `x·(m_k - m_C) - (|m_k|² - |m_C|²) / 2`, for which `C - 1` columns are enough.
With centred features the class sums add up to zero, so `C - 1` of them are enough as well.

For the cosine, `m_k / |m_k|` takes the place of `m_k`, rows are scaled to length one, and there is no offset. Features
are then not centred: the angle is seen from the origin.

The Manhattan distance, which scikit-learn has too, goes to the median of a class, and medians are not class sums.

References: Rocchio (1971); Tibshirani, Hastie, Narasimhan & Chu (2002); scikit-learn's `NearestCentroid`.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jaxmem.classifiers._linear import centre
from jaxmem.classifiers.base import class_sums
from jaxmem.inputs import one_of

__all__ = ["NearestCentroid"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    origin: Float[Array, " d"]  # The mean of the rows, or zero for the cosine.
    shifted: Float[Array, "n d"]
    n_classes: int = field(metadata={"static": True})


class _Params(NamedTuple):
    weights: Float[Array, "C-1 d"]  # Against the last class.
    intercepts: Float[Array, " C"]


@dataclass(frozen=True)
class NearestCentroid:
    """Classifier by the nearest class mean; predictions equal scikit-learn's `NearestCentroid()` on the same labels.

    Args:
        metric: "euclidean", or "cosine" for the smallest angle between a row and the class mean (which scikit-learn no
            longer offers).

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> copies = jm.SharedStructure(X + 0.1)
        >>> jm.permutation_test(jm.NearestCentroid(), X, y, validation=copies, n_permutations=99).pvalue
        0.01
    """

    metric: str = "euclidean"

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        one_of(self.metric, ("euclidean", "cosine"), "metric")

    def prepare(self, X: Float[Array, "n d"], n_classes: int) -> _State:
        """Centre the training rows, unless angles are asked for."""
        if self.metric == "cosine":
            return _State(jnp.zeros_like(X[0]), X, n_classes)
        mean, centred, _ = centre(X)
        return _State(mean, centred, n_classes)

    def rows(self, state: _State, X_new: Float[Array, "m d"]) -> Float[Array, "m d"]:
        """Shift the rows as the training rows are; for the cosine, scale them to length one."""
        shifted = X_new - state.origin[None, :]
        return _unit(shifted) if self.metric == "cosine" else shifted

    def fit(self, state: _State, labels: Integer[Array, " n"]) -> _Params:
        """Class means, as differences to the last."""
        if self.metric == "cosine":
            sums, counts = class_sums(labels, state.shifted, state.n_classes)
            centroids = _unit(sums)
            offsets = jnp.zeros_like(counts)
        else:
            sums, counts = class_sums(labels, state.shifted, state.n_classes - 1)
            sums = jnp.concatenate([sums, -sums.sum(axis=0, keepdims=True)])
            counts = jnp.append(counts, labels.shape[0] - counts.sum())
            centroids = sums / jnp.maximum(counts, 1)[:, None]
            offsets = 0.5 * (centroids**2).sum(axis=1)
        # A class without rows is never the nearest.
        return _Params(centroids[:-1] - centroids[-1:], jnp.where(counts > 0, -offsets, -jnp.inf))

    def decision(self, state: _State, params: _Params, rows: Float[Array, "m d"]) -> Float[Array, "m C"]:
        """Nearness to each class mean, up to a constant per row: half the squared distance or the cosine."""
        scores = params.weights @ rows.T
        return (jnp.pad(scores, ((0, 1), (0, 0))) + params.intercepts[:, None]).T


def _unit(vectors: Float[Array, "k d"]) -> Float[Array, "k d"]:
    """Scale to length one; a vector of zeros stays."""
    lengths = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / jnp.where(lengths > 0, lengths, 1)
