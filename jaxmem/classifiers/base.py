"""The shape of a shallow classifier: what needs no labels, once; what needs labels, for ONE label vector.

Labels are the only thing that a permutation changes. A classifier is therefore cut where the labels enter:

    prepare(X, n_classes)         -> state    no labels: factorise, search, standardise; once
    rows(state, X_new)            -> rows     no labels: what scoring these rows needs; once per set of rows
    fit(state, labels)            -> params   ONE label vector (n,); the engine runs it for a batch of permutations
    decision(state, params, rows) -> scores   one fit, any slice of the rows; (m, n_classes), larger is likelier

`state`, `rows` and `params` are pytrees; every leaf of `rows` has the rows as its leading axis, so that the engine can
cut rows into blocks without knowing what they are. All four are pure, trace under `jax.jit` and run under `jax.vmap`:
no branch may depend on a value. Predictions are `argmax(scores)`, the first class winning ties.

Some metrics need more of scores than their order within a row. A classifier may say what its scores mean in a class
attribute `gives`, one of `jaxmem.metrics.SCALES` ("decision" without it), and how to make probabilities of them in a
method `probabilities(scores)`. An iterative one may report on its fits in a method `diagnostics(params)`, a dict of
scalars; a "converged" that is False is made a warning. If it holds many times its `params` while it fits, a class
attribute `copies` says how many times, so that batches can be cut to fit.

Where a metric asks for predictions alone, a classifier that knows them without scores may be asked for no more, in a
method `predicted(state, params, rows)`: the classes that have the best of `decision`'s scores, for a tenth of the time
say (`Predicts`).

Where folds follow the labels, every labelling has training rows of its own. A classifier may take a fold out of what it
knows of all rows, in place of preparing the others anew (`Foldable`).

Scores may have axes in front for the values of a hyperparameter, each of which is then tested (`Ridge(alpha=(1, 10))`).

A classifier is a frozen dataclass of its hyperparameters, hence hashable, hence a static argument: the engine compiles
once per (classifier, shapes, dtype). Adding one takes these four functions. Nearest class mean in full:

    @dataclass(frozen=True)
    class NearestMean:
        def prepare(self, X, n_classes):
            return X, jnp.arange(n_classes)

        def rows(self, state, X_new):
            return X_new

        def fit(self, state, labels):
            X, classes = state
            sums, counts = class_sums(labels, X, len(classes))
            return sums / jnp.maximum(counts, 1)[:, None]

        def decision(self, state, means, rows):
            return rows @ means.T - 0.5 * (means**2).sum(axis=1)[None, :]

and `jm.permutation_test(NearestMean(), X, y, ...)` works, in batches, on every device.

Where the fit is nothing but sums of rows by class, the training rows need not be in memory: four functions more, of
which none sees all rows, let them be read a block at a time, or be shared out among devices (`ClassSums`):

    condense(moments, n_classes)   -> state    no labels: all that `moments` of the training rows decide; once
    summed(state, X)               -> rows     no labels: what is summed by class, of a block of training rows; (k, e)
    solve(state, sums, counts)     -> params   ONE label vector: what the sums of its classes decide
    score(state, params, X_new)    -> scores   as `decision`, of rows as they come

The rows that are summed are centred, or they add up to zero by other means: sums are taken of all classes but the last.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer

from jaxmem.blocks import over_row_blocks
from jaxmem.classifiers.moments import Moments
from jaxmem.metrics import Predicted

__all__ = [
    "ClassSums",
    "Classifier",
    "Foldable",
    "HostClassifier",
    "Predicts",
    "class_sums",
    "contrast_sums",
    "one_hot",
]


@runtime_checkable
class Classifier(Protocol):
    """What the engine asks of a shallow classifier; see the module's docstring.

    Example:
        >>> import jaxmem as jm
        >>> from jaxmem.classifiers import Classifier
        >>> isinstance(jm.Ridge(), Classifier)
        True
    """

    def prepare(self, X: Float[Array, "n d"], n_classes: int) -> Any:
        """Do all that needs the training features but no labels."""
        ...

    def rows(self, state: Any, X_new: Float[Array, "m d"]) -> Any:
        """Do all that scoring the rows of `X_new` needs but labels; a pytree of arrays with `m` rows."""
        ...

    def fit(self, state: Any, labels: Integer[Array, " n"]) -> Any:
        """Fit on one label vector."""
        ...

    def decision(self, state: Any, params: Any, rows: Any) -> Float[Array, "... m n_classes"]:
        """Score any slice of the rows by one fit."""
        ...


class Predicts(Classifier, Protocol):
    """A classifier that knows the best class without the scores of all; see `jaxmem.metrics.base.predicts`."""

    def predicted(self, state: Any, params: Any, rows: Any) -> Predicted:
        """What `predictions` would make of the scores of any slice of the rows by one fit."""
        ...


@runtime_checkable
class ClassSums(Classifier, Protocol):
    """A classifier whose fit is class sums, so that its training rows can be read a block at a time.

    Attributes:
        scatter: whether `condense` needs the scatter of all features together, or only the spread of each.
    """

    scatter: bool

    def condense(self, moments: Moments, n_classes: int) -> Any:
        """Do all that needs the training features but neither labels nor all rows at once."""
        ...

    def summed(self, state: Any, X: Float[Array, "k d"]) -> Float[Array, "k e"]:
        """What is summed by class, of some training rows; over all of them it adds up to zero."""
        ...

    def solve(self, state: Any, sums: Float[Array, "contrasts e"], counts: Float[Array, " n_classes"]) -> Any:
        """Fit on one label vector: on its sums by class, all but the last, and its class sizes."""
        ...

    def score(self, state: Any, params: Any, X_new: Float[Array, "k d"]) -> Float[Array, "... k n_classes"]:
        """Score some rows by one fit."""
        ...


@runtime_checkable
class Foldable(Classifier, Protocol):
    """A classifier that takes folds out of what it knows of all rows."""

    def foldable(self, X: Float[Array, "n d"], n_classes: int, largest: int) -> Any:
        """Do once what all folds have in common, the largest of `largest` rows; None where folds cannot be taken."""
        ...

    def fold(self, whole: Any, inside: Int[Array, " m"], outside: Int[Array, " k"]) -> tuple[Any, Any]:
        """What `prepare` makes of the rows with the numbers `outside`, and `rows` then of those `inside`."""
        ...


@runtime_checkable
class HostClassifier(Protocol):
    """The slow path: a classifier that JAX cannot trace, refitted from scratch on the host for every labelling.

    Example:
        >>> import sklearn.tree
        >>> from jaxmem.classifiers import HostClassifier, as_classifier
        >>> isinstance(as_classifier(sklearn.tree.DecisionTreeClassifier()), HostClassifier)
        True
    """

    def refit(
        self, fits: Sequence[tuple[np.ndarray, np.ndarray, Sequence[np.ndarray]]], n_classes: int, needs: str
    ) -> list[list[np.ndarray]]:
        """Fit each `(X, labels, several sets of rows)` and score its sets.

        Args:
            fits: what to fit and to score.
            n_classes: number of classes; labels are integers below it.
            needs: what the scores have to mean, one of `jaxmem.metrics.SCALES`.

        Returns:
            For every fit, for every set of its rows, scores of shape (m, n_classes); larger is likelier.
        """
        ...


def one_hot(labels: Integer[Array, " n"], n_classes: int, dtype: Any) -> Float[Array, "n_classes n"]:
    """Indicator of each class, classes first: a row is then contiguous, and a product with it needs no transpose."""
    classes = jnp.arange(n_classes, dtype=labels.dtype)
    return (labels[None, :] == classes[:, None]).astype(dtype)


def class_sums(
    labels: Integer[Array, " n"], X: Float[Array, "n d"], n_classes: int
) -> tuple[Float[Array, "n_classes d"], Float[Array, " n_classes"]]:
    """Sum of the rows of `X` in each of the classes `0 .. n_classes - 1`, and how many there are.

    Under `vmap` over labels this is one matrix product per block of rows. Labels at or above `n_classes` are left out:
    where the sum over all classes is known, ask for one class less.
    """

    def block(arrays: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        indicator = one_hot(arrays[0], n_classes, X.dtype)
        # Rows are counted by a product, too: a sum along rows does not vectorise on CPU, and costs a tenth of the fit.
        return (indicator @ arrays[1], indicator @ jnp.ones(indicator.shape[1], X.dtype)), None

    return over_row_blocks(block, (labels, X))[0]


def contrast_sums(
    labels: Integer[Array, " n"], X: Float[Array, "n d"], n_classes: int
) -> tuple[Float[Array, "contrasts d"], Float[Array, " n_classes"]]:
    """Sums of the rows of `X`, which add up to zero, in all classes but the last, and the sizes of all classes."""
    sums, counts = class_sums(labels, X, n_classes - 1)
    return sums, jnp.append(counts, labels.shape[0] - counts.sum())
