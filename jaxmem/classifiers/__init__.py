"""Shallow classifiers, each cut in two: what needs no labels, once; what does, for one label vector."""

from typing import Any

from jaxmem.classifiers.base import Classifier, HostClassifier
from jaxmem.classifiers.centroid import NearestCentroid
from jaxmem.classifiers.estimator import Estimator
from jaxmem.classifiers.knn import KNeighbors
from jaxmem.classifiers.lda import LDA
from jaxmem.classifiers.naive_bayes import GaussianNB
from jaxmem.classifiers.ridge import Ridge
from jaxmem.classifiers.softmax import Softmax
from jaxmem.classifiers.svm import LinearSVM

__all__ = [
    "LDA",
    "Classifier",
    "Estimator",
    "GaussianNB",
    "HostClassifier",
    "KNeighbors",
    "LinearSVM",
    "NearestCentroid",
    "Ridge",
    "Softmax",
    "as_classifier",
]


def as_classifier(classifier: Any) -> Classifier | HostClassifier:
    """Take a classifier of jaxmem's own form as it is, and one of scikit-learn's as an `Estimator`.

    Raises:
        ValueError: neither of the two.

    Example:
        >>> import sklearn.naive_bayes
        >>> from jaxmem.classifiers import as_classifier
        >>> as_classifier(sklearn.naive_bayes.GaussianNB())
        Estimator(estimator=GaussianNB(), n_jobs=None)
    """
    if isinstance(classifier, (Classifier, HostClassifier)) and not isinstance(classifier, type):
        if isinstance(classifier, Classifier) and not _is_a_value(classifier):
            raise ValueError(
                f"{type(classifier).__name__} must be a frozen dataclass of its hyperparameters, "
                "@dataclass(frozen=True): programs are compiled once for all equal classifiers, and kept."
            )
        return classifier
    if hasattr(classifier, "get_params") and not isinstance(classifier, type):
        return Estimator(classifier)
    what = f"the class {classifier.__name__}; call it first" if isinstance(classifier, type) else repr(classifier)
    raise ValueError(f"classifier must be one of jaxmem's (jm.Ridge(), say) or of scikit-learn's, but is {what}.")


def _is_a_value(classifier: Classifier) -> bool:
    """Whether it is hashed by what it says and not by where it is, or cannot change at least."""
    frozen = getattr(getattr(classifier, "__dataclass_params__", None), "frozen", False)
    return frozen or type(classifier).__hash__ not in (None, object.__hash__)
