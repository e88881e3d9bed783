"""A fit whose rows come by blocks: read anew for every batch of labellings, or shared out among devices.

A batch takes two passes. The first adds up the class sums of the training rows, block by block, and one small system
for every labelling makes fits of them. The second scores the blocks of the rows to score, and adds up totals. Either is
left out where the rows are in memory: these are fitted and scored as ever.

Of rows that devices share out, the part of each is a block, all of which are worked on at the same time.
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
from jaxmem.devices import Block, n_devices, on_all, over_rows, shared_out
from jaxmem.fits.base import OfParts, Totals, scored, targets_by_kind
from jaxmem.fits.prepared import prepared
from jaxmem.metrics import Metric, predictions
from jaxmem.sharding import ShardedRows
from jaxmem.streaming import Features, RowBlocks
from jaxmem.validation import Part

__all__ = ["BlockwiseFit"]


class BlockwiseFit(OfParts):
    """Rows that come by blocks, and all the views that share the fit.

    Attributes:
        streamed: whether some are read anew for every batch.
    """

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
        self.streamed = any(isinstance(rows, RowBlocks) for rows in (X, *(part.rows for part in parts.values())))
        self._blocks = X if isinstance(X, RowBlocks | ShardedRows) else None
        if self._blocks is None:
            state = prepared(classifier, self._X, n_classes=n_classes)
        else:
            moments = moments_of(self._blocks, scatter=classifier.scatter)
            state = _condensed(classifier, moments.n, n_classes, moments[1:])
        del self._X
        labels = {view: (part.source, part.own) for view, part in self._parts.items()}
        self._state, self._labels = on_all((state, labels), mesh)

    def __call__(
        self,
        labels: Integer[Array, "size n"],
        others: Integer[Array, "size n"] | None,
        counted: Bool[np.ndarray, " size"],
    ) -> Totals:
        """Fit and score a batch of labellings."""
        params = self._fitted(labels)
        totals: dict[Any, dict[str, Any]] = {}
        recovered: dict[Any, Any] = {}
        static = self._classifier, self._metric, self._n_classes, self._blocks is not None, self._mesh
        for view, part in self._parts.items():
            counts = counted if self._examples and part.own is None else None
            sums: Any = None
            hits = []
            for block in self._pass(part.rows):
                whole = self._state, *self._labels[view]
                new, of_rows = _scores(*static, block, whole, (params, labels, others, counts))
                sums = self._sum(sums, new)
                hits.append(of_rows)
            totals[view] = sums
            if counts is not None:
                recovered[view] = jnp.concatenate(hits, axis=1)
        diagnose = getattr(self._classifier, "diagnostics", None)
        return Totals(totals, recovered, jax.vmap(diagnose)(params) if diagnose else {})

    def predictions(self, labels: Integer[Array, "size n"]) -> dict[Any, Integer[Array, "size m"]]:
        """Predicted classes of copies, by view."""
        size = len(labels)
        labels = jnp.pad(labels, ((0, -size % n_devices(self._mesh)), (0, 0)), mode="edge")
        params = self._fitted(labels)
        static = self._classifier, self._blocks is not None, self._mesh
        return {
            view: jnp.concatenate(
                [
                    self._awaited(_predictions(*static, block, self._state, params))
                    for block in self._pass(self._parts[view].rows)
                ],
                axis=1,
            )[:size]
            for view in self.sources
        }

    def bytes_per_labelling(self, labels: Integer[Array, " n"]) -> int:
        """From the shapes of what a labelling needs."""
        classifier, by_blocks, state = self._classifier, self._blocks is not None, self._state
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
            needs.append(jax.eval_shape(_decide(classifier, by_blocks, state), params, block))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(needs))

    def _fitted(self, labels: Integer[Array, "size n"]) -> Any:
        """The fits of a batch of labellings."""
        if self._blocks is None:
            return _fits(self._classifier, self._mesh, self._state, labels)
        sums = None
        for block in self._pass(self._blocks):
            sums = self._sum(sums, _sums(self._classifier, self._n_classes, self._mesh, block, self._state, labels))
        return _solved(self._classifier, self._mesh, self._state, sums)

    def _pass(self, rows: Features) -> Iterator[Block]:
        """All rows, block by block."""
        if isinstance(rows, ShardedRows):
            yield from rows.blocks
            return
        start = 0
        for block in rows if isinstance(rows, RowBlocks) else [rows]:
            yield Block(on_all(block, self._mesh), start)
            start += len(block)

    def _sum(self, total: Any, new: Any) -> Any:
        """Add what a block comes to."""
        return self._awaited(new if total is None else jax.tree.map(jnp.add, total, new))

    def _awaited(self, arrays: Any) -> Any:
        """What a block comes to, once it is there where blocks are read: faster, else, than they are worked on."""
        return jax.block_until_ready(arrays) if self.streamed else arrays


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
    classifier: ClassSums, n_classes: int, mesh: Mesh | None, block: Block, state: Any, labels: Integer[Array, "size n"]
) -> tuple[Array, Array]:
    def sums(X: Array, start: Any, state: Any, labels: Integer[Array, "size n"]) -> tuple[tuple[Array, Array], None]:
        rows = classifier.summed(state, X)
        of_rows = _cut(labels, start, len(X))
        sums, counts = jax.vmap(lambda one: contrast_sums(one, rows, n_classes))(of_rows)
        # Integers, for over all blocks there may be more of them than a float in single precision can count.
        return (sums, counts.astype(jnp.int32)), None

    return over_rows(sums, mesh, block, state, labels)[0]


@partial(jax.jit, static_argnums=(0, 1))
@jax.named_scope("fit")
def _solved(classifier: ClassSums, mesh: Mesh | None, state: Any, sums: tuple[Array, Array]) -> Any:
    def solve(state: Any, sums: tuple[Array, Array]) -> Any:
        by_class, counts = sums
        return jax.vmap(partial(classifier.solve, state))(by_class, counts.astype(by_class.dtype))

    return shared_out(solve, mesh, state, sums)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _scores(
    classifier: Any,
    metric: Metric,
    n_classes: int,
    by_blocks: bool,
    mesh: Mesh | None,
    block: Block,
    whole: tuple[Any, Any, Any],
    split: tuple[Any, Any, Any, Any],
) -> tuple[dict[str, Any], Int[Array, "parts m"] | None]:
    def score(
        X: Array, start: Any, whole: tuple[Any, Any, Any], split: tuple[Any, Any, Any, Any]
    ) -> tuple[dict[str, Any], Array | None]:
        (state, source, own), (params, labels, others, counted) = whole, split
        own, source = jax.tree.map(lambda of_all: _cut(of_all, start, len(X)), (own, source))
        if own is None and source is None:
            labels, others = jax.tree.map(lambda of_all: _cut(of_all, start, len(X)), (labels, others))
        targets = targets_by_kind(source, own, labels, others)
        decide = jax.vmap(_decide(classifier, by_blocks, state), (0, None))
        totals, recovered = scored(classifier, metric, n_classes, decide, params, X, targets, counted)
        return totals, None if recovered is None else recovered[None]

    return over_rows(score, mesh, block, whole, split)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _predictions(
    classifier: Any, by_blocks: bool, mesh: Mesh | None, block: Block, state: Any, params: Any
) -> Int[Array, "size m"]:
    def predict(X: Array, start: Any, state: Any, params: Any) -> tuple[None, Int[Array, "part k"]]:
        decide = _decide(classifier, by_blocks, state)

        def few(rows: Array) -> tuple[None, Int[Array, "b part"]]:
            return None, jax.vmap(predictions)(jax.vmap(decide, (0, None))(params, rows)).T

        return None, over_row_blocks(few, X)[1].T

    return over_rows(predict, mesh, block, state, params)[1]


def _cut(of_all: Array, start: Any, size: int) -> Array:
    """What is of some rows, in the last axis, from what is of all."""
    return jax.lax.dynamic_slice_in_dim(of_all, start, size, axis=-1)


def _decide(classifier: Any, by_blocks: bool, state: Any) -> Any:
    """The scores of one fit on rows as they come."""
    if by_blocks:
        return partial(classifier.score, state)
    return lambda params, X: classifier.decision(state, params, classifier.rows(state, X))
