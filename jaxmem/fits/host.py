"""Fits of a classifier that JAX knows nothing of: refitted on the host, one labelling after the other."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer

from jaxmem.classifiers.base import HostClassifier
from jaxmem.fits.base import OfFolds, OfParts, Totals, targets_by_kind
from jaxmem.metrics import Metric, correct, predictions
from jaxmem.validation import KFold, Part

__all__ = ["HostFit", "HostRefoldedFit"]


class HostFit(OfParts):
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
            targets = targets_by_kind(part.source, part.own, labels, others)
            totals[view] = {kind: _total(self._metric, stacked, target) for kind, target in targets.items()}
            if self._examples and part.own is None:
                recovered[view] = _recovered(stacked, targets["paired"], counted)[None]
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


class HostRefoldedFit(OfFolds):
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
