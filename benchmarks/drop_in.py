"""`permutation_test_score` of jaxmem beside scikit-learn's: the same call, the same shuffles, the same scores.

Both are timed per permutation, scikit-learn in two jobs. On jaxmem's side the two labellings that scikit-learn scores
in any case are in it, and compilation is not; the benchmark stops if a score differs.
"""

from functools import partial
from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import KFold, permutation_test_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.measure import gaussian, in_turn
from jaxmem.sklearn import permutation_test_score as drop_in

_ESTIMATORS = {
    "ridge": RidgeClassifier(),
    "standardised ridge": make_pipeline(StandardScaler(), RidgeClassifier()),
    "lda": LinearDiscriminantAnalysis(),
    "5 nearest neighbours": KNeighborsClassifier(5),
    "nearest centroid": NearestCentroid(),
    "naive Bayes": GaussianNB(),
}
_FOLDS = {"stratified": 5, "fixed": KFold(5, shuffle=True, random_state=0)}
_SHAPES = {"n=150 d=4 C=3": (150, 4, 3), "n=1000 d=64 C=5": (1_000, 64, 5), "n=2000 d=256 C=10": (2_000, 256, 10)}
_FEW, _MANY = 8, 999


def against_scikit_learn(rounds: int = 3) -> dict[str, Any]:
    """Milliseconds per permutation of both, and their ratio."""
    return {
        f"{shape}, {folds}": {
            name: _compare(estimator, cv, *_SHAPES[shape], rounds) for name, estimator in _ESTIMATORS.items()
        }
        for shape in _SHAPES
        for folds, cv in _FOLDS.items()
    }


def _compare(estimator: Any, cv: Any, n: int, d: int, n_classes: int, rounds: int) -> dict[str, float]:
    X, y, _ = gaussian(n, d, n_classes)
    ours = partial(drop_in, estimator, X.astype(float), y, cv=cv, n_permutations=_MANY)
    theirs = partial(permutation_test_score, estimator, X.astype(float), y, cv=cv, n_permutations=_FEW, n_jobs=2)
    np.testing.assert_array_equal(ours()[1][:_FEW], theirs()[1])
    seconds = in_turn({"ours": ours, "theirs": theirs}, rounds)
    mine, its = 1e3 * seconds["ours"] / _MANY, 1e3 * seconds["theirs"] / (_FEW + 1)
    return {"ours_ms": mine, "scikit_learn_ms": its, "ratio": its / mine}
