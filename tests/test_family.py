"""A family of tests: each equals the test on its own, and the maxima are those of the same permutations."""

import numpy as np
import pytest
from helpers import blobs

import jaxmem as jm

X, y, X_val = blobs(40, 4, 2, separation=0.6)
NOISE = np.random.default_rng(1).normal(size=(40, 3))
OPTIONS = {"n_permutations": 99, "progress": False}
TESTS = {"signal": (X, X_val), "folds": (X, jm.KFold(4)), "noise": (NOISE, NOISE + 0.1)}


def alone(name, **options):
    features, validation = TESTS[name]
    design = validation if isinstance(validation, jm.KFold) else jm.SharedStructure(validation)
    return jm.permutation_test(jm.Ridge(), features, y, validation=design, **{**OPTIONS, **options})


@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
@pytest.mark.parametrize("correction", ["maxT", "minP", "holm"])
def test_each_test_is_the_test_on_its_own(correction, alternative):
    many = jm.permutation_tests(TESTS, y, correction=correction, alternative=alternative, alpha=0.2, **OPTIONS)
    assert list(many.names) == list(TESTS)
    for number, name in enumerate(TESTS):
        one = alone(name, alternative=alternative)
        assert many.statistic[number] == one.statistic and many.pvalue[number] == one.pvalue
        np.testing.assert_array_equal(many.null_distribution[:, number], one.null_distribution)
        assert many.zscore[number] == one.zscore
    assert (many.pvalue_adjusted >= many.pvalue).all()
    np.testing.assert_array_equal(many.rejected, many.pvalue_adjusted <= 0.2)


def test_maxima_are_those_of_the_same_permutations():
    many = jm.permutation_tests(TESTS, y, **OPTIONS)
    nulls = np.stack([alone(name).null_distribution for name in TESTS])
    np.testing.assert_array_equal(many.null_max, nulls.max(axis=0))
    expected = [(1 + (many.null_max >= s - 1e-12).sum()) / 100 for s in many.statistic]
    np.testing.assert_array_equal(many.pvalue_adjusted, expected)


@pytest.mark.parametrize("correction", ["maxT", "maxT-stepdown", "minP", "fdr_bh"])
def test_without_the_null_distributions_nothing_else_changes(correction, tmp_path):
    options = {"correction": correction, "studentize": correction == "maxT", **OPTIONS}
    whole, lean = (jm.permutation_tests(TESTS, y, keep_null=keep, **options) for keep in (True, False))
    assert lean.null_distribution is None
    lean.save(tmp_path / "lean.npz")
    for result in (lean, jm.load(tmp_path / "lean.npz")):
        assert repr(result) == repr(whole)
        for name in ("pvalue_adjusted", "zscore", "null_mean", "null_std", "null_max"):
            np.testing.assert_array_equal(getattr(result, name), getattr(whole, name))
    np.testing.assert_allclose(whole.null_std, whole.null_distribution.std(axis=0))


def test_complete_enumeration_of_a_small_family():
    few = {"a": (X[:6], X_val[:6]), "b": (NOISE[:6], NOISE[:6])}
    many = jm.permutation_tests(few, [0, 0, 0, 1, 1, 1], alpha=0.2, **OPTIONS)
    assert many.exact and many.null_max.size == 19  # 20 distinct labellings, the observed one among them.
    assert "every labelling" in repr(many)
    with pytest.raises(ValueError, match="with 19 labellings besides the observed one"):
        jm.permutation_tests(few, [0, 0, 0, 1, 1, 1], correction="holm", alpha=0.05, **OPTIONS)


def test_what_an_iterative_classifier_says_of_its_fits_is_the_worst_of_all_tests():
    with pytest.warns(UserWarning, match="stopped before they converged"):
        many = jm.permutation_tests(TESTS, y, classifier=jm.Softmax(max_steps=1, tol=1e-6), **OPTIONS)
    assert many.diagnostics["converged"].shape == (100,) and not many.diagnostics["converged"].any()


def test_saved_and_loaded_and_shown(tmp_path):
    many = jm.permutation_tests(TESTS, y, studentize=True, **OPTIONS)
    many.save(tmp_path / "family.npz")
    again = jm.load(tmp_path / "family.npz")
    table = again.to_dataframe()
    assert list(table.index) == list(TESTS)
    np.testing.assert_array_equal(table["pvalue_adjusted"], many.pvalue_adjusted)
    assert repr(again) == repr(many) and "studentized" in repr(many) and "signal" in repr(many)
    np.testing.assert_array_equal(again.labels(3), many.labels(3))


@pytest.mark.parametrize(
    ("tests", "options", "message"),
    [
        ({}, {}, "tests must map one or more names"),
        ([(X, X_val)], {}, "tests must map one or more names"),
        ({("fc1", 1): (X, X_val)}, {}, "must be strings"),
        ({"a": (X, X_val), "b": (X, X_val[:7])}, {}, "test 'b': X_val has 7 rows"),
        (TESTS, {"alternative": "two-sided", "n_permutations": 20}, "at least n_permutations=39"),
        (TESTS, {"n_permutations": -1}, "n_permutations must be an integer"),
        ({"a": X}, {}, "must be a pair"),
        ({"a": (X, X_val), "b": (X[:30], X_val[:30])}, {}, "test 'b': X has 30 rows, but y has 40 labels"),
        (TESTS, {"correction": "bonferroni", "n_permutations": 20}, "at least n_permutations=59"),
        (TESTS, {"correction": "tukey"}, "correction must be one of"),
        (TESTS, {"correction": "holm", "studentize": True}, "studentize is for maxT"),
        (TESTS, {"alpha": 1.0}, "alpha must lie strictly between 0 and 1"),
        (TESTS, {"classifier": jm.Ridge((1.0, 2.0))}, "has 2 hyperparameter values"),
    ],
)
def test_bad_families_are_refused(tests, options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        jm.permutation_tests(tests, y, **{**OPTIONS, **options})
