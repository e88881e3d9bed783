"""Nearest centroid: the class whose mean is nearest, from class sums and nothing else.

For the Euclidean distance, `|x - m_k|² = |x|² - 2 (x·m_k - |m_k|² / 2)`, and `|x|²` is the same for all classes. A row
scores the difference to the last class, `x·(m_k - m_C) - (|m_k|² - |m_C|²) / 2`, for which `C - 1` columns are enough.
With centred features the class sums add up to zero, so `C - 1` of them are enough as well.

For the cosine, `m_k / |m_k|` takes the place of `m_k`, rows are scaled to length one, and there is no offset. The angle
is seen from the origin: sums of the centred rows of a class are short of its own by as many means as it has rows.

The Manhattan distance, which scikit-learn has too, goes to the median of a class, and medians are not class sums.

References: Rocchio (1971); Tibshirani, Hastie, Narasimhan & Chu (2002); scikit-learn's `NearestCentroid`.
"""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jaxmem.classifiers._linear import Shift, centre, shifted
from jaxmem.classifiers.base import contrast_sums
from jaxmem.classifiers.moments import Moments
from jaxmem.inputs import one_of

__all__ = ["NearestCentroid"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    shift: Shift
    training: Float[Array, "n d"]  # Centred; without rows where those come a block at a time.
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
    scatter: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        one_of(self.metric, ("euclidean", "cosine"), "metric")

    def prepare(self, X: Float[Array, "n d"], n_classes: int) -> _State:
        """Centre the training rows."""
        shift, centred = centre(X)
        return _State(shift, centred, n_classes)

    def rows(self, state: _State, X_new: Float[Array, "m d"]) -> Float[Array, "m d"]:
        """Centre the rows; for the cosine, scale them to length one instead."""
        return _unit(X_new) if self.metric == "cosine" else shifted(state.shift, X_new)

    def fit(self, state: _State, labels: Integer[Array, " n"]) -> _Params:
        """Class means, as differences to the last."""
        return self.solve(state, *contrast_sums(labels, state.training, state.n_classes))

    def decision(self, state: _State, params: _Params, rows: Float[Array, "m d"]) -> Float[Array, "m C"]:
        """Nearness to each class mean, up to a constant per row: half the squared distance or the cosine."""
        scores = params.weights @ rows.T
        return (jnp.pad(scores, ((0, 1), (0, 0))) + params.intercepts[:, None]).T

    def condense(self, moments: Moments, n_classes: int) -> _State:
        """The mean of the training rows."""
        return _State(moments.shift, moments.condensed[:0], n_classes)

    def summed(self, state: _State, X: Float[Array, "k d"]) -> Float[Array, "k d"]:
        """Centre some training rows."""
        return shifted(state.shift, X)

    def solve(self, state: _State, sums: Float[Array, "contrasts d"], counts: Float[Array, " C"]) -> _Params:
        """Class means from sums of centred rows."""
        sums = jnp.concatenate([sums, -sums.sum(axis=0, keepdims=True)])
        if self.metric == "cosine":
            centroids = _unit(sums + counts[:, None] * (state.shift.origin + state.shift.offset)[None, :])
            offsets = jnp.zeros_like(counts)
        else:
            centroids = sums / jnp.maximum(counts, 1)[:, None]
            offsets = 0.5 * (centroids**2).sum(axis=1)
        # A class without rows is never the nearest.
        return _Params(centroids[:-1] - centroids[-1:], jnp.where(counts > 0, -offsets, -jnp.inf))

    def score(self, state: _State, params: _Params, X_new: Float[Array, "k d"]) -> Float[Array, "k C"]:
        """As `decision`."""
        return self.decision(state, params, self.rows(state, X_new))


def _unit(vectors: Float[Array, "k d"]) -> Float[Array, "k d"]:
    """Scale to length one; a vector of zeros stays."""
    lengths = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / jnp.where(lengths > 0, lengths, 1)
