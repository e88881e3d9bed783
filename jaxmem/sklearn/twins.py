"""Which of scikit-learn's estimators and scorings jaxmem computes as well: the same numbers up to rounding.

An estimator has a twin if its class is exactly one of these (a subclass may do anything) and its parameters are such
that its predictions are a function of the labels that the twin computes, too. Of scorings those are taken whose numbers
agree; a ranking by probabilities, say, is not, where scikit-learn's round to one and jaxmem's do not.

`LogisticRegression` is missing on purpose: scikit-learn stops its solver early, and no other solver stops at the same
point. Of 40 permutations of Gaussian features (n = 200, d = 10, three classes) two score otherwise if scikit-learn
itself goes on to `tol=1e-10`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.naive_bayes import GaussianNB as ScikitGaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neighbors import NearestCentroid as ScikitNearestCentroid
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from jaxmem.classifiers import LDA, Classifier, GaussianNB, KNeighbors, NearestCentroid, Ridge

__all__ = ["NoTwin", "Twin", "twin_of"]


class NoTwin(Exception):
    """There is no fast path; the message says why."""


class Twin(NamedTuple):
    """What stands in for an estimator.

    Attributes:
        classifier: jaxmem's.
        scorings: by which of scikit-learn's names both score alike, for two classes.
        of_more_classes: the same for more than two classes.
    """

    classifier: Classifier
    scorings: frozenset[str]
    of_more_classes: frozenset[str]


_PREDICTIONS = frozenset({"accuracy", "balanced_accuracy"})
_RANKINGS = _PREDICTIONS | {"roc_auc", "average_precision"}
_PROBABILITIES = frozenset({"neg_log_loss", "neg_brier_score"})


def twin_of(estimator: Any) -> Twin:
    """jaxmem's twin of an estimator of scikit-learn's, or of a pipeline of a `StandardScaler` and one.

    Raises:
        NoTwin: it has none, as it is.
    """
    if type(estimator) is Pipeline and len(estimator.steps) == 2 and type(estimator.steps[0][1]) is StandardScaler:
        scaler, last = (step for _, step in estimator.steps)
        _as_by_default(scaler, but={"copy"})
        twin = twin_of(last)
        if isinstance(twin.classifier, Ridge):
            return twin._replace(classifier=replace(twin.classifier, standardize=True))
        return twin._replace(classifier=Standardized(twin.classifier))
    if type(estimator) not in _TWINS:
        raise NoTwin(f"{type(estimator).__name__} has no twin in jaxmem")
    return _TWINS[type(estimator)](estimator)


def _ridge(estimator: Any) -> Twin:
    # The direct solvers agree; `max_iter`, `tol` and `random_state` are the others'.
    _as_by_default(estimator, but={"alpha", "solver", "copy_X", "max_iter", "tol", "random_state"})
    _one_of(estimator, solver=("auto", "svd", "cholesky"))
    return Twin(Ridge(alpha=estimator.alpha), _RANKINGS, _RANKINGS - {"roc_auc"})


def _lda(estimator: Any) -> Twin:
    # Both are of `transform` alone: `n_components` and `store_covariance`.
    _as_by_default(estimator, but={"solver", "shrinkage", "n_components", "store_covariance"})
    if estimator.shrinkage == "auto":
        raise NoTwin('shrinkage="auto" is another estimate in scikit-learn, class by class')
    scorings = _PREDICTIONS | _PROBABILITIES
    return Twin(LDA(shrinkage=estimator.shrinkage), scorings | _RANKINGS, scorings)


def _neighbors(estimator: Any) -> Twin:
    # Neither how neighbours are searched nor by how many jobs changes which they are.
    _as_by_default(estimator, but={"n_neighbors", "weights", "metric", "algorithm", "leaf_size", "n_jobs"})
    _one_of(estimator, weights=("uniform", "distance"), metric=("minkowski", "euclidean", "cosine"))
    metric = "cosine" if estimator.metric == "cosine" else "euclidean"
    scorings = _PREDICTIONS | _PROBABILITIES
    if estimator.weights == "uniform":  # Shares of votes by distance tie, or do not, by rounding.
        scorings |= _RANKINGS | {"roc_auc_ovr", "roc_auc_ovo"}
    return Twin(KNeighbors(estimator.n_neighbors, metric, estimator.weights), scorings, scorings - {"roc_auc"})


def _naive_bayes(estimator: Any) -> Twin:
    _as_by_default(estimator, but={"var_smoothing"})
    scorings = _PREDICTIONS | _PROBABILITIES
    return Twin(GaussianNB(var_smoothing=estimator.var_smoothing), scorings, scorings)


def _centroid(estimator: Any) -> Twin:
    _as_by_default(estimator, but=set())
    return Twin(NearestCentroid(), _PREDICTIONS, _PREDICTIONS)


_TWINS: Mapping[type, Callable[[Any], Twin]] = {
    RidgeClassifier: _ridge,
    LinearDiscriminantAnalysis: _lda,
    KNeighborsClassifier: _neighbors,
    ScikitGaussianNB: _naive_bayes,
    ScikitNearestCentroid: _centroid,
}


def _as_by_default(estimator: Any, *, but: set[str]) -> None:
    default = type(estimator)().get_params(deep=False)
    for name, value in estimator.get_params(deep=False).items():
        if name not in but and value is not default[name] and value != default[name]:
            raise NoTwin(f"{type(estimator).__name__} has {name}={value!r}, which its twin does not know")


def _one_of(estimator: Any, **options: tuple[str, ...]) -> None:
    for name, known in options.items():
        value = getattr(estimator, name)
        if not (isinstance(value, str) and value in known):
            raise NoTwin(f"{type(estimator).__name__} has {name}={value!r}, which its twin does not know")


@dataclass(frozen=True)
class Standardized:
    """A classifier of features with mean 0 and standard deviation 1 over the training rows: `StandardScaler` and it.

    Args:
        classifier: of the standardised features.
    """

    classifier: Any

    def __getattr__(self, name: str) -> Any:
        """What the classifier's scores mean, and how to make probabilities of them; nothing else of it."""
        if name not in ("gives", "probabilities"):
            raise AttributeError(name)
        return getattr(object.__getattribute__(self, "classifier"), name)

    def prepare(self, X: Float[Array, "n d"], n_classes: int) -> Any:
        """Standardise the training rows; features that do not vary are only centred, as scikit-learn does it."""
        mean = X.mean(axis=0)
        spread = jnp.sqrt(((X - mean[None, :]) ** 2).mean(axis=0))
        varies = spread > 10 * jnp.finfo(X.dtype).eps * jnp.maximum(jnp.abs(mean), 1e-30)
        scale = jnp.where(varies, 1 / jnp.where(varies, spread, 1), 1)
        return mean, scale, self.classifier.prepare((X - mean[None, :]) * scale[None, :], n_classes)

    def rows(self, state: Any, X_new: Float[Array, "m d"]) -> Any:
        """Standardise the rows as the training rows were."""
        mean, scale, inner = state
        return self.classifier.rows(inner, (X_new - mean[None, :]) * scale[None, :])

    def fit(self, state: Any, labels: Integer[Array, " n"]) -> Any:
        """Fit the classifier."""
        return self.classifier.fit(state[2], labels)

    def decision(self, state: Any, params: Any, rows: Any) -> Float[Array, "... m C"]:
        """The classifier's scores."""
        return self.classifier.decision(state[2], params, rows)
