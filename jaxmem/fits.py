"""One fit of the features under many labellings: a batch of labels in, totals of a metric out.

All kinds are alike from outside: `fit(labels, others, counted) -> Totals`.

* `PreparedFit`: the features are prepared once; a batch of labellings is one compiled program that fits them all and
  scores every view of rows a block at a time.
* `RefoldedFit`: cross-validation whose folds follow the labels, so that every labelling prepares features of its own.
* `HostFit` and `HostRefoldedFit`: a classifier that JAX knows nothing of, refitted on the host; its scores are
totalled here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer

from jaxmem.blocks import BLOCK_ROWS, over_row_blocks
from jaxmem.classifiers.base import Classifier, HostClassifier
from jaxmem.metrics import Metric, correct, predictions, scores_for
from jaxmem.validation import KFold, Part

__all__ = ["Fit", "HostFit", "HostRefoldedFit", "PreparedFit", "RefoldedFit", "Totals", "worst"]


class Totals(NamedTuple):
    """What a batch of labellings adds up to.

    Attributes:
        metric: by view, by kind of labels ("paired", "broken"), the metric's totals; every leaf has the batch in front.
        recovered: by view, how many of the counted labellings predicted a row's label; shape (m,), where asked.
        diagnostics: by name, what the classifier says of each of its fits, shape (batch,).
    """

    metric: dict[Any, dict[str, Any]]
    recovered: dict[Any, Int[Array, " m"]]
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


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class View:
    """Rows to score: copies of training rows (`source`, None: in order), or rows with labels of their own."""

    rows: Any
    source: Int[Array, " m"] | None
    own: Integer[Array, " m"] | None


class _OfParts:
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


class PreparedFit(_OfParts):
    """The features prepared once, and all the views that share the fit."""

    def __init__(
        self,
        classifier: Classifier,
        metric: Metric,
        X: Float[Array, "n d"],
        n_classes: int,
        parts: Mapping[Any, Part],
        *,
        examples: bool = False,
    ) -> None:
        super().__init__(classifier, metric, X, n_classes, parts, examples=examples)
        self._state = _prepare(classifier, self._X, n_classes=n_classes)
        del self._X  # A copy, where only some rows are fitted; the state has what it needs of them.
        self._views = {
            view: View(
                _rows(classifier, self._state, part.rows),
                None if part.source is None else jnp.asarray(part.source),
                part.own,
            )
            for view, part in parts.items()
        }

    def __call__(
        self,
        labels: Integer[Array, "size n"],
        others: Integer[Array, "size n"] | None,
        counted: Bool[np.ndarray, " size"],
    ) -> Totals:
        """Fit and score a batch of labellings."""
        train = None if self._train is None else jnp.asarray(self._train)
        static = self._classifier, self._metric
        return _batch(*static, self._state, self._views, train, labels, others, counted, examples=self._examples)

    def predictions(self, labels: Integer[Array, "size n"]) -> dict[Any, Int[Array, "size m"]]:
        """Predicted classes of copies, by view."""
        train = None if self._train is None else jnp.asarray(self._train)
        rows = {view: self._views[view].rows for view in self.sources}
        return _predictions(self._classifier, self._state, rows, train, labels)

    def bytes_per_labelling(self, labels: Integer[Array, " n"]) -> int:
        """From the shapes of what a labelling needs."""
        classifier, metric = self._classifier, self._metric
        fitted = labels if self._train is None else labels[self._train]
        params = jax.eval_shape(classifier.fit, self._state, fitted)
        needs: list[Any] = [params] * getattr(classifier, "copies", 1)
        for view in self._views.values():
            n_rows = jax.tree.leaves(view.rows)[0].shape[0]
            size = min(BLOCK_ROWS, n_rows) if metric.additive else n_rows
            block = jax.tree.map(lambda a, k=size: jax.ShapeDtypeStruct((k, *a.shape[1:]), a.dtype), view.rows)
            needs.append(jax.eval_shape(classifier.decision, self._state, params, block))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(needs))


@partial(jax.jit, static_argnums=0, static_argnames="n_classes")
def _prepare(classifier: Classifier, X: Array, n_classes: int) -> Any:
    return classifier.prepare(X, n_classes)


@partial(jax.jit, static_argnums=0)
def _rows(classifier: Classifier, state: Any, X_val: Array) -> Any:
    return classifier.rows(state, X_val)


@partial(jax.jit, static_argnums=(0, 1), static_argnames="examples")
def _batch(
    classifier: Classifier,
    metric: Metric,
    state: Any,
    views: dict[Any, View],
    train: Int[Array, " k"] | None,
    labels: Integer[Array, "size n"],
    others: Integer[Array, "size n"] | None,
    counted: Bool[Array, " size"],
    *,
    examples: bool,
) -> Totals:
    params = jax.vmap(partial(classifier.fit, state))(labels if train is None else labels[:, train])

    def score(view: View) -> tuple[dict[str, Any], Int[Array, " m"] | None]:
        # Rows first, so that a block of rows takes its labels along.
        targets = {kind: target.T for kind, target in _targets(view.source, view.own, labels, others).items()}
        n_rows = len(targets["paired"])

        def block(arrays: tuple[Any, dict[str, Array]]) -> tuple[dict[str, Any], Array | None]:
            rows, block_targets = arrays
            scores = jax.vmap(lambda one: classifier.decision(state, one, rows))(params)
            total = _measured(metric, classifier, scores.shape[-1])
            totals = {kind: jax.vmap(total, (0, 1))(scores, t) for kind, t in block_targets.items()}
            if not examples or view.own is not None:
                return totals, None
            if scores.ndim > 3:
                raise ValueError("example scores are those of one classifier: give one value per hyperparameter.")
            hits = jax.vmap(correct, (0, 1))(scores, block_targets["paired"])
            return totals, (hits & counted[:, None]).sum(axis=0, dtype=jnp.int32)

        return over_row_blocks(block, (view.rows, targets), BLOCK_ROWS if metric.additive else n_rows)

    scored = {name: score(view) for name, view in views.items()}
    diagnose = getattr(classifier, "diagnostics", None)
    return Totals(
        {name: totals for name, (totals, _) in scored.items()},
        {name: recovered for name, (_, recovered) in scored.items() if recovered is not None},
        jax.vmap(diagnose)(params) if diagnose else {},
    )


@partial(jax.jit, static_argnums=0)
def _predictions(
    classifier: Classifier,
    state: Any,
    views: dict[Any, Any],
    train: Int[Array, " k"] | None,
    labels: Integer[Array, "size n"],
) -> dict[Any, Int[Array, "size m"]]:
    params = jax.vmap(partial(classifier.fit, state))(labels if train is None else labels[:, train])

    def block(rows: Any) -> tuple[None, Int[Array, "b size"]]:
        scores = jax.vmap(lambda one: classifier.decision(state, one, rows))(params)
        return None, jax.vmap(predictions)(scores).T

    return {view: over_row_blocks(block, rows)[1].T for view, rows in views.items()}


def _measured(metric: Metric, classifier: Classifier, n_classes: int) -> Callable[[Array, Array], Any]:
    """The metric of one fit's scores, or of every setting's where the scores have an axis of those in front."""
    meaning = scores_for(metric, classifier, n_classes)

    def measure(scores: Float[Array, "... m C"], labels: Integer[Array, " m"]) -> Any:
        if scores.ndim > 2:
            return jax.vmap(measure, (0, None))(scores, labels)
        return metric.partial(meaning(scores), labels)

    return measure


def _targets(
    source: Any, own: Any, labels: Integer[Array, "size n"], others: Integer[Array, "size n"] | None
) -> dict[str, Integer[Array, "size m"]]:
    """The labels to score a view with, by kind."""
    if own is not None:
        return {"paired": jnp.broadcast_to(own[None, :], (len(labels), len(own)))}
    kinds = {"paired": labels} if others is None else {"paired": labels, "broken": others}
    return kinds if source is None else {kind: target[:, source] for kind, target in kinds.items()}


class _OfFolds:
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


class RefoldedFit(_OfFolds):
    """Stratified cross-validation in which every labelling prepares features of its own."""

    def __call__(self, labels: Integer[Array, "size n"], others: None, counted: Bool[np.ndarray, " size"]) -> Totals:
        """Fold, prepare, fit and score under every labelling."""
        totals, diagnostics = _refolded(*self._static, self._X, labels)
        return Totals(dict(zip(self.n_rows, totals, strict=True)), {}, diagnostics)

    def bytes_per_labelling(self, labels: Integer[Array, " n"]) -> int:
        """Nothing that grows with the batch: labellings run one after the other."""
        return 0


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _refolded(
    classifier: Classifier, metric: Metric, folds: KFold, n_classes: int, X: Array, labels: Integer[Array, "size n"]
) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    n = X.shape[0]
    total = _measured(metric, classifier, n_classes)
    diagnose = getattr(classifier, "diagnostics", lambda params: {})

    def one(labels: Integer[Array, " n"]) -> tuple[list[dict[str, Any]], dict[str, Array]]:
        fold, totals, diagnostics = folds.folds(labels, n_classes), [], []
        for k in range(folds.n_splits):
            size = folds.size(k, n)
            (inside,) = jnp.nonzero(fold == k, size=size)
            (outside,) = jnp.nonzero(fold != k, size=n - size)
            state = classifier.prepare(X[outside], n_classes)
            params = classifier.fit(state, labels[outside])
            scores = classifier.decision(state, params, classifier.rows(state, X[inside]))
            totals.append({"paired": total(scores, labels[inside])})
            diagnostics.append(diagnose(params))
        return totals, worst(diagnostics)

    return jax.lax.map(one, labels)


def worst(diagnostics: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """Of several fits of the same labelling: converged if all have, the largest of any number."""
    merged: dict[str, Array] = {}
    for one in diagnostics:
        for name, values in one.items():
            worse = jnp.minimum if values.dtype == bool else jnp.maximum
            merged[name] = worse(merged[name], values) if name in merged else values
    return merged


class HostFit(_OfParts):
    """A classifier refitted on the host, one labelling after the other; its scores are totalled like any others."""

    def __init__(
        self,
        classifier: HostClassifier,
        metric: Metric,
        X: Float[Array, "n d"],
        n_classes: int,
        parts: Mapping[Any, Part],
        *,
        examples: bool = False,
    ) -> None:
        super().__init__(classifier, metric, np.asarray(X), n_classes, parts, examples=examples)
        self._parts = dict(parts)
        self._rows = [np.asarray(part.rows) for part in parts.values()]

    def __call__(
        self,
        labels: Integer[Array, "size n"],
        others: Integer[Array, "size n"] | None,
        counted: Bool[np.ndarray, " size"],
    ) -> Totals:
        """Refit and score a batch of labellings."""
        train = slice(None) if self._train is None else self._train
        fits = [(self._X, one[train], self._rows) for one in np.asarray(labels)]
        scores = self._classifier.refit(fits, self._n_classes, self._metric.needs)
        totals, recovered = {}, {}
        for number, (view, part) in enumerate(self._parts.items()):
            stacked = jnp.stack([views[number] for views in scores])
            targets = _targets(part.source, part.own, labels, others)
            totals[view] = {kind: _total(self._metric, stacked, target) for kind, target in targets.items()}
            if self._examples and part.own is None:
                recovered[view] = _recovered(stacked, targets["paired"], counted)
        return Totals(totals, recovered, {})

    def predictions(self, labels: Integer[Array, "size n"]) -> dict[Any, Int[Array, "size m"]]:
        """Predicted classes of copies, by view."""
        train = slice(None) if self._train is None else self._train
        rows = [np.asarray(self._parts[view].rows) for view in self.sources]
        fits = [(self._X, one[train], rows) for one in np.asarray(labels)]
        scores = self._classifier.refit(fits, self._n_classes, "prediction")
        return {
            view: jnp.stack([predictions(jnp.asarray(views[number])) for views in scores])
            for number, view in enumerate(self.sources)
        }

    def bytes_per_labelling(self, labels: Integer[Array, " n"]) -> int:
        """Its scores, on the host and on the device."""
        return 2 * sum(len(rows) for rows in self._rows) * self._n_classes * self._X.itemsize


class HostRefoldedFit(_OfFolds):
    """`RefoldedFit` for a classifier refitted on the host."""

    def __call__(self, labels: Integer[Array, "size n"], others: None, counted: Bool[np.ndarray, " size"]) -> Totals:
        """Fold, refit and score under every labelling."""
        classifier, metric, folds, n_classes = self._static
        X = np.asarray(self._X)
        codes, fold = np.asarray(labels), np.asarray(_all_folds(folds, n_classes, labels))
        fits = [
            (X[fold[b] != k], one[fold[b] != k], [X[fold[b] == k]])
            for b, one in enumerate(codes)
            for k in range(folds.n_splits)
        ]
        scores = classifier.refit(fits, n_classes, metric.needs)
        totals = {}
        for k, view in enumerate(self.n_rows):
            stacked = jnp.stack([rows for (rows,) in scores[k :: folds.n_splits]])
            targets = jnp.stack([one[fold[b] == k] for b, one in enumerate(codes)])
            totals[view] = {"paired": _total(metric, stacked, targets)}
        return Totals(totals, {}, {})

    def bytes_per_labelling(self, labels: Integer[Array, " n"]) -> int:
        """Every fold's training rows."""
        return self._X.nbytes * len(self.n_rows)


@partial(jax.jit, static_argnums=0)
def _total(metric: Metric, scores: Float[Array, "size m C"], targets: Integer[Array, "size m"]) -> Any:
    return jax.vmap(metric.partial)(scores, targets)


@jax.jit
def _recovered(
    scores: Float[Array, "size m C"], targets: Integer[Array, "size m"], counted: Bool[Array, " size"]
) -> Int[Array, " m"]:
    return (jax.vmap(correct)(scores, targets) & counted[:, None]).sum(axis=0, dtype=jnp.int32)


@partial(jax.jit, static_argnums=(0, 1))
def _all_folds(folds: KFold, n_classes: int, labels: Integer[Array, "size n"]) -> Int[Array, "size n"]:
    return jax.lax.map(lambda one: folds.folds(one, n_classes), labels)
