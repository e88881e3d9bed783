"""Metrics of how classes rank the rows: ROC AUC and average precision, from one sort per class.

For class `a`, order the rows by their score for `a`, the largest first, and within ties the rows of `a` first. Going
down that order, two running counts are all that is needed: at every row,

    upto   = rows of `a` down to this one,
    before = rows of `a` with a larger score (`upto` just before the row's ties began).

A row of another class has `before` rows of `a` above it and `upto - before` in its ties. Ties count half, so with the
sums over the rows of class `b`

    W_ab = Σ_{j in b} (before_j + upto_j),   AUC_ab = W_ab / (2 n_a n_b):

the Mann-Whitney statistic for every `b` out of one sort and two scans, `O(m log m + m C)` per class, where ranking the
rows of each pair of classes takes `C - 1` sorts. `W` is an integer and is divided on the host: AUCs are exact. One
against the rest takes the same sum over all rows that are not of `a`. Where ties end, `upto` over the number of rows so
far is the precision, and `upto - before` the gain in recall:

    AP_a = Σ_ends (upto - before) / n_a · upto / (position + 1).

Two classes are one problem: class 1, ranked by the difference between the two scores.

Sorting dominates, and on CPU XLA sorts one array of integers many times faster than one with a second beside it: 3 ms
against 27 for 60,000 rows. So the bits of a single-precision score, in an order-preserving form, and the label make one
64-bit integer.

References: Mann & Whitney (1947); Hand & Till (2001), A simple generalisation of the area under the ROC curve for
multiple classes; scikit-learn's `roc_auc_score` and `average_precision_score`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer

from jaxmem.metrics.base import Metric, indicators

__all__ = ["average_precision", "roc_auc", "roc_auc_ovo", "roc_auc_ovr"]


class _Ranking(NamedTuple):
    """Rows in descending order of the score for one class."""

    classes: Int[Array, " m"]  # 0 for the rows of the class, otherwise the label + 1.
    upto: Int[Array, " m"]
    before: Int[Array, " m"]
    ends: Bool[Array, " m"]  # Whether the row is the last of its ties.


def _ranking(scores: Float[Array, " m"], labels: Integer[Array, " m"], own: Int[Array, ""] | int) -> _Ranking:
    keys, classes = _sorted(_descending(scores), jnp.where(labels == own, 0, labels.astype(jnp.int32) + 1))
    changes = keys[1:] != keys[:-1]
    hits = (classes == 0).astype(jnp.int32)
    upto = jax.lax.cumsum(hits)
    before = jax.lax.cummax(jnp.where(jnp.pad(changes, (1, 0), constant_values=True), upto - hits, 0))
    return _Ranking(classes, upto, before, jnp.pad(changes, (0, 1), constant_values=True))


def _descending(scores: Float[Array, " m"]) -> Int[Array, " m"]:
    """Signed integers of the same width, equal where scores are, in the opposite order."""
    ascending = jnp.where(scores == 0, 0, -scores)  # There is one zero.
    integer = jnp.int32 if scores.dtype == jnp.float32 else jnp.int64
    bits = jax.lax.bitcast_convert_type(ascending, integer)
    # The bits of positive floats are ordered as they are; those of negative ones, but for the sign, backwards.
    return bits ^ ((bits >> (jnp.iinfo(integer).bits - 1)) & jnp.iinfo(integer).max)


def _sorted(keys: Int[Array, " m"], classes: Int[Array, " m"]) -> tuple[Int[Array, " m"], Int[Array, " m"]]:
    """Sort by keys, then by classes."""
    if keys.dtype == jnp.int64:
        keys, classes = jax.lax.sort((keys, classes), num_keys=2, is_stable=False)
        return keys, classes
    with jax.enable_x64(True):  # In here alone; what comes out has 32 bits again.
        both = (keys.astype(jnp.int64) << 32) | classes.astype(jnp.int64)
        both = jax.lax.sort(both, is_stable=False)
        return (both >> 32).astype(jnp.int32), (both & 0xFFFFFFFF).astype(jnp.int32)


def _per_class(
    function: Callable[[Array, Any], Any], scores: Float[Array, "m C"], labels: Integer[Array, " m"]
) -> tuple[Any, Int[Array, " problems"]]:
    """`function(scores for a class, class)` for every class, or for class 1 of two; and the sizes of those classes."""
    n_classes = scores.shape[1]
    sizes = indicators(labels, n_classes).sum(axis=0, dtype=jnp.int32)
    if n_classes == 2:
        one = function(scores[:, 1] - scores[:, 0], 1)
        return jax.tree.map(lambda leaf: leaf[None], one), sizes[1:]
    # One class after the other: sorting keeps several arrays of the size of a column, and a batch has many columns.
    return jax.lax.map(lambda column: function(*column), (scores.T, jnp.arange(n_classes, dtype=jnp.int32))), sizes


class _Wins(NamedTuple):
    """Comparisons won, doubled, in halves `high * 2**31 + low`; and how many rows are compared with how many."""

    high: Int[Array, "... problems"]
    low: Int[Array, "... problems"]
    own: Int[Array, "... problems"]
    others: Int[Array, "... problems"]


# So many rows at once, and so many bits of a count: the sum stays within the 24 bits that a float32 holds exactly.
_ROWS, _BITS = 4_096, 11


def _sums_in_halves(
    counts: Int[Array, " m"], groups: Int[Array, " m"], n_groups: int
) -> tuple[Int[Array, " n_groups"], Int[Array, " n_groups"]]:
    """Sums of counts, each at most `2 m`, over the rows of the groups `1 .. n_groups`."""
    # A matrix product of exact integers. Masked 64-bit sums take 7 times longer, and XLA would redo the scans in each.
    shifts = range(0, (2 * len(counts)).bit_length(), _BITS)
    counts, groups = (jnp.pad(a, (0, -len(a) % _ROWS)).reshape(-1, 1, _ROWS) for a in (counts, groups))
    wanted = jnp.arange(1, n_groups + 1, dtype=jnp.int32)[None, :, None]
    digits = jnp.concatenate([(counts >> shift) & (2**_BITS - 1) for shift in shifts], axis=1)
    sums = jnp.einsum(
        "bgr,bdr->gdb", (groups == wanted).astype(jnp.float32), digits.astype(jnp.float32), precision="highest"
    )
    with jax.enable_x64(True):
        total = (sums.astype(jnp.int64).sum(axis=2) << jnp.array(shifts, jnp.int64)[None, :]).sum(axis=1)
        return (total >> 31).astype(jnp.int32), (total & 0x7FFFFFFF).astype(jnp.int32)


def _wins_over_rest(scores: Float[Array, "m C"], labels: Integer[Array, " m"]) -> _Wins:
    def wins(column: Array, own: Any) -> tuple[Array, Array]:
        ranking = _ranking(column, labels, own)
        return _sums_in_halves(ranking.upto + ranking.before, (ranking.classes > 0).astype(jnp.int32), 1)

    (high, low), sizes = _per_class(wins, scores, labels)
    return _Wins(high[:, 0], low[:, 0], sizes, labels.shape[0] - sizes)


def _wins_over_each(scores: Float[Array, "m C"], labels: Integer[Array, " m"]) -> _Wins:
    n_classes = scores.shape[1]
    if n_classes == 2:
        return _wins_over_rest(scores, labels)

    def wins(column: Array, own: Any) -> tuple[Array, Array]:
        ranking = _ranking(column, labels, own)
        return _sums_in_halves(ranking.upto + ranking.before, ranking.classes, n_classes)

    (high, low), sizes = _per_class(wins, scores, labels)
    own, others = jnp.broadcast_arrays(sizes[:, None], sizes[None, :])
    own = jnp.where(jnp.eye(n_classes, dtype=bool), 0, own)
    return _Wins(*(leaf.reshape(-1) for leaf in (high, low, own, others)))


def _wins_of_two(scores: Float[Array, "m C"], labels: Integer[Array, " m"]) -> _Wins:
    if scores.shape[1] != 2:
        raise ValueError(
            f"metric 'roc_auc' is for two classes, but there are {scores.shape[1]}: take 'roc_auc_ovr' (each class "
            "against the rest) or 'roc_auc_ovo' (against each other)."
        )
    return _wins_over_rest(scores, labels)


@np.errstate(invalid="ignore")  # Where no two classes occur there is nothing to compare: NaN.
def _mean_area(totals: Any, n_rows: int) -> Any:
    pairs = totals.own * 1.0 * totals.others
    # A problem without rows on either side has no area; it counts neither above nor below the line.
    areas = (totals.high * 2.0**31 + totals.low) / (2 * pairs + (pairs == 0))
    return (areas * (pairs > 0)).sum(axis=-1) / (pairs > 0).sum(axis=-1)


class _Precision(NamedTuple):
    gained: Float[Array, "... problems"]
    own: Int[Array, "... problems"]


def _precision(scores: Float[Array, "m C"], labels: Integer[Array, " m"]) -> _Precision:
    def gained(column: Array, own: Any) -> Array:
        ranking = _ranking(column, labels, own)
        upto = ranking.upto.astype(column.dtype)
        position = jnp.arange(1, len(column) + 1, dtype=column.dtype)
        gain = (ranking.upto - ranking.before).astype(column.dtype)
        return jnp.where(ranking.ends, gain * (upto / position), 0).sum()

    return _Precision(*_per_class(gained, scores, labels))


@np.errstate(invalid="ignore")
def _mean_precision(totals: Any, n_rows: int) -> Any:
    present = totals.own > 0
    return (totals.gained / (totals.own + ~present)).sum(axis=-1) / present.sum(axis=-1)


roc_auc = Metric("roc_auc", _wins_of_two, _mean_area, counts=True, additive=False)
roc_auc_ovr = Metric("roc_auc_ovr", _wins_over_rest, _mean_area, counts=True, additive=False, needs="columns")
roc_auc_ovo = Metric("roc_auc_ovo", _wins_over_each, _mean_area, counts=True, additive=False, needs="columns")
average_precision = Metric("average_precision", _precision, _mean_precision, additive=False, needs="columns")
