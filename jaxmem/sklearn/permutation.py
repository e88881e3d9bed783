"""`permutation_test_score` as scikit-learn has it: the same arguments, shuffles, folds and scores, many fits at once.

scikit-learn draws its shuffles one after the other from one random state. They are drawn here in the same order, kept
as a table, and go through jaxmem's engine in batches in place of its own.
"""

import copy
import warnings
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer
from sklearn import get_config, model_selection
from sklearn.exceptions import EfficiencyWarning
from sklearn.model_selection import permutation_test_score as refitted
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import type_of_target

from jaxmem.inference import pvalue
from jaxmem.inputs import Labels, as_features
from jaxmem.metrics import METRICS
from jaxmem.permutations import PermutationPlan
from jaxmem.scoring import rounding_of, score_permutations
from jaxmem.sklearn.twins import NoTwin, twin_of
from jaxmem.validation import Design, KFold, Part

__all__ = ["permutation_test_score"]

# Splitters that take no notice of the labels: their folds serve every permutation.
_FIXED = (
    model_selection.KFold,
    model_selection.GroupKFold,
    model_selection.LeaveOneGroupOut,
    model_selection.LeaveOneOut,
    model_selection.ShuffleSplit,
)


def permutation_test_score(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    cv: Any = None,
    n_permutations: int = 100,
    n_jobs: int | None = None,
    random_state: Any = 0,
    verbose: int = 0,
    scoring: Any = None,
    params: dict[str, Any] | None = None,
) -> tuple[float, Float[np.ndarray, " B"], float]:
    """Evaluate the significance of a cross-validated score with permutations, as scikit-learn's function of this name.

    The shuffles are scikit-learn's for the same `random_state`, and so is every score, up to rounding in double
    precision; of features in single precision, scikit-learn rounds more coarsely. Where jaxmem has a twin of the
    estimator (`RidgeClassifier`, `LinearDiscriminantAnalysis`, `KNeighborsClassifier`, `GaussianNB`, `NearestCentroid`,
    each also after a `StandardScaler` in a pipeline), labels are fitted in batches on whatever device JAX has; for
    anything else scikit-learn's function is called, and an `sklearn.exceptions.EfficiencyWarning` says why.

    Two labellings, the observed one and the first shuffle, are scored by scikit-learn in any case: where its numbers
    are not jaxmem's, it scores all others, too. That finds a twin that computes something else. It does not find what
    only shows under other shuffles: ties. Which of several neighbours that are equally far away scikit-learn takes
    depends on its search tree, and which of two classes whose scores are equal up to rounding is predicted on how it
    adds them up. On features that are whole numbers, or that hold rows twice, ties are so frequent that the two
    labellings mostly tell; where they are rare, a few permutations may be scored otherwise, by the rows that tie. The
    p-value is as valid.

    Two things differ on purpose. The p-value counts scores that differ by rounding alone as ties; scikit-learn's may
    miss some of them, and is then too small. And scores of which one is NaN have no p-value.

    Args:
        estimator: what to fit.
        X: features, shape (n, d).
        y: labels, shape (n,).
        groups: labels are exchanged within these groups, and `cv` is told of them; shape (n,).
        cv: splits, as scikit-learn takes them. The fast path has `KFold`, `GroupKFold`, `LeaveOneOut`,
            `LeaveOneGroupOut` and `ShuffleSplit`, shuffled with an integer seed if at all, and `StratifiedKFold`
            without `shuffle` (the default), whose folds follow every labelling.
        n_permutations: how many shuffles.
        n_jobs: processes of scikit-learn's; the fast path needs none.
        random_state: of the shuffles.
        verbose: above 0, the fast path shows a bar on a terminal; otherwise as in scikit-learn.
        scoring: None, or a scorer, as scikit-learn takes them. The fast path has "accuracy", "balanced_accuracy" and,
            where the estimator's scores allow, "roc_auc", "roc_auc_ovr", "roc_auc_ovo", "average_precision",
            "neg_log_loss" and "neg_brier_score".
        params: for `fit`, the scorer and the splitter; always scikit-learn's path.

    Returns:
        The score of the observed labels, those under the permutations, shape (n_permutations,), and the p-value.

    Raises:
        ValueError: a score is NaN, which has no p-value; and whatever scikit-learn's raises.

    References: Ojala & Garriga (2010), Permutation tests for studying classifier performance; scikit-learn's
    `permutation_test_score`.

    Example:
        >>> import numpy as np
        >>> import sklearn.linear_model
        >>> from jaxmem.sklearn import permutation_test_score
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> score, permuted, pvalue = permutation_test_score(sklearn.linear_model.RidgeClassifier(), X, y)
        >>> score > permuted.max(), round(pvalue, 4)
        (np.True_, 0.0099)
    """
    if not hasattr(cv, "split") and np.iterable(cv) and not isinstance(cv, str):
        cv = list(cv)  # It may be gone after one look.
    asked = {"groups": groups, "cv": cv, "scoring": scoring, "params": params}
    try:
        if params or get_config()["enable_metadata_routing"]:
            raise NoTwin("params and metadata routing are scikit-learn's own affair")
        scores = _fast(estimator, X, y, asked, n_permutations, random_state, progress=verbose > 0)
    except NoTwin as reason:
        name = type(estimator).__name__
        warnings.warn(
            f"{reason}: {name} is refitted by scikit-learn, for every permutation and fold.",
            EfficiencyWarning,
            stacklevel=2,
        )
        more = {"n_permutations": n_permutations, "n_jobs": n_jobs, "random_state": random_state, "verbose": verbose}
        score, permuted, _ = refitted(estimator, X, y, **asked, **more)
        scores = np.append(score, permuted)
    rounding = rounding_of(METRICS["accuracy"], np.float64)  # Of any metric, in double precision.
    return scores[0], scores[1:], pvalue(float(scores[0]), scores[1:], rounding=rounding)


def _fast(
    estimator: Any, X: Any, y: Any, asked: dict[str, Any], n_permutations: Any, random_state: Any, *, progress: bool
) -> Float[np.ndarray, " labellings"]:
    """Scores of the observed labels and of all shuffles.

    Raises:
        NoTwin: not by jaxmem, and why.
    """
    twin = twin_of(estimator)
    if not isinstance(n_permutations, Integral) or n_permutations < 1:
        raise NoTwin(f"n_permutations is {n_permutations!r}")
    X_given, y_given = np.asarray(X), np.asarray(y)
    if X_given.dtype.kind not in "fiub" or y_given.ndim != 1 or type_of_target(y) not in ("binary", "multiclass"):
        raise NoTwin("X does not hold numbers, or y not one class a row")
    classes, codes = np.unique(y_given, return_inverse=True)
    codes = codes.astype(np.uint8 if len(classes) <= 256 else np.int32)
    scoring = "accuracy" if asked["scoring"] is None else asked["scoring"]
    known = twin.scorings if len(classes) == 2 else twin.of_more_classes
    if not (isinstance(scoring, str) and scoring in known):
        raise NoTwin(f"scoring is {asked['scoring']!r}, not one of {', '.join(map(repr, sorted(known)))}")
    n_permutations, drawn = int(n_permutations), check_random_state(random_state)
    # What scikit-learn refuses, it refuses here, in its own words; and two labellings to be compared with, which show
    # whether the twin is one, but not every tie.
    asked_first: dict[str, Any] = {"n_permutations": 1, "random_state": copy.deepcopy(drawn)} | asked
    score, (permuted,), _ = refitted(estimator, X, y, **asked_first)
    before = drawn.get_state()
    try:
        table = _shuffles(len(codes), asked["groups"], n_permutations, drawn)
        with jax.enable_x64(True):
            features = as_features(X_given)
            design = _design(asked["cv"], X_given, codes, asked["groups"])
            _check_classes(design, codes, table, each_scored=scoring != "accuracy")
            scored = score_permutations(
                twin.classifier,
                features,
                Labels(jnp.asarray(codes), classes),
                {"cv": design},
                metric=METRICS[scoring],
                n_permutations=n_permutations,
                key=jax.random.key(0),  # Draws nothing: scikit-learn has drawn.
                planned=PermutationPlan(_Table(jnp.asarray(table)), n_permutations, exact=False),
                progress=progress,
            )
        scores = scored.views["cv"].paired
        # In single precision, scikit-learn's own rounding may move a row or two.
        slack = 2 / len(codes) if X_given.dtype.kind == "f" and X_given.itemsize < 8 else 0
        if not np.allclose(scores[:2], [score, permuted], rtol=1e-9, atol=slack):
            raise NoTwin(f"jaxmem scores {scores[:2]} where scikit-learn scores {np.array([score, permuted])}")
    except (NoTwin, ValueError) as reason:  # What jaxmem does not take, scikit-learn may.
        drawn.set_state(before)
        raise NoTwin(str(reason).rstrip(".")) from reason
    return scores


def _shuffles(n: int, groups: Any, n_permutations: int, drawn: Any) -> Int[np.ndarray, "labellings n"]:
    """The identity, and scikit-learn's shuffles of the rows, in its order."""
    members = [np.arange(n)] if groups is None else [np.flatnonzero(groups == g) for g in np.unique(groups)]
    # Rows whose group is NaN, which equals nothing, stay where they are.
    table = np.tile(np.arange(n, dtype=np.int32), (n_permutations + 1, 1))
    for row in table[1:]:
        for rows in members:
            row[rows] = drawn.permutation(rows)
    return table


@dataclass(frozen=True, eq=False)
class _Folds:
    """Splits that serve every labelling, as a design."""

    splits: list[tuple[np.ndarray, np.ndarray]]

    def parts(self, X: Any, labels: Labels) -> list[Part]:
        """One fit a split."""
        return [Part(np.asarray(train), X[test], source=test.astype(np.int32)) for train, test in self.splits]


def _design(cv: Any, X: Any, codes: Any, groups: Any) -> Design:
    """What jaxmem knows scikit-learn's splits as.

    Raises:
        NoTwin: it does not.
    """
    if isinstance(cv, list):
        return _Folds(cv)
    cv = model_selection.check_cv(cv, codes, classifier=True)
    if type(cv) is model_selection.StratifiedKFold and not cv.shuffle:
        return KFold(cv.n_splits, shuffle=False, stratified=True)
    seeded = isinstance(getattr(cv, "random_state", None), Integral) or not getattr(
        cv, "shuffle", hasattr(cv, "random_state")
    )
    if type(cv) in _FIXED and seeded:
        return _Folds(list(cv.split(X, codes, groups)))
    raise NoTwin(f"cv is {cv!r}, whose folds jaxmem cannot draw")


def _check_classes(design: Design, codes: Any, table: Any, *, each_scored: bool) -> None:
    """Every class is fitted under every labelling, and scored where the metric needs each: twins may differ else.

    Raises:
        NoTwin: it is not.
    """
    if not isinstance(design, _Folds):
        return  # Stratified folds have all classes, and are refused otherwise.
    for train, test in design.splits:
        for rows in (train, test) if each_scored else (train,):
            labels = codes[table[:, rows]]
            if not all((labels == code).any(axis=1).all() for code in range(codes.max() + 1)):
                raise NoTwin("a fold lacks a class under some permutation")


class _Table(NamedTuple):
    """Permutations drawn beforehand, as a stream; shape (B + 1, n), the identity first."""

    table: Int[Array, "labellings n"]

    def permutation(self, index: Any) -> Int[Array, " n"]:
        """Permutation number `index`."""
        return self.table[index]

    def labels(self, y: Any, index: Any) -> Integer[Array, " n"]:
        """Labels under permutation number `index`."""
        return y[self.permutation(index)]
