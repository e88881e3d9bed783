"""Cross-validation whose folds follow the labels: every labelling has training rows of its own.

Features are prepared anew for every fold of every labelling, unless the classifier can take the rows of a fold out of
what it knows of all rows (`jaxmem.classifiers.base.Foldable`).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Integer

from jaxmem.classifiers.base import Classifier, Foldable
from jaxmem.devices import on_all, shared_out
from jaxmem.fits.base import OfFolds, Totals, measured, worst
from jaxmem.metrics import Metric
from jaxmem.validation import KFold

__all__ = ["RefoldedFit"]


class RefoldedFit(OfFolds):
    """Stratified cross-validation in which every labelling has training rows of its own."""

    def __init__(
        self,
        classifier: Classifier,
        metric: Metric,
        X: Float[Array, "n d"],
        n_classes: int,
        name: Any,
        folds: KFold,
        *,
        mesh: Mesh | None = None,
    ) -> None:
        super().__init__(classifier, metric, X, n_classes, name, folds)
        largest = max(self.n_rows.values())
        whole = classifier.foldable(X, n_classes, largest) if isinstance(classifier, Foldable) else None
        self._rows = on_all((X, whole), mesh)
        self._mesh = mesh

    def __call__(self, labels: Integer[Array, "size n"], others: None, counted: Bool[np.ndarray, " size"]) -> Totals:
        """Fold, prepare, fit and score under every labelling."""
        totals, diagnostics = _refolded(*self._static, self._mesh, self._rows, labels)
        return Totals(dict(zip(self.n_rows, totals, strict=True)), {}, diagnostics)

    def bytes_per_labelling(self, labels: Integer[Array, " n"]) -> int:
        """Nothing that grows with the batch: labellings run one after the other."""
        return 0


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _refolded(
    classifier: Classifier,
    metric: Metric,
    folds: KFold,
    n_classes: int,
    mesh: Mesh | None,
    features: tuple[Float[Array, "n d"], Any],
    labels: Integer[Array, "size n"],
) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    n = labels.shape[1]
    total = measured(metric, classifier, n_classes)
    diagnose = getattr(classifier, "diagnostics", lambda params: {})

    def one(features: tuple[Array, Any], labels: Integer[Array, " n"]) -> tuple[list[dict[str, Any]], dict[str, Array]]:
        X, whole = features
        fold, totals, diagnostics = folds.folds(labels, n_classes), [], []
        for k in range(folds.n_splits):
            size = folds.size(k, n)
            (inside,) = jnp.nonzero(fold == k, size=size)
            (outside,) = jnp.nonzero(fold != k, size=n - size)
            with jax.named_scope("prepare"):
                if whole is not None and isinstance(classifier, Foldable):
                    state, rows = classifier.fold(whole, inside, outside)
                else:
                    state = classifier.prepare(X[outside], n_classes)
                    rows = classifier.rows(state, X[inside])
            with jax.named_scope("fit"):
                params = classifier.fit(state, labels[outside])
            with jax.named_scope("score"):
                totals.append({"paired": total(classifier.decision(state, params, rows), labels[inside])})
            diagnostics.append(diagnose(params))
        return totals, worst(diagnostics)

    return shared_out(lambda whole, labels: jax.lax.map(partial(one, whole), labels), mesh, features, labels)
