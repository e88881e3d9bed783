"""Metrics: scores and labels of the scored rows to one number, for one label vector; larger is better in all.

A metric is two functions. `partial(scores, labels)` runs on the device and returns totals; `finish(totals, n_rows)`
turns them into the number on the host. Most totals add up over blocks of rows, so that the scores of all rows need
never exist at once; rankings, and functions of the user's, take all rows at once (`additive=False`). Counts stay
integers until `finish`, so that ties between the observed score and the null are exact.

The names are scikit-learn's, and so are the numbers, for labels `0 .. C - 1` and scores `s` of shape (m, C):

    "accuracy"            accuracy_score(y, s.argmax(axis=1))
    "balanced_accuracy"   balanced_accuracy_score(y, s.argmax(axis=1))
    "roc_auc"             roc_auc_score(y, s[:, 1] - s[:, 0]), two classes
    "roc_auc_ovr"         roc_auc_score(y, s, multi_class="ovr"), the macro average; two classes: "roc_auc"
    "roc_auc_ovo"         roc_auc_score(y, s, multi_class="ovo"), the macro average; two classes: "roc_auc"
    "average_precision"   average_precision_score(eye(C)[y], s), the macro average; two classes:
                          average_precision_score(y, s[:, 1] - s[:, 0])
    "neg_log_loss"        -log_loss(y, s, labels=range(C)), of probabilities
    "neg_brier_score"     -brier_score_loss(y, s, labels=range(C)), of probabilities
    "margin"              mean of s[i, y_i] less the largest other score of the row: what `hinge_loss` is made of
    "r2"                  r2_score(eye(C)[y], s, multioutput="variance_weighted"), of estimated indicators

A class that none of the scored rows has is left out of averages over classes, where scikit-learn raises, or warns and
scores it as zero. Where nothing is left, since all rows are of one class, ROC AUC and R² are NaN, and so is average
precision of two classes without a row of the second.

Any function `(scores (m, C), labels (m,)) -> number` that JAX can trace is a metric, too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxmem.inputs import one_of
from jaxmem.metrics.additive import accuracy, balanced_accuracy, margin, margins, neg_brier_score, neg_log_loss, r2
from jaxmem.metrics.base import SCALES, Metric, Predicted, check, correct, predictions, scores_for
from jaxmem.metrics.ranking import average_precision, roc_auc, roc_auc_ovo, roc_auc_ovr

__all__ = [
    "METRICS",
    "SCALES",
    "Metric",
    "Predicted",
    "accuracy",
    "check",
    "correct",
    "margins",
    "metric_by_name",
    "predictions",
    "scores_for",
]

METRICS = {
    metric.name: metric
    for metric in (
        accuracy,
        balanced_accuracy,
        roc_auc,
        roc_auc_ovr,
        roc_auc_ovo,
        average_precision,
        neg_log_loss,
        neg_brier_score,
        margin,
        r2,
    )
}


def metric_by_name(metric: str | Metric | Callable[[Any, Any], Any]) -> Metric:
    """Look a metric up by its name, or make one of a function; a `Metric` passes through.

    Args:
        metric: one of `METRICS`; a `Metric`; or a function `(scores (m, C), labels (m,)) -> number` of the decisions of
            all rows and their labels in `0 .. C - 1`, made of JAX operations; larger should be better. The same
            function makes an equal metric each time, hence does not compile anew; a new lambda does.

    Raises:
        ValueError: an unknown name; or a function that cannot be hashed, which compiling for it takes.

    Example:
        >>> from jaxmem.metrics import metric_by_name
        >>> metric_by_name("r2").needs
        'indicators'
    """
    if isinstance(metric, Metric):
        return metric
    if not callable(metric):
        return METRICS[one_of(metric, METRICS, "metric")]
    try:
        hash(metric)
    except TypeError as error:
        raise ValueError(
            f"metric must be hashable, but {metric!r} is not: make it a plain function, or a frozen dataclass whose "
            "fields are hashable."
        ) from error
    name = getattr(metric, "__name__", type(metric).__name__)
    return Metric(name, _Traced(name, metric), _as_it_is, additive=False)


# What JAX raises where a function wants to see a number that is not there while tracing.
_UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


@dataclass(frozen=True)
class _Traced:
    """A function of the user's; equal to another of the same function."""

    name: str
    function: Callable[[Any, Any], Any]

    def __call__(self, scores: Any, labels: Any) -> Any:
        try:
            # Of a type that can be counted with: the codes come in a single byte, unsigned.
            value = self.function(scores, labels.astype(jnp.int32))
        except _UNTRACEABLE as error:
            raise ValueError(
                f"metric {self.name!r} cannot be compiled: it must be made of JAX operations, without a branch on a "
                f"value. scikit-learn's functions are not; of those there are {', '.join(map(repr, METRICS))} by name."
            ) from error
        number = isinstance(value, (int, float)) or hasattr(value, "shape")
        if not number or jnp.shape(value) != ():
            got = f"has shape {jnp.shape(value)}" if number else f"is a {type(value).__name__}"
            raise ValueError(f"metric {self.name!r} must return one number, but what it returns {got}.")
        return jnp.asarray(value)


def _as_it_is(value: Any, n_rows: int) -> Any:
    return value
