"""A fit whose features are prepared once: a batch of labellings is one compiled program."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Integer

from jaxmem.blocks import BLOCK_ROWS, over_row_blocks
from jaxmem.classifiers.base import Classifier
from jaxmem.devices import on_all, shared_out
from jaxmem.fits.base import OfParts, Totals, deciding, scored, targets_by_kind
from jaxmem.metrics import Metric, predictions
from jaxmem.validation import Part

__all__ = ["PreparedFit", "prepared"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class View:
    """Rows to score: copies of training rows (`source`, None: in order), or rows with labels of their own."""

    rows: Any
    source: Int[Array, " m"] | None
    own: Integer[Array, " m"] | None


class PreparedFit(OfParts):
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
        mesh: Mesh | None = None,
    ) -> None:
        super().__init__(classifier, metric, X, n_classes, parts, examples=examples)
        self._mesh = mesh
        state = prepared(classifier, self._X, n_classes=n_classes)
        del self._X  # A copy, where only some rows are fitted; the state has what it needs of them.
        views = {
            view: View(
                _rows(classifier, state, part.rows),
                None if part.source is None else jnp.asarray(part.source),
                part.own,
            )
            for view, part in parts.items()
        }
        self._state, self._views = on_all((state, views), mesh)

    def __call__(
        self,
        labels: Integer[Array, "size n"],
        others: Integer[Array, "size n"] | None,
        counted: Bool[np.ndarray, " size"],
    ) -> Totals:
        """Fit and score a batch of labellings."""
        train = None if self._train is None else jnp.asarray(self._train)
        static = self._classifier, self._metric, self._n_classes, self._examples, self._mesh
        return _batch(*static, (self._state, self._views, train), (labels, others, counted))

    def predictions(self, labels: Integer[Array, "size n"]) -> dict[Any, Integer[Array, "size m"]]:
        """Predicted classes of copies, by view."""
        train = None if self._train is None else jnp.asarray(self._train)
        rows = {view: self._views[view].rows for view in self.sources}
        return _predictions(self._classifier, self._state, rows, train, labels)

    def bytes_per_labelling(self, labels: Integer[Array, " n"]) -> int:
        """From the shapes of what a labelling needs."""
        classifier, metric = self._classifier, self._metric
        views = [view.rows for view in self._views.values()]
        n_rows = [jax.tree.leaves(rows)[0].shape[0] for rows in views]
        sizes = tuple(min(BLOCK_ROWS, n) if metric.additive else n for n in n_rows)
        fitted = labels if self._train is None else labels[self._train]
        params, scores = _of_one.eval_shape(classifier, metric.needs, sizes, self._state, views, fitted)
        needs = [params] * getattr(classifier, "copies", 1) + scores
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(needs))


@partial(jax.jit, static_argnums=0, static_argnames="n_classes")
@jax.named_scope("prepare")
def prepared(classifier: Classifier, X: Array, n_classes: int) -> Any:
    """Do all that needs no labels."""
    return classifier.prepare(X, n_classes)


@partial(jax.jit, static_argnums=0)
@jax.named_scope("prepare")
def _rows(classifier: Classifier, state: Any, X_val: Array) -> Any:
    return classifier.rows(state, X_val)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _of_one(
    classifier: Classifier, needs: str, sizes: tuple[int, ...], state: Any, views: list[Any], labels: Array
) -> tuple[Any, list[Any]]:
    """One fit, and its scores of so many rows of every view: for the shapes alone, which `jit` remembers."""
    params = jax.vmap(partial(classifier.fit, state))(labels[None])
    blocks = [jax.tree.map(lambda a, k=size: a[:k], rows) for size, rows in zip(sizes, views, strict=True)]
    return params, [deciding(classifier, needs, state)(params, rows) for rows in blocks]


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _batch(
    classifier: Classifier, metric: Metric, n_classes: int, examples: bool, mesh: Mesh | None, whole: Any, split: Any
) -> Totals:
    return shared_out(partial(_totals, classifier, metric, n_classes, examples), mesh, whole, split)


def _totals(
    classifier: Classifier,
    metric: Metric,
    n_classes: int,
    examples: bool,
    whole: tuple[Any, dict[Any, View], Int[Array, " k"] | None],
    split: tuple[Integer[Array, "size n"], Integer[Array, "size n"] | None, Bool[Array, " size"]],
) -> Totals:
    (state, views, train), (labels, others, counted) = whole, split
    with jax.named_scope("fit"):
        params = jax.vmap(partial(classifier.fit, state))(labels if train is None else labels[:, train])

    def score(view: View) -> tuple[dict[str, Any], Int[Array, " m"] | None]:
        targets = targets_by_kind(view.source, view.own, labels, others)
        decide = deciding(classifier, metric.needs, state)
        counts = counted if examples and view.own is None else None
        return scored(classifier, metric, n_classes, decide, params, view.rows, targets, counts)

    by_view = {name: score(view) for name, view in views.items()}
    diagnose = getattr(classifier, "diagnostics", None)
    return Totals(
        {name: totals for name, (totals, _) in by_view.items()},
        {name: recovered[None] for name, (_, recovered) in by_view.items() if recovered is not None},
        jax.vmap(diagnose)(params) if diagnose else {},
    )


@partial(jax.jit, static_argnums=0)
def _predictions(
    classifier: Classifier,
    state: Any,
    views: dict[Any, Any],
    train: Int[Array, " k"] | None,
    labels: Integer[Array, "size n"],
) -> dict[Any, Integer[Array, "size m"]]:
    params = jax.vmap(partial(classifier.fit, state))(labels if train is None else labels[:, train])

    def block(rows: Any) -> tuple[None, Integer[Array, "b size"]]:
        return None, jax.vmap(predictions)(deciding(classifier, "prediction", state)(params, rows)).T

    return {view: over_row_blocks(block, rows)[1].T for view, rows in views.items()}
