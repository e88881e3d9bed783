"""A fit whose rows are read a block at a time, anew for every batch of labellings: those to fit, to score, or both.

A batch takes two passes. The first adds up the class sums of the training rows, block by block, and one small system
for every labelling makes fits of them. The second scores the blocks of the rows to score, and adds up totals. Either is
left out where the rows are in memory: these are fitted and scored as ever.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int, Integer

from jaxmem.blocks import BLOCK_ROWS, over_row_blocks
from jaxmem.classifiers.base import Classifier, ClassSums, contrast_sums
from jaxmem.classifiers.moments import Moments, moments_of
from jaxmem.devices import on_all, shared_out
from jaxmem.fits.base import OfParts, Totals, scored, targets_by_kind
from jaxmem.fits.prepared import prepared
from jaxmem.metrics import Metric, predictions
from jaxmem.streaming import Features, RowBlocks
from jaxmem.validation import Part

__all__ = ["StreamedFit"]


class StreamedFit(OfParts):
    """Rows that are read a block at a time, and all the views that share the fit."""

    def __init__(
        self,
        classifier: Any,
        metric: Metric,
        X: Features,
        n_classes: int,
        parts: Mapping[Any, Part],
        *,
        examples: bool = False,
        mesh: Mesh | None = None,
    ) -> None:
        super().__init__(classifier, metric, X, n_classes, parts, examples=examples)
        self._parts, self._mesh = dict(parts), mesh
        self._blocks = X if isinstance(X, RowBlocks) else None
        if self._blocks is None:
            state = prepared(classifier, self._X, n_classes=n_classes)
        else:
            moments = moments_of(self._blocks, scatter=classifier.scatter)
            state = _condensed(classifier, moments.n, n_classes, moments[1:])
        del self._X
        self._state = on_all(state, mesh)

    def __call__(
        self,
        labels: Integer[Array, "size n"],
        others: Integer[Array, "size n"] | None,
        counted: Bool[np.ndarray, " size"],
    ) -> Totals:
        """Fit and score a batch of labellings."""
        params = self._fitted(labels, self._mesh)
        totals: dict[Any, dict[str, Any]] = {}
        recovered: dict[Any, Any] = {}
        for view, part in self._parts.items():
            counts = counted if self._examples and part.own is None else None
            sums: Any = None
            hits = []
            static = self._classifier, self._metric, self._blocks is not None, self._mesh
            for block in self._pass(part):
                new, of_rows = _scores(*static, (self._state, *block), (params, labels, others, counts))
                sums = _sum(sums, new)
                hits.append(of_rows)
            totals[view] = sums
            if counts is not None:
                recovered[view] = jnp.concatenate(hits, axis=1)
        diagnose = getattr(self._classifier, "diagnostics", None)
        return Totals(totals, recovered, jax.vmap(diagnose)(params) if diagnose else {})

    def predictions(self, labels: Integer[Array, "size n"]) -> dict[Any, Int[Array, "size m"]]:
        """Predicted classes of copies, by view."""
        params = self._fitted(labels, None)
        static = self._classifier, self._blocks is not None
        return {
            view: jnp.concatenate(
                [
                    jax.block_until_ready(_predictions(*static, self._state, params, rows))
                    for rows, _, _, _ in self._pass(self._parts[view])
                ],
                axis=1,
            )
            for view in self.sources
        }

    def bytes_per_labelling(self, labels: Integer[Array, " n"]) -> int:
        """From the shapes of what a labelling needs."""
        classifier, streamed, state = self._classifier, self._blocks is not None, self._state
        needs: list[Any] = []
        if self._blocks is None:
            params = jax.eval_shape(classifier.fit, state, labels)
            needs += [params] * getattr(classifier, "copies", 1)
        else:
            row = jax.ShapeDtypeStruct((1, self._blocks.shape[1]), self._blocks.dtype)
            summed = jax.eval_shape(classifier.summed, state, row)
            sums = jax.eval_shape(partial(contrast_sums, n_classes=self._n_classes), labels[:1], summed)
            params = jax.eval_shape(classifier.solve, state, *sums)
            needs += [sums, params]
        for part in self._parts.values():
            size = min(BLOCK_ROWS, len(part.rows)) if self._metric.additive else len(part.rows)
            block = jax.ShapeDtypeStruct((size, part.rows.shape[1]), part.rows.dtype)
            needs.append(jax.eval_shape(_decide(classifier, streamed, state), params, block))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(needs))

    def _fitted(self, labels: Integer[Array, "size n"], mesh: Mesh | None) -> Any:
        """The fits of a batch of labellings."""
        if self._blocks is None:
            return _fits(self._classifier, mesh, self._state, labels)
        sums, start = None, 0
        for block in self._blocks:
            whole = self._state, on_all(block, self._mesh), start
            sums = _sum(sums, _sums(self._classifier, self._n_classes, mesh, whole, labels))
            start += len(block)
        return _solved(self._classifier, mesh, self._state, sums)

    def _pass(self, part: Part) -> Iterator[tuple[Any, int, Any, Any]]:
        """Blocks of the rows to score: the rows, the number of the first, and their sources or labels, if any."""
        if not isinstance(part.rows, RowBlocks):
            source = None if part.source is None else jnp.asarray(part.source)
            yield on_all((part.rows, 0, source, part.own), self._mesh)
            return
        start = 0
        for block in part.rows:
            own, source = (
                None if of_all is None else of_all[start : start + len(block)] for of_all in (part.own, part.source)
            )
            yield on_all((block, start, source, own), self._mesh)
            start += len(block)


def _sum(total: Any, new: Any) -> Any:
    """Add what a block comes to, and wait for it, or blocks would be read faster than they are worked on."""
    return jax.block_until_ready(new if total is None else jax.tree.map(jnp.add, total, new))


@partial(jax.jit, static_argnums=(0, 1, 2))
@jax.named_scope("prepare")
def _condensed(classifier: ClassSums, n: int, n_classes: int, moments: tuple[Any, ...]) -> Any:
    return classifier.condense(Moments(n, *moments), n_classes)


@partial(jax.jit, static_argnums=(0, 1))
@jax.named_scope("fit")
def _fits(classifier: Classifier, mesh: Mesh | None, state: Any, labels: Integer[Array, "size n"]) -> Any:
    return shared_out(lambda state, labels: jax.vmap(partial(classifier.fit, state))(labels), mesh, state, labels)


@partial(jax.jit, static_argnums=(0, 1, 2))
@jax.named_scope("fit")
def _sums(
    classifier: ClassSums, n_classes: int, mesh: Mesh | None, whole: tuple[Any, ...], labels: Integer[Array, "size n"]
) -> tuple[Array, Array]:
    def sums(whole: tuple[Any, ...], labels: Integer[Array, "size n"]) -> tuple[Array, Array]:
        state, X, start = whole
        rows = classifier.summed(state, X)
        of_rows = jax.lax.dynamic_slice_in_dim(labels, start, len(X), axis=1)
        sums, counts = jax.vmap(lambda one: contrast_sums(one, rows, n_classes))(of_rows)
        # Integers, for over all blocks there may be more of them than a float in single precision can count.
        return sums, counts.astype(jnp.int32)

    return shared_out(sums, mesh, whole, labels)


@partial(jax.jit, static_argnums=(0, 1))
@jax.named_scope("fit")
def _solved(classifier: ClassSums, mesh: Mesh | None, state: Any, sums: tuple[Array, Array]) -> Any:
    def solve(state: Any, sums: tuple[Array, Array]) -> Any:
        by_class, counts = sums
        return jax.vmap(partial(classifier.solve, state))(by_class, counts.astype(by_class.dtype))

    return shared_out(solve, mesh, state, sums)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _scores(
    classifier: Any, metric: Metric, streamed: bool, mesh: Mesh | None, whole: tuple[Any, ...], split: tuple[Any, ...]
) -> tuple[dict[str, Any], Int[Array, "devices m"] | None]:
    def score(whole: tuple[Any, ...], split: tuple[Any, ...]) -> tuple[dict[str, Any], Array | None]:
        (state, X, start, source, own), (params, labels, others, counted) = whole, split
        if own is None and source is None:
            labels, others = jax.tree.map(
                lambda of_all: jax.lax.dynamic_slice_in_dim(of_all, start, len(X), axis=1), (labels, others)
            )
        targets = targets_by_kind(source, own, labels, others)
        decide = _decide(classifier, streamed, state)
        totals, recovered = scored(classifier, metric, decide, params, X, targets, counted)
        return totals, None if recovered is None else recovered[None]

    return shared_out(score, mesh, whole, split)


@partial(jax.jit, static_argnums=(0, 1))
def _predictions(classifier: Any, streamed: bool, state: Any, params: Any, X: Array) -> Int[Array, "size m"]:
    decide = _decide(classifier, streamed, state)

    def block(rows: Array) -> tuple[None, Int[Array, "b size"]]:
        return None, jax.vmap(predictions)(jax.vmap(decide, (0, None))(params, rows)).T

    return over_row_blocks(block, X)[1].T


def _decide(classifier: Any, streamed: bool, state: Any) -> Any:
    """The scores of one fit on rows as they come."""
    if streamed:
        return partial(classifier.score, state)
    return lambda params, X: classifier.decision(state, params, classifier.rows(state, X))
