"""The drop-in for scikit-learn's `permutation_test_score`: the same call, the same numbers, its own tests."""

import inspect
import subprocess
import sys
import warnings

import numpy as np
import pytest
from helpers import blobs
from sklearn import model_selection
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import EfficiencyWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut, ShuffleSplit, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxmem.sklearn import permutation_test_score

B = 12


def both(estimator, X, y, **choices):
    """What jaxmem returns, and scikit-learn."""
    expected = model_selection.permutation_test_score(estimator, X, y, **({"n_permutations": B} | choices))
    return permutation_test_score(estimator, X, y, **({"n_permutations": B} | choices)), expected


def assert_same_test(found, expected, rtol=0.0):
    assert isinstance(found, tuple) and len(found) == 3
    np.testing.assert_allclose(found[0], expected[0], rtol=rtol)
    np.testing.assert_allclose(found[1], expected[1], rtol=rtol)
    assert found[1].shape == expected[1].shape and found[2] == expected[2]


@pytest.mark.parametrize(
    ("estimator", "cv"),
    [
        (RidgeClassifier(), None),
        (RidgeClassifier(alpha=30.0, solver="svd"), KFold(10, shuffle=True, random_state=1)),
        (LinearDiscriminantAnalysis(), 3),
        (LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3), KFold(4)),
        (KNeighborsClassifier(), None),
        (KNeighborsClassifier(7, weights="distance", metric="cosine"), ShuffleSplit(4, random_state=0)),
        (GaussianNB(var_smoothing=1e-3), StratifiedKFold(4)),
        (NearestCentroid(), LeaveOneGroupOut()),
        (make_pipeline(StandardScaler(), RidgeClassifier()), None),
        (make_pipeline(StandardScaler(), GaussianNB()), KFold(3)),
    ],
    ids=str,
)
def test_accuracies_are_those_of_scikit_learn_bit_for_bit(estimator, cv):
    X, y, _ = blobs(60, 4, 3, separation=0.7)
    X = X * [1, 30, 0.2, 1] + 5
    groups = np.arange(60) % 4 if isinstance(cv, LeaveOneGroupOut) else None
    assert_same_test(*both(estimator, X, y, cv=cv, groups=groups))


@pytest.mark.parametrize(
    ("estimator", "scoring", "n_classes"),
    [
        (RidgeClassifier(), "roc_auc", 2),
        (RidgeClassifier(), "average_precision", 3),
        (LinearDiscriminantAnalysis(), "roc_auc", 2),
        (LinearDiscriminantAnalysis(), "neg_log_loss", 3),
        (KNeighborsClassifier(3), "roc_auc_ovr", 3),
        (KNeighborsClassifier(3), "roc_auc_ovo", 2),
        (KNeighborsClassifier(3), "neg_log_loss", 2),
        (GaussianNB(), "neg_brier_score", 2),
        (NearestCentroid(), "balanced_accuracy", 2),
    ],
    ids=str,
)
def test_other_scorings_are_those_of_scikit_learn_up_to_rounding(estimator, scoring, n_classes):
    X, y, _ = blobs(60, 4, n_classes, separation=0.5)
    assert_same_test(*both(estimator, X, y, scoring=scoring, n_permutations=5), rtol=1e-12)


def test_groups_exchange_within_and_are_folded():
    X, y, _ = blobs(60, 4, 3)
    groups = np.repeat(np.arange(6), 10)
    choices = {"cv": GroupKFold(3), "random_state": 3}
    found, expected = both(RidgeClassifier(), X, y, groups=groups, **choices)
    assert_same_test(found, expected)
    # Had labels gone from group to group, the scores would be others.
    across = permutation_test_score(RidgeClassifier(), X, y, n_permutations=B, cv=[*GroupKFold(3).split(X, y, groups)])
    assert not np.array_equal(found[1], across[1])


def test_rows_without_a_group_are_not_exchanged():
    """NaN equals nothing, itself included, and so scikit-learn leaves these rows where they are."""
    X, y, _ = blobs(60, 3, 2)
    groups = np.where(np.arange(60) < 15, np.nan, np.arange(60) % 3)
    folds = list(KFold(3).split(X))
    assert_same_test(*both(RidgeClassifier(), X, y, groups=groups, cv=folds))


def test_a_random_state_is_used_up_as_scikit_learn_does_it():
    X, y, _ = blobs(60, 4, 3)
    mine, theirs = np.random.RandomState(4), np.random.RandomState(4)
    for estimator in (RidgeClassifier(), LogisticRegression()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EfficiencyWarning)
            found = permutation_test_score(estimator, X, y, n_permutations=3, random_state=mine)
        expected = model_selection.permutation_test_score(estimator, X, y, n_permutations=3, random_state=theirs)
        assert_same_test(found, expected)
    assert mine.randint(2**30) == theirs.randint(2**30)


def test_strings_lists_and_frames_are_taken():
    pandas = pytest.importorskip("pandas")
    X, y, _ = blobs(60, 4, 3)
    names = np.array(["c", "a", "b"])[y]
    expected = permutation_test_score(NearestCentroid(), X, names, n_permutations=B)
    frame, series = pandas.DataFrame(X, columns=list("abcd")), pandas.Series(names, index=np.arange(60) + 7)
    assert_same_test(permutation_test_score(NearestCentroid(), frame, series, n_permutations=B), expected)
    assert_same_test(permutation_test_score(NearestCentroid(), X.tolist(), list(names), n_permutations=B), expected)


def unlabelled_fold(X, y):
    return {"cv": KFold(2), "y": np.sort(y)}


@pytest.mark.parametrize(
    ("estimator", "choices", "reason"),
    [
        (LogisticRegression(), {}, "LogisticRegression has no twin"),
        (RidgeClassifier(class_weight="balanced"), {}, "class_weight='balanced'"),
        (LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"), {}, "another estimate"),
        (KNeighborsClassifier(metric="manhattan"), {}, "metric='manhattan'"),
        (GaussianNB(), {"scoring": "roc_auc_ovr"}, "scoring is 'roc_auc_ovr'"),
        (RidgeClassifier(), {"cv": StratifiedKFold(3, shuffle=True, random_state=0)}, "folds jaxmem cannot draw"),
        (GaussianNB(), {"params": {"sample_weight": np.ones(60)}}, "params"),
    ],
    ids=str,
)
def test_what_jaxmem_does_not_have_scikit_learn_does_and_it_is_said(estimator, choices, reason):
    X, y, _ = blobs(60, 4, 3)
    choices = {"n_permutations": 2} | choices
    expected = model_selection.permutation_test_score(estimator, X, y, **choices)
    with pytest.warns(EfficiencyWarning, match=reason):
        found = permutation_test_score(estimator, X, y, **choices)
    assert_same_test(found, expected)


def test_a_fold_without_a_class_is_left_to_scikit_learn():
    X, _, _ = blobs(24, 4, 3)
    y = np.repeat([0, 1, 2], [10, 10, 4])
    with pytest.warns(EfficiencyWarning, match="a fold lacks a class"):
        found = permutation_test_score(RidgeClassifier(), X, y, cv=KFold(3), n_permutations=3)
    assert_same_test(
        found, model_selection.permutation_test_score(RidgeClassifier(), X, y, cv=KFold(3), n_permutations=3)
    )


def test_scores_that_differ_from_scikit_learns_are_not_returned(monkeypatch):
    X, y, _ = blobs(60, 4, 3)
    monkeypatch.setattr("jaxmem.sklearn.twins.Ridge", lambda alpha: __import__("jaxmem").Ridge(1e6))
    with pytest.warns(EfficiencyWarning, match="jaxmem scores"):
        found = permutation_test_score(RidgeClassifier(), X, y, n_permutations=3)
    assert_same_test(found, model_selection.permutation_test_score(RidgeClassifier(), X, y, n_permutations=3))


def test_ties_that_rounding_breaks_are_counted(monkeypatch):
    permuted = np.array([0.9 - 1e-16, 0.9 - 2e-16, 0.3])
    monkeypatch.setattr("jaxmem.sklearn.permutation.refitted", lambda *args, **choices: (0.9, permuted, 0.25))
    with pytest.warns(EfficiencyWarning):
        assert permutation_test_score(LogisticRegression(), np.eye(4), [0, 1, 0, 1])[2] == 3 / 4


def test_errors_are_scikit_learns():
    X, y, _ = blobs(60, 4, 3)
    for choices in ({"cv": 100}, {"scoring": "roc_auc_ovr"}, {"groups": np.ones(3)}):
        with pytest.raises(Exception) as theirs:
            model_selection.permutation_test_score(RidgeClassifier(), X, y, n_permutations=2, **choices)
        with warnings.catch_warnings(), pytest.raises(theirs.type) as mine:
            warnings.simplefilter("ignore", EfficiencyWarning)
            permutation_test_score(RidgeClassifier(), X, y, n_permutations=2, **choices)
        assert str(mine.value) == str(theirs.value)


def test_the_parameters_are_scikit_learns():
    mine, theirs = map(inspect.signature, (permutation_test_score, model_selection.permutation_test_score))
    assert list(mine.parameters) == list(theirs.parameters)
    for name, parameter in mine.parameters.items():
        assert (parameter.default, parameter.kind) == (theirs.parameters[name].default, theirs.parameters[name].kind)


@pytest.mark.nightly
def test_scikit_learns_own_tests_pass():
    # In a process of its own: the tests take the function by name when they are imported.
    program = """
import sys, pytest, sklearn.model_selection
from jaxmem.sklearn import permutation_test_score
sklearn.model_selection.permutation_test_score = permutation_test_score
what = ["--pyargs", "sklearn.model_selection.tests.test_validation", "-k", "permutation"]
sys.exit(pytest.main(["-q", "-rs", "-c", sys.argv[1], "-p", "no:cacheprovider", "-p", "no:xdist", *what]))
"""
    run = subprocess.run([sys.executable, "-c", program, "/dev/null"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    summary = run.stdout.splitlines()[-1]
    assert "10 passed" in summary and "skipped" not in summary, summary


def test_without_scikit_learn_the_message_says_what_to_install():
    program = "import sys; sys.modules['sklearn'] = None; import jaxmem.sklearn"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 1 and 'pip install "jaxmem[sklearn]"' in run.stderr
