"""What all fits have in common: what they are asked and what they answer, and which labels rows are scored with."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Integer

from jaxmem.blocks import BLOCK_ROWS, over_row_blocks
from jaxmem.classifiers.base import Classifier
from jaxmem.metrics import Metric, Predicted, correct, scores_for
from jaxmem.metrics.base import predicts
from jaxmem.validation import KFold, Part

__all__ = ["Fit", "OfFolds", "OfParts", "Totals", "deciding", "measured", "scored", "targets_by_kind", "worst"]


class Totals(NamedTuple):
    """What a batch of labellings adds up to.

    Attributes:
        metric: by view, by kind of labels ("paired", "broken"), the metric's totals; every leaf has the batch in front.
        recovered: by view, how many of a device's counted labellings predicted a row's label; shape (devices, m), where
            asked.
        diagnostics: by name, what the classifier says of each of its fits, shape (batch,).
    """

    metric: dict[Any, dict[str, Any]]
    recovered: dict[Any, Int[Array, "devices m"]]
    diagnostics: dict[str, Array]


@runtime_checkable
class Fit(Protocol):
    """A fit of many labellings.

    Attributes:
        n_rows: how many rows each of its views scores.
    """

    n_rows: dict[Any, int]

    def __call__(self, labels: Any, others: Any, counted: Any) -> Totals:
        """Fit and score a batch of labellings.

        Args:
            labels: what to fit, and what copies of training rows are scored with ("paired"); shape (size, n).
            others: what those copies are scored with as well ("broken"); None: nothing.
            counted: which labellings count towards `Totals.recovered`; shape (size,).
        """
        ...

    def bytes_per_labelling(self, labels: Any) -> int:
        """Memory that one labelling of a batch takes; `labels` is any one of them."""
        ...


class OfParts:
    """What fits of the parts of a design have in common.

    Args:
        classifier: the shallow classifier.
        metric: what to total.
        X: features, shape (n, d).
        n_classes: number of classes.
        parts: what to score, by view; all with the same rows to fit.
        examples: count per row how often its label is recovered.

    Attributes:
        n_rows: as in `Fit`.
        sources: by view of copies, the training row that each row was made from.
    """

    def __init__(
        self, classifier: Any, metric: Metric, X: Any, n_classes: int, parts: Mapping[Any, Part], *, examples: bool
    ) -> None:
        self.n_rows = {view: len(part.rows) for view, part in parts.items()}
        self.sources = {
            view: np.arange(len(X)) if part.source is None else part.source
            for view, part in parts.items()
            if part.own is None
        }
        self._classifier, self._metric, self._n_classes, self._examples = classifier, metric, n_classes, examples
        self._train = next(iter(parts.values())).train
        self._X = X if self._train is None else X[self._train]


class OfFolds:
    """What cross-validations with folds drawn anew from every labelling have in common; views are `(name, fold)`.

    Args:
        classifier, metric, X, n_classes: as in `PreparedFit`.
        name: first half of the views' names.
        folds: how to fold.
    """

    def __init__(self, classifier: Any, metric: Metric, X: Any, n_classes: int, name: Any, folds: KFold) -> None:
        self.n_rows = {(name, k): folds.size(k, len(X)) for k in range(folds.n_splits)}
        self._static = classifier, metric, folds, n_classes
        self._X = X


def measured(metric: Metric, classifier: Classifier, n_classes: int) -> Callable[[Array, Array], Any]:
    """The metric of one fit's scores, or of every setting's where the scores have an axis of those in front."""
    meaning = scores_for(metric, classifier, n_classes)

    def measure(scores: Any, labels: Integer[Array, " m"]) -> Any:
        if scores.shape[-2:] != (expected := (len(labels), n_classes)):
            raise ValueError(
                f"scores of {type(classifier).__name__} must have a row for each of the rows to score and a column for "
                f"each class, two of them for two classes, too: shape {expected}, but they have {scores.shape}."
            )
        if scores.ndim > 2:
            return jax.vmap(measure, (0, None))(scores, labels)
        return metric.partial(meaning(scores), labels)

    return measure


def deciding(classifier: Classifier, needs: str, state: Any) -> Callable[[Any, Any], Any]:
    """The scores `(size, ..., m, C)` of a batch of fits on some rows.

    No more than predictions, where no more is needed and the classifier knows them without scores.
    """
    if needs != "prediction" or not predicts(classifier):
        return jax.vmap(partial(classifier.decision, state), (0, None))
    each = jax.vmap(partial(classifier.predicted, state), (-1, None), -1)

    def predict(params: Any, rows: Any) -> Predicted:
        # The batch last: what is looked up for a row lies side by side for all fits.
        predicted = each(jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), params), rows)
        return jax.tree.map(lambda classes: classes.T, predicted)

    return predict


@jax.named_scope("score")
def scored(
    classifier: Classifier,
    metric: Metric,
    n_classes: int,
    decide: Callable[[Any, Any], Any],
    params: Any,
    rows: Any,
    targets: Mapping[str, Integer[Array, "size m"]],
    counted: Bool[Array, " size"] | None,
) -> tuple[dict[str, Any], Int[Array, " m"] | None]:
    """Score rows by a batch of fits.

    Args:
        decide: the scores of these fits on some rows.
        params: of the fits.
        rows: a pytree whose leaves have the rows in front.
        targets: the labels to score them with, by kind.
        counted: which fits count towards what is recovered; None: that is not asked for.

    Returns:
        The metric's totals by kind, and how many counted fits predicted a row's "paired" label.
    """

    def block(arrays: tuple[Any, dict[str, Array]]) -> tuple[dict[str, Any], Array | None]:
        rows, block_targets = arrays
        scores = decide(params, rows)
        total = measured(metric, classifier, n_classes)
        totals = {kind: jax.vmap(total, (0, 1))(scores, t) for kind, t in block_targets.items()}
        if counted is None:
            return totals, None
        if scores.ndim > 3:
            raise ValueError("example scores are those of one classifier: give one value per hyperparameter.")
        hits = jax.vmap(correct, (0, 1))(scores, block_targets["paired"])
        return totals, (hits & counted[:, None]).sum(axis=0, dtype=jnp.int32)

    # Rows first, so that a block of rows takes its labels along.
    turned = {kind: target.T for kind, target in targets.items()}
    return over_row_blocks(block, (rows, turned), BLOCK_ROWS if metric.additive else len(turned["paired"]))


def targets_by_kind(
    source: Any, own: Any, labels: Integer[Array, "size n"], others: Integer[Array, "size n"] | None
) -> dict[str, Integer[Array, "size m"]]:
    """The labels to score a view with, by kind."""
    if own is not None:
        return {"paired": jnp.broadcast_to(own[None, :], (len(labels), len(own)))}
    kinds = {"paired": labels} if others is None else {"paired": labels, "broken": others}
    return kinds if source is None else {kind: target[:, source] for kind, target in kinds.items()}


def worst(diagnostics: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """Of several fits of the same labelling: converged if all have, the largest of any number."""
    merged: dict[str, Array] = {}
    for one in diagnostics:
        for name, values in one.items():
            worse = jnp.minimum if values.dtype == bool else jnp.maximum
            merged[name] = worse(merged[name], values) if name in merged else values
    return merged
