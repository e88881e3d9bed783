"""Metrics whose totals add up over blocks of rows: accuracy and its balanced form, proper scores, margin, R².

With labels `y_i`, scores `s_ic`, class indicators `Y_ic`, class sizes `n_c` and `m` rows:

    accuracy            Σ_i [argmax_c s_ic = y_i] / m
    balanced_accuracy   mean over the classes that occur of their accuracy
    neg_log_loss        Σ_i log p_i[y_i] / m, probabilities clipped to [ε, 1 - ε] with the machine's ε
    neg_brier_score     -Σ_ic (p_ic - Y_ic)² / m, half of that for two classes
    margin              Σ_i (s_i[y_i] - max of the other s_ic) / m
    r2                  1 - Σ_ic (s_ic - Y_ic)² / Σ_c n_c (1 - n_c / m)

The denominator of `r2` depends on class sizes alone, so it is the Brier score of any linear scores, measured against
that of the class shares. References: Brier (1950); Brodersen et al. (2010), The balanced accuracy and its posterior
distribution; Crammer & Singer (2001) for the margin.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer

from jaxmem.metrics.base import Metric, Predicted, correct, indicators

__all__ = ["accuracy", "balanced_accuracy", "margin", "margins", "neg_brier_score", "neg_log_loss", "r2"]


def _n_correct(scores: Float[Array, "m C"] | Predicted, labels: Integer[Array, " m"]) -> Int[Array, ""]:
    return correct(scores, labels).sum(dtype=jnp.int32)


class _PerClass(NamedTuple):
    correct: Int[Array, "... C"]
    rows: Int[Array, "... C"]


def _n_correct_per_class(scores: Float[Array, "m C"] | Predicted, labels: Integer[Array, " m"]) -> _PerClass:
    own = indicators(labels, scores.shape[1])
    hits = own & correct(scores, labels)[:, None]
    return _PerClass(hits.sum(axis=0, dtype=jnp.int32), own.sum(axis=0, dtype=jnp.int32))


def _mean_recall(totals: Any, n_rows: int) -> Any:
    # A class without rows has no recall; it counts neither above nor below the line.
    recall = totals.correct / (totals.rows + (totals.rows == 0))
    return recall.sum(axis=-1) / (totals.rows > 0).sum(axis=-1)


def _log_likelihood(probabilities: Float[Array, "m C"], labels: Integer[Array, " m"]) -> Float[Array, ""]:
    eps = jnp.finfo(probabilities.dtype).eps
    own = jnp.where(indicators(labels, probabilities.shape[1]), probabilities, 0).sum(axis=1)
    return jnp.log(jnp.clip(own, eps, 1 - eps)).sum()


def _squared_errors(scores: Float[Array, "m C"], labels: Integer[Array, " m"]) -> Float[Array, ""]:
    return ((scores - indicators(labels, scores.shape[1])) ** 2).sum()


def _negative_brier(probabilities: Float[Array, "m C"], labels: Integer[Array, " m"]) -> Float[Array, ""]:
    errors = _squared_errors(probabilities, labels)
    return -errors / 2 if probabilities.shape[1] == 2 else -errors


def margins(scores: Float[Array, "m C"], labels: Integer[Array, " m"]) -> Float[Array, " m"]:
    """Score of every row's label minus the best score of another one.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxmem.metrics import margins
        >>> margins(jnp.array([[3.0, 1.0], [0.0, 5.0]]), jnp.array([0, 0])).tolist()
        [2.0, -5.0]
    """
    own = indicators(labels, scores.shape[1])
    # Not by a sum over the classes: a class that no row was fitted to may score minus infinity.
    of_own = jnp.where(own, scores, -jnp.inf).max(axis=1)
    of_others = jnp.where(own, -jnp.inf, scores).max(axis=1)
    return of_own - of_others


def _total_margin(scores: Float[Array, "m C"], labels: Integer[Array, " m"]) -> Float[Array, ""]:
    return margins(scores, labels).sum()


class _Regression(NamedTuple):
    errors: Float[Array, "..."]
    rows: Int[Array, "... C"]


def _regression(scores: Float[Array, "m C"], labels: Integer[Array, " m"]) -> _Regression:
    rows = indicators(labels, scores.shape[1]).sum(axis=0, dtype=jnp.int32)
    return _Regression(_squared_errors(scores, labels), rows)


@np.errstate(invalid="ignore")  # Where all rows are of one class there is no variance to explain: NaN.
def _explained(totals: Any, n_rows: int) -> Any:
    variance = (totals.rows * (1 - totals.rows / n_rows)).sum(axis=-1)
    return 1 - totals.errors.astype(float) * (variance > 0) / variance


def _mean(total: Any, n_rows: int) -> Any:
    return total / n_rows


accuracy = Metric("accuracy", _n_correct, _mean, counts=True, needs="prediction")
balanced_accuracy = Metric("balanced_accuracy", _n_correct_per_class, _mean_recall, counts=True, needs="prediction")
neg_log_loss = Metric("neg_log_loss", _log_likelihood, _mean, needs="probabilities")
neg_brier_score = Metric("neg_brier_score", _negative_brier, _mean, needs="probabilities")
margin = Metric("margin", _total_margin, _mean)
r2 = Metric("r2", _regression, _explained, needs="indicators")
