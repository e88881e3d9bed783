"""Validation designs: which rows are fitted, which are scored, and with whose labels.

Every design answers one question, `parts(X, labels)`: the fits it needs, and for each the rows to score. A part's rows
either take the labels of training rows (`source`), shuffled or not, or have labels of their own (`own`).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer

from jaxmem.inputs import Labels, as_labels, as_number, beside
from jaxmem.sharding import ShardedRows
from jaxmem.streaming import Features, RowBlocks, as_rows

__all__ = ["Design", "Holdout", "KFold", "Part", "Resubstitution", "SharedStructure", "check_design"]


class Part(NamedTuple):
    """One fit and the rows that it is scored on.

    Attributes:
        train: which rows of X are fitted; None: all of them.
        rows: features of the rows to score, in memory, to be read a block at a time, or on several devices.
        source: the row of X whose label each takes; None: the rows of X in order, or rows with labels of their own.
        own: codes of labels that no permutation touches.
    """

    train: Int[np.ndarray, " k"] | None
    rows: Float[Array, "m d"] | RowBlocks | ShardedRows
    source: Int[np.ndarray, " m"] | None = None
    own: Integer[Array, " m"] | None = None


@runtime_checkable
class Design(Protocol):
    """What a validation design must answer."""

    def parts(self, X: Features, labels: Labels) -> list[Part]:
        """The fits and the rows to score; raises ValueError if the design does not fit the training rows."""
        ...


@dataclass(frozen=True, eq=False)
class SharedStructure:
    """Perturbed copies of the training rows, which inherit the labels of their sources, shuffled or not.

    A permutation of the training labels thereby permutes the labels of the copies: permuting the training side
    alone would break the test (Chaibub Neto 2018).

    Args:
        X_val: features of the copies, shape (m, d), of the forms that X may have.
        source: row `j` of `X_val` was made from training row `source[j]`; shape (m,). None: the same rows in the same
            order. Several copies of a row are fine.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> copies = np.random.default_rng(1).normal(np.concatenate([X, X]), 0.1)
        >>> twice = jm.SharedStructure(copies, source=np.tile(np.arange(40), 2))
        >>> jm.permutation_test(jm.Ridge(), X, y, validation=twice, n_permutations=99).pvalue
        0.01
    """

    X_val: Any
    source: Any = None

    def parts(self, X: Features, labels: Labels) -> list[Part]:
        """One fit on all rows, scored on the copies."""
        rows, n = _rows_like(X, self.X_val), X.shape[0]
        m = rows.shape[0]
        if self.source is None:
            if m != n:
                raise ValueError(
                    f"X_val has {m} rows, but X has {n}: without `source` they must be the same rows in the same "
                    "order. Pass source=, the training row that each row of X_val was made from."
                )
            return [Part(None, rows)]
        source = np.asarray(self.source)
        if source.shape != (m,) or source.dtype.kind not in "iu":
            raise ValueError(
                f"source must hold one row number of X for each of the {m} rows of X_val, "
                f"but has shape {source.shape} and dtype {source.dtype}."
            )
        if source.min() < 0 or source.max() >= n:
            raise ValueError(
                f"source must lie in 0 .. {n - 1}, the rows of X, but reaches from {source.min()} to {source.max()}."
            )
        return [Part(None, rows, source=source.astype(np.int32))]


@dataclass(frozen=True, eq=False)
class Holdout:
    """Independent rows with labels of their own, which no permutation touches.

    Args:
        X_val: features, shape (m, d), of the forms that X may have.
        y_val: their labels, shape (m,), of classes that the training labels have.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> more = jm.Holdout(np.random.default_rng(1).normal(3 * y[:, None], size=(40, 3)), y)
        >>> jm.permutation_test(jm.Ridge(), X, y, validation=more, n_permutations=99).statistic > 0.9
        True
    """

    X_val: Any
    y_val: Any

    def parts(self, X: Features, labels: Labels) -> list[Part]:
        """One fit on all rows, scored on the independent ones."""
        rows = _rows_like(X, self.X_val)
        own = as_labels(self.y_val, "y_val", labels.classes).codes
        if len(own) != len(rows):
            raise ValueError(f"X_val has {len(rows)} rows, but y_val has {len(own)} labels: give one label per row.")
        return [Part(None, rows, own=own)]


@dataclass(frozen=True)
class Resubstitution:
    """The training rows themselves: how well a labelling can be fitted at all.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> fitted = jm.permutation_test(jm.KNeighbors(1), X, y, validation=jm.Resubstitution(), n_permutations=9)
        >>> fitted.null_distribution.min().item()  # Whatever the labels are, the nearest row to a row is itself.
        1.0
    """

    def parts(self, X: Features, labels: Labels) -> list[Part]:
        """One fit on all rows, scored on the same."""
        return [Part(None, X)]


@dataclass(frozen=True)
class KFold:
    """Cross-validation: every row is scored once, by a fit on the other folds; the statistic is their mean.

    Folds must not know more of the observed labels than of the shuffled ones: kept fixed while labels are shuffled,
    folds that balance the observed classes reject true hypotheses several times too often. So folds either ignore
    the labels, or follow every labelling.

    Args:
        n_splits: number of folds, at least 2.
        shuffle: draw the folds at random. Without, they take the rows in order, and that order must have nothing to do
            with the labels: rows sorted by class, or dealt out by class, would balance or unbalance the observed folds.
        stratified: keep the class proportions in every fold. The folds are then drawn anew from the labels of every
            permutation, as scikit-learn's `permutation_test_score` with `StratifiedKFold` does, and the features
            prepared anew as well, which costs many times as much. By default the same folds serve all permutations.
        seed: of the shuffle.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> jm.permutation_test(jm.Ridge(), X, y, validation=jm.KFold(4), n_permutations=99).pvalue
        0.01
    """

    n_splits: int = 5
    shuffle: bool = True
    stratified: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the choices."""
        object.__setattr__(self, "n_splits", as_number(self.n_splits, "n_splits", at_least=2))
        object.__setattr__(self, "seed", as_number(self.seed, "seed", at_least=0))

    def parts(self, X: Features, labels: Labels) -> list[Part]:
        """One fit per fold, on the rows outside of it; the folds of the observed labels, where they follow labels."""
        self.check(X, labels)
        assert not isinstance(X, RowBlocks | ShardedRows)
        fold = np.asarray(self.folds(labels.codes, len(labels.classes)))
        rows = [np.flatnonzero(fold == k) for k in range(self.n_splits)]
        return [
            Part(np.flatnonzero(fold != k), X[inside], source=inside.astype(np.int32)) for k, inside in enumerate(rows)
        ]

    def check(self, X: Features, labels: Labels) -> None:
        """Raise ValueError unless every fold can be filled, with every class where that is asked for."""
        if isinstance(X, RowBlocks):
            raise ValueError(
                "KFold takes the rows of every fold by their numbers, but X is read a block at a time: read it into "
                "memory, np.asarray(X), or score other rows, jm.Holdout or jm.SharedStructure."
            )
        if isinstance(X, ShardedRows):
            raise ValueError(
                "KFold takes the rows of every fold by their numbers, but devices share out the rows of X: share out "
                "permutations alone, devices=jax.devices(), or score other rows, jm.Holdout or jm.SharedStructure."
            )
        counts = np.bincount(np.asarray(labels.codes), minlength=len(labels.classes))
        if self.n_splits > counts.sum():
            raise ValueError(f"n_splits is {self.n_splits}, but there are only {counts.sum()} rows.")
        if self.stratified and counts.min() < self.n_splits:
            rare = labels.classes[counts.argmin()]
            raise ValueError(
                f"class {rare!r} has {counts.min()} rows, fewer than n_splits = {self.n_splits}: it would be absent "
                "from a fold. Use fewer splits, or drop the class."
            )

    def size(self, k: int, n: int) -> int:
        """How many of n rows fold number k has; it does not depend on the labels."""
        return n // self.n_splits + (k < n % self.n_splits)

    def folds(self, codes: Integer[Array, " n"], n_classes: int) -> Int[Array, " n"]:
        """Fold of every row; traces, so that folds can follow shuffled labels."""
        n = codes.shape[0]
        order = np.random.default_rng(self.seed).permutation(n) if self.shuffle else np.arange(n)
        if not self.stratified:
            # Contiguous folds, the first n % n_splits of them one row longer, as scikit-learn cuts them.
            sizes = [self.size(k, n) for k in range(self.n_splits)]
            return jnp.zeros(n, jnp.int32).at[order].set(np.repeat(np.arange(self.n_splits), sizes).astype(np.int32))
        return jnp.zeros(n, jnp.int32).at[order].set(self._stratified(codes[order], n_classes))

    def _stratified(self, codes: Integer[Array, " n"], n_classes: int) -> Int[Array, " n"]:
        # scikit-learn's allocation: number the classes by first appearance, deal the sorted labels out to the folds
        # like cards, and fill each class's share of every fold in the order of the rows.
        member = codes[:, None] == jnp.arange(n_classes, dtype=codes.dtype)[None, :]
        appearance = jnp.argsort(jnp.argmax(member, axis=0))
        counts = member.sum(axis=0)[appearance]
        ends = jnp.cumsum(counts)
        begins = ends - counts
        # Of the cards k, k + K, k + 2K, ... those in [begin, end) belong to the class.
        k = jnp.arange(self.n_splits)[None, :]
        dealt = [-(-(bound[:, None] - k) // self.n_splits) for bound in (begins, ends)]
        share = jnp.cumsum(jnp.maximum(dealt[1], 0) - jnp.maximum(dealt[0], 0), axis=1)
        share = jnp.zeros_like(share).at[appearance].set(share)
        rank = (jnp.cumsum(member, axis=0) - 1)[jnp.arange(codes.shape[0]), codes.astype(jnp.int32)]
        return (rank[:, None] >= share[codes.astype(jnp.int32)]).sum(axis=1).astype(jnp.int32)


def check_design(validation: Any) -> None:
    """Raise ValueError unless it is a validation design."""
    if isinstance(validation, type) or not isinstance(validation, Design):
        kind = type(validation).__name__
        what = f"the class {validation.__name__}; call it first" if isinstance(validation, type) else f"a {kind}"
        raise ValueError(
            f"validation must be jm.SharedStructure, jm.Holdout, jm.KFold or jm.Resubstitution, but is {what}."
        )


def _rows_like(X: Features, X_val: Any) -> Float[Array, "m d"] | RowBlocks | ShardedRows:
    rows = as_rows(X_val, "X_val", X.mesh if isinstance(X, ShardedRows) else None).astype(X.dtype)
    if rows.shape[1] != X.shape[1]:
        raise ValueError(f"X_val has {rows.shape[1]} features, but X has {X.shape[1]}: extract both in the same way.")
    return beside(X, rows) if isinstance(X, jax.Array) and isinstance(rows, jax.Array) else rows
