"""What a metric is, what it asks of a classifier's scores, and predictions."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Integer

from jaxmem.inputs import one_of

__all__ = ["SCALES", "Metric", "Predicted", "check", "correct", "indicators", "predictions", "predicts", "scores_for"]

# What scores mean, from the least to the most; each is all of those before it as well.
SCALES = ("prediction", "decision", "columns", "indicators", "probabilities")


@dataclass(frozen=True)
class Metric:
    """How a set of scored rows becomes one number.

    A frozen dataclass of functions: equal to another made of the same functions, and a static argument under `jax.jit`.

    Args:
        name: what results and figures call it.
        partial: `(scores (m, C), labels (m,)) -> totals`, a pytree; pure, traced under `jax.jit` and `jax.vmap`.
        finish: `(totals, n_rows) -> number` on the host, for NumPy or JAX arrays with any leading axes, one entry per
            permutation.
        counts: whether the number is computed in double precision from integers alone. Ties are then exact, up to the
            rounding of `finish` (of double precision); otherwise up to the rounding of the scores' precision.
        additive: whether totals of blocks of rows add up to those of all rows. If not, `partial` takes all at once.
        needs: what the scores have to mean.

            - "prediction": only which class has the largest score counts. `partial` then looks at scores through
              `predictions`, `correct` and their shape alone, for some classifiers predict without them (`Predicted`).
            - "decision": only the differences between the scores of one row count. Any classifier has that.
            - "columns": the scores of one class are compared between rows, too. With two classes such a metric must
              look at the difference between their scores, so that any classifier will do.
            - "indicators": scores estimate the class indicators (least squares does), each row summing to one.
            - "probabilities": they lie between 0 and 1 as well.

    Raises:
        ValueError: on another word for `needs`.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.metrics import Metric, predictions
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> def n_wrong(scores, labels):
        ...     return (predictions(scores) != labels).sum()
        >>> errors = Metric("errors", n_wrong, lambda total, n_rows: -total)
        >>> copies = jm.SharedStructure(X + 0.1)
        >>> jm.permutation_test(jm.Ridge(), X, y, validation=copies, metric=errors, n_permutations=99).statistic
        0.0
    """

    name: str
    partial: Callable[[Any, Any], Any]
    finish: Callable[[Any, int], Any]
    counts: bool = False
    additive: bool = True
    needs: str = "decision"

    def __post_init__(self) -> None:
        """Check the words."""
        one_of(self.needs, SCALES, "needs")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Predicted:
    """What there is in place of scores where a classifier knows the best class of a row without them.

    Attributes:
        classes: the class of every row, what `predictions` makes of scores; integers of any width, shape (..., m).
        n_classes: how many there are.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxmem.metrics import Predicted, correct
        >>> correct(Predicted(jnp.array([1, 0]), n_classes=3), jnp.array([1, 1])).tolist()
        [True, False]
    """

    classes: Any  # Of arrays, or of their shapes.
    n_classes: int = field(metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the scores, (m, C)."""
        return (*self.classes.shape, self.n_classes)

    @property
    def ndim(self) -> int:
        """How many axes the scores would have."""
        return len(self.shape)


def predicts(classifier: Any) -> TypeGuard[Any]:
    """Whether a classifier has a method `predicted` that goes with its `decision`: not where that alone is another."""
    kin = type(classifier).__mro__
    predicted, decision = (
        next((number for number, one in enumerate(kin) if name in vars(one)), len(kin))
        for name in ("predicted", "decision")
    )
    return predicted <= decision < len(kin)


def predictions(scores: Float[Array, "m C"] | Predicted) -> Int[Array, " m"]:
    """The class with the largest score, the first of them on ties; `C`, no class, where no score is above -inf.

    NaN is larger than nothing: it is never predicted.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxmem.metrics import predictions
        >>> predictions(jnp.array([[0.1, 0.9], [0.5, 0.5]])).tolist()
        [1, 0]
    """
    if isinstance(scores, Predicted):
        return scores.classes.astype(jnp.int32)  # As of scores: a metric may subtract labels, which bytes cannot hold.

    def compare(best: tuple[Array, Array], one: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        (largest, label), (score, candidate) = best, one
        larger = score > largest
        return (jnp.where(larger, score, largest), jnp.where(larger, candidate, label)), None

    # Class by class over all rows, which vectorises and needs the scores but once: beside the matrix product it costs
    # nothing on CPU, where `argmax`, a reduction of pairs, takes longer than the product.
    m, n_classes = scores.shape
    nothing = jnp.full(m, -jnp.inf, scores.dtype), jnp.full(m, n_classes, jnp.int32)
    candidates = scores.T, jnp.arange(n_classes, dtype=jnp.int32)
    return jax.lax.scan(compare, nothing, candidates, unroll=16)[0][1]


def correct(scores: Float[Array, "m C"] | Predicted, labels: Integer[Array, " m"]) -> Bool[Array, " m"]:
    """Whether each row is predicted as its label.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxmem.metrics import correct
        >>> correct(jnp.array([[0.1, 0.9], [0.5, 0.5]]), jnp.array([1, 1])).tolist()
        [True, False]
    """
    return (scores.classes if isinstance(scores, Predicted) else predictions(scores)) == labels


def indicators(labels: Integer[Array, " m"], n_classes: int) -> Bool[Array, "m C"]:
    """Which class each row has, in the layout of scores."""
    return labels[:, None] == jnp.arange(n_classes, dtype=labels.dtype)[None, :]


def scores_for(metric: Metric, classifier: Any, n_classes: int) -> Callable[[Any], Any]:
    """What to do to a classifier's `decision` before a metric sees it: nothing, or make probabilities of it.

    A classifier may say what its decisions mean in an attribute `gives`, one of `SCALES` ("decision" if it has none),
    and how to make probabilities of them in a method `probabilities(scores (m, C)) -> (m, C)`. Decisions are taken as
    they are wherever they are enough.

    Raises:
        ValueError: the metric needs what the classifier does not have; the message names classifiers that do.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxmem as jm
        >>> from jaxmem.metrics import METRICS, scores_for
        >>> probabilities = scores_for(METRICS["neg_log_loss"], jm.Softmax(), n_classes=2)
        >>> probabilities(jnp.array([[0.0, 0.0]])).tolist()
        [[0.5, 0.5]]
    """
    gives = one_of(getattr(classifier, "gives", "decision"), SCALES, f"`gives` of {type(classifier).__name__}")
    needs = "decision" if metric.needs == "columns" and n_classes == 2 else metric.needs
    if _at_least(gives, needs):
        return _as_they_are
    if hasattr(classifier, "probabilities"):
        return classifier.probabilities
    raise ValueError(
        f"metric {metric.name!r} needs {_MEANINGS[needs]}; {type(classifier).__name__} does not give that. "
        "Or give your own classifier a method `probabilities(scores)`."
    )


_MEANINGS = {
    "decision": "scores, not only predicted classes (a scikit-learn estimator with decision_function or predict_proba)",
    "columns": "scores of one class that can be compared between rows, as all but NearestCentroid have",
    "indicators": "scores that estimate class indicators, as Ridge, KNeighbors, Softmax, LDA and GaussianNB have",
    "probabilities": "class probabilities, as Softmax, LDA, GaussianNB and KNeighbors have",
}


def _at_least(gives: str, needs: str) -> bool:
    return SCALES.index(gives) >= SCALES.index(needs)


def _as_they_are(scores: Any) -> Any:
    return scores


def check(metric: Metric, classifier: Any, *, n_rows: int, n_classes: int, dtype: Any) -> None:
    """Refuse a metric that these scores cannot have, before anything is computed: only shapes are traced.

    Raises:
        ValueError: the classifier's scores mean too little, the number of classes is not the metric's, or a function of
            the user's cannot be traced.

    Example:
        >>> import jaxmem as jm
        >>> from jaxmem.metrics import METRICS, check
        >>> check(METRICS["neg_log_loss"], jm.Ridge(), n_rows=10, n_classes=2, dtype="float32")
        Traceback (most recent call last):
            ...
        ValueError: metric 'neg_log_loss' needs class probabilities, as Softmax, ...
    """
    prepare = scores_for(metric, classifier, n_classes)
    scores = jax.ShapeDtypeStruct((n_rows, n_classes), dtype)
    labels = jax.ShapeDtypeStruct((n_rows,), jnp.uint8 if n_classes <= 256 else jnp.int32)
    _totals.eval_shape(metric, prepare, scores, labels)
    if metric.needs == "prediction" and predicts(classifier):
        try:
            _totals.eval_shape(metric, prepare, Predicted(labels, n_classes), labels)
        except (AttributeError, TypeError) as error:
            raise ValueError(
                f"metric {metric.name!r} says that it needs predictions alone, but takes scores apart, which "
                f"{type(classifier).__name__} predicts without: let it look at them through jaxmem.metrics.predictions "
                'and correct, or say needs="decision".'
            ) from error


@partial(jax.jit, static_argnums=(0, 1))
def _totals(metric: Metric, prepare: Callable[[Any], Any], scores: Any, labels: Any) -> Any:
    """What a metric makes of scores: for the shapes alone, which `jit` remembers."""
    return metric.partial(prepare(scores), labels)
