"""Any scikit-learn classifier or pipeline, as it is: the slow path, one refit per permutation on the host.

The permutations, the metrics and the result are the same as for jaxmem's own classifiers; only the speed is
scikit-learn's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

__all__ = ["Estimator"]


@dataclass(frozen=True)
class Estimator:
    """A scikit-learn classifier or pipeline, cloned and refitted for every permutation.

    Rows are scored by `predict` where the metric asks for no more than that, by `predict_proba` where it needs
    probabilities, and else by `decision_function`, or what of these there is.

    Args:
        estimator: anything with `fit` and `predict` that `sklearn.base.clone` can copy. Give it a `random_state` of
            its own if it
            is random: the test is exact either way, but repeats only with one.
        n_jobs: processes to refit in, as joblib counts them; -1: all cores.

    Example:
        >>> import numpy as np
        >>> import sklearn.tree
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> stump = jm.Estimator(sklearn.tree.DecisionTreeClassifier(max_depth=1, random_state=0))
        >>> jm.permutation_test(stump, X, y, validation=jm.KFold(4), n_permutations=19).pvalue
        0.05
    """

    estimator: Any
    n_jobs: int | None = None

    def __post_init__(self) -> None:
        """Check that it can be cloned and refitted."""
        if not all(callable(getattr(self.estimator, name, None)) for name in ("fit", "predict", "get_params")):
            raise ValueError(
                f"estimator must be a scikit-learn classifier (fit, predict, get_params), but is {self.estimator!r}."
            )

    def __hash__(self) -> int:
        """By identity: scikit-learn's estimators have no hash of their own to go by."""
        return id(self.estimator)

    @property
    def gives(self) -> str:
        """What the scores can mean at most."""
        able = partial(hasattr, self.estimator)
        return "probabilities" if able("predict_proba") else "columns" if able("decision_function") else "prediction"

    def refit(
        self, fits: Sequence[tuple[np.ndarray, np.ndarray, Sequence[np.ndarray]]], n_classes: int, needs: str
    ) -> list[list[np.ndarray]]:
        """Refit a clone per labelling, in parallel."""
        from joblib import Parallel, delayed

        return Parallel(n_jobs=self.n_jobs)(delayed(_refit)(self.estimator, *fit, n_classes, needs) for fit in fits)  # pyright: ignore[reportReturnType]


def _refit(
    estimator: Any, X: np.ndarray, labels: np.ndarray, sets: Sequence[np.ndarray], n_classes: int, needs: str
) -> list[np.ndarray]:
    from sklearn.base import clone

    copy: Any = clone(estimator)
    fitted = copy.fit(X, labels.astype(int))
    scores = []
    for rows in sets:
        # A class that this fit has not seen is the least likely of all.
        lowest = 0 if needs in ("prediction", "indicators", "probabilities") else -np.inf
        full = np.full((len(rows), n_classes), lowest, dtype=X.dtype)
        full[:, fitted.classes_] = _scores(fitted, rows, needs)
        scores.append(full)
    return scores


def _scores(fitted: Any, rows: np.ndarray, needs: str) -> np.ndarray:
    """Scores of the classes that the fit has seen, shape (m, number of those)."""
    if needs == "prediction":
        return fitted.predict(rows)[:, None] == fitted.classes_[None, :]
    if needs in ("decision", "columns") and hasattr(fitted, "decision_function"):
        scores = fitted.decision_function(rows)
        # One column stands for two classes: positive is the second.
        return scores if scores.ndim == 2 else np.stack([-scores, scores], axis=1)
    return fitted.predict_proba(rows)
