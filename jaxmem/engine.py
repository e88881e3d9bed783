"""The permutation test: many permutations through one fit, in batches, on whatever device JAX has.

This room knows classifiers only by their protocol. A batch is one compiled program: draw the labels of permutations
`first .. first + size - 1`, fit them all, score every view of rows a block at a time, and return one number a
permutation. The observed labelling is permutation 0, so that its score comes out of the same kernel as the null.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer

from jaxmem.blocks import BLOCK_ROWS, over_row_blocks
from jaxmem.classifiers.base import Classifier
from jaxmem.inference import ALTERNATIVES, pvalue
from jaxmem.inputs import Labels, as_features, as_key, as_labels, one_of
from jaxmem.metrics import Metric, correct, metric_by_name
from jaxmem.permutations import Shuffles, shuffles
from jaxmem.results import PermutationTest
from jaxmem.validation import Holdout, SharedStructure

__all__ = ["Scores", "permutation_test", "score_permutations"]

# What one batch may hold, if the caller does not say: enough to keep a device busy, little beside its memory.
_BATCH_BYTES = 2**26
_LARGEST_BATCH = 1_024

# Where the key of the second, independent stream comes from: a number that no permutation has.
_SECOND = 2**32 - 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _View:
    """Rows to score: copies of training rows (`source`, None: in order), or rows with labels of their own."""

    rows: Any
    source: Int[Array, " m"] | None
    own: Integer[Array, " m"] | None


class Scores(NamedTuple):
    """How one view of rows was scored under permutations 0 .. B; the first entry is the observed one.

    Attributes:
        paired: scored with the labels of the rows' sources under the same permutation, or with the rows' own labels.
        broken: scored with an independent shuffle; None for rows with labels of their own.
        recovered: share of the permutations 1 .. B in which a row's label was predicted, shape (m,); None likewise.
    """

    paired: Float[np.ndarray, " B+1"]
    broken: Float[np.ndarray, " B+1"] | None
    recovered: Float[np.ndarray, " m"] | None


def permutation_test(
    classifier: Classifier,
    X: Any,
    y: Any,
    *,
    validation: SharedStructure | Holdout,
    metric: str | Metric = "accuracy",
    alternative: str = "greater",
    n_permutations: int = 9_999,
    key: Any = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> PermutationTest:
    """Test whether the labels have to do with the features, by refitting a shallow classifier on shuffled labels.

    Args:
        classifier: `jm.Ridge()`, `jm.KNeighbors()`, or anything of the form that `jaxmem.classifiers.base` describes.
        X: features of the training rows, shape (n, d).
        y: their labels, integers or strings, shape (n,).
        validation: which rows are scored and with whose labels.
        metric: "accuracy", or a `jaxmem.metrics.Metric`.
        alternative: "greater", "less" or "two-sided".
        n_permutations: B, how many shuffles; the smallest p-value is 1 / (B + 1).
        key: a seed or a JAX key. Permutation b depends on it and on b, on nothing else.
        batch_size: permutations at once; None: chosen from the shapes.
        progress: show a bar on a terminal if it takes more than a moment.

    Returns:
        The observed statistic, its p-value, and the whole null distribution.

    Raises:
        ValueError: on any input that cannot be tested as it is, before anything is computed.

    References: Ojala & Garriga (2010), Permutation tests for studying classifier performance; Phipson & Smyth (2010).
    """
    one_of(alternative, ALTERNATIVES, "alternative")
    metric = metric_by_name(metric)
    key = as_key(key)
    labels = as_labels(y)
    X = as_features(X)
    scores = score_permutations(
        classifier,
        X,
        labels,
        {"validation": validation},
        metric=metric,
        n_permutations=n_permutations,
        key=key,
        batch_size=batch_size,
        progress=progress,
    )["validation"].paired
    rounding = 0.0 if metric.counts else 100 * float(jnp.finfo(X.dtype).eps)
    return PermutationTest(
        classifier=repr(classifier),
        y=np.asarray(labels.codes),
        classes=labels.classes,
        key_data=np.asarray(jax.random.key_data(key)),
        statistic=float(scores[0]),
        pvalue=pvalue(float(scores[0]), scores[1:], alternative, rounding=rounding),
        null_distribution=scores[1:],
        alternative=alternative,
        metric=metric.name,
    )


def score_permutations(
    classifier: Classifier,
    X: Float[Array, "n d"],
    labels: Labels,
    validations: Mapping[Any, SharedStructure | Holdout],
    *,
    metric: Metric,
    n_permutations: int,
    key: Any,
    batch_size: int | None = None,
    progress: bool = True,
    broken: bool = False,
    examples: bool = False,
) -> dict[Any, Scores]:
    """Fit every permutation once and score it on every validation; see `permutation_test` for the arguments.

    Args:
        broken: also score copies of training rows with an independent second shuffle.
        examples: also count, for each such copy, how often its shuffled label is predicted.
    """
    if not isinstance(classifier, Classifier):
        raise ValueError(
            "classifier must have prepare, rows, fit and decision, as jm.Ridge() has, "
            f"but is a {type(classifier).__name__}."
        )
    n = X.shape[0]
    if len(labels.codes) != n:
        raise ValueError(f"X has {n} rows, but y has {len(labels.codes)} labels: give one label per row.")
    for name, number in {"n_permutations": n_permutations, "batch_size": batch_size}.items():
        if number is not None and not (isinstance(number, (int, np.integer)) and number >= 1):
            raise ValueError(f"{name} must be an integer >= 1, but is {number!r}.")
    checked = {name: _checked(validation, X, labels) for name, validation in validations.items()}

    state = _prepare(classifier, X, n_classes=len(labels.classes))
    views = {name: _View(_rows(classifier, state, rows), *rest) for name, (rows, *rest) in checked.items()}
    paired_stream, broken_stream = shuffles(key, n), shuffles(jax.random.fold_in(key, _SECOND), n)
    if batch_size is None:
        batch_size = _batch_size(classifier, state, views, labels.codes, n_permutations)

    batches = []
    recovered = None
    starts = range(0, n_permutations + 1, batch_size)
    for first in _progress(starts, batch_size, n_permutations + 1, progress):
        paired = _draw(paired_stream, labels.codes, first, size=batch_size)
        # The second shuffle of the observed labelling must not be the identity, so it is one index ahead.
        others = _draw(broken_stream, labels.codes, first + 1, size=batch_size) if broken else None
        # Which permutations count towards `recovered`: neither the observed one nor those past the last.
        counted = np.isin(np.arange(first, first + batch_size), range(1, n_permutations + 1))
        totals, counts = _batch(classifier, metric, state, views, paired, others, counted, examples=examples)
        batches.append(jax.device_get(totals))
        recovered = counts if recovered is None else jax.tree.map(jnp.add, recovered, counts)

    joined = jax.tree.map(lambda *parts: np.concatenate(parts)[: n_permutations + 1], *batches)
    results = {}
    for name, (rows, _, own) in checked.items():
        per_kind = {kind: np.asarray(metric.finish(total, len(rows)), float) for kind, total in joined[name].items()}
        shares = None
        if examples and own is None:
            shares = np.asarray(recovered[name], float) / n_permutations  # pyright: ignore[reportOptionalSubscript]
        results[name] = Scores(per_kind["paired"], per_kind.get("broken"), shares)
    return results


def _checked(
    validation: SharedStructure | Holdout, X: Float[Array, "n d"], labels: Labels
) -> tuple[Float[Array, "m d"], Int[Array, " m"] | None, Integer[Array, " m"] | None]:
    """Rows, source and own labels of one validation, checked against the training rows."""
    if not isinstance(validation, (SharedStructure, Holdout)):
        raise ValueError(
            "validation must be jm.SharedStructure(X_val) or jm.Holdout(X_val, y_val), "
            f"but is a {type(validation).__name__}."
        )
    X_val = as_features(validation.X_val, "X_val").astype(X.dtype)
    (n, d), m = X.shape, X_val.shape[0]
    if X_val.shape[1] != d:
        raise ValueError(f"X_val has {X_val.shape[1]} features, but X has {d}: extract both in the same way.")
    if isinstance(validation, Holdout):
        own = as_labels(validation.y_val, "y_val", labels.classes).codes
        if len(own) != m:
            raise ValueError(f"X_val has {m} rows, but y_val has {len(own)} labels: give one label per row.")
        return X_val, None, own
    if validation.source is None:
        if m != n:
            raise ValueError(
                f"X_val has {m} rows, but X has {n}: without `source` they must be the same rows in the same order. "
                "Pass source=, the training row that each row of X_val was made from."
            )
        return X_val, None, None
    source = np.asarray(validation.source)
    if source.shape != (m,) or source.dtype.kind not in "iu":
        raise ValueError(
            f"source must hold one row number of X for each of the {m} rows of X_val, "
            f"but has shape {source.shape} and dtype {source.dtype}."
        )
    if source.min() < 0 or source.max() >= n:
        raise ValueError(
            f"source must lie in 0 .. {n - 1}, the rows of X, but reaches from {source.min()} to {source.max()}."
        )
    return X_val, jnp.asarray(source, jnp.int32), None


@partial(jax.jit, static_argnums=0, static_argnames="n_classes")
def _prepare(classifier: Classifier, X: Array, n_classes: int) -> Any:
    return classifier.prepare(X, n_classes)


@partial(jax.jit, static_argnums=0)
def _rows(classifier: Classifier, state: Any, X_val: Array) -> Any:
    return classifier.rows(state, X_val)


@partial(jax.jit, static_argnames="size")
def _draw(stream: Shuffles, y: Integer[Array, " n"], first: Any, size: int) -> Integer[Array, "size n"]:
    """Labels of permutations `first .. first + size - 1`."""
    return jax.vmap(lambda index: stream.labels(y, index))(first + jnp.arange(size))


@partial(jax.jit, static_argnums=(0, 1), static_argnames="examples")
def _batch(
    classifier: Classifier,
    metric: Metric,
    state: Any,
    views: dict[Any, _View],
    labels: Integer[Array, "size n"],
    others: Integer[Array, "size n"] | None,
    counted: Bool[Array, " size"],
    *,
    examples: bool,
) -> tuple[dict[Any, dict[str, Any]], dict[Any, Int[Array, " m"] | None]]:
    """Totals of every labelling on every view; and per row, how many of the `counted` labellings were recovered.

    Args:
        labels: what to fit, and what copies of training rows are scored with ("paired").
        others: what those copies are scored with as well ("broken").
    """
    params = jax.vmap(lambda one: classifier.fit(state, one))(labels)

    def score(view: _View) -> tuple[dict[str, Any], Int[Array, " m"] | None]:
        if view.own is None:
            targets = {"paired": labels} if others is None else {"paired": labels, "broken": others}
            # Rows first, so that a block of rows takes its labels along.
            targets = {kind: (t if view.source is None else t[:, view.source]).T for kind, t in targets.items()}
        else:
            targets = {"paired": view.own[:, None].repeat(len(labels), axis=1)}

        def block(arrays: tuple[Any, dict[str, Array]]) -> tuple[dict[str, Any], Array | None]:
            rows, block_targets = arrays
            scores = jax.vmap(lambda one: classifier.decision(state, one, rows))(params)
            totals = {kind: jax.vmap(metric.partial, (0, 1))(scores, t) for kind, t in block_targets.items()}
            if not examples or view.own is not None:
                return totals, None
            hits = jax.vmap(correct, (0, 1))(scores, block_targets["paired"])
            return totals, (hits & counted[:, None]).sum(axis=0, dtype=jnp.int32)

        return over_row_blocks(block, (view.rows, targets))

    scored = {name: score(view) for name, view in views.items()}
    return {name: totals for name, (totals, _) in scored.items()}, {
        name: counts for name, (_, counts) in scored.items()
    }


def _batch_size(classifier: Classifier, state: Any, views: dict[Any, _View], y: Array, n_permutations: int) -> int:
    """As many permutations as `_BATCH_BYTES` hold, from the shapes of what one permutation needs."""
    params = jax.eval_shape(classifier.fit, state, y)
    needs = [
        8 * y.shape[0],
        params,
    ]  # Drawing labels moves a cell number of 4 bytes and a label or two per row.
    for view in views.values():
        block = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct((min(BLOCK_ROWS, a.shape[0]), *a.shape[1:]), a.dtype), view.rows
        )
        needs.append(jax.eval_shape(classifier.decision, state, params, block))
    one = sum(leaf if isinstance(leaf, int) else leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(needs))
    return int(np.clip(_BATCH_BYTES // one, 1, min(_LARGEST_BATCH, n_permutations + 1)))


def _progress(starts: range, batch_size: int, total: int, show: bool) -> Any:
    """Yield the batches' first indices, with a bar that counts permutations once a run takes longer than a moment."""
    if not show:
        yield from starts
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, unit="perm", delay=2, disable=None, leave=False) as bar:
        for first in starts:
            yield first
            bar.update(min(batch_size, total - first))
