"""Tests of groups: networks are exchanged, and not pairs."""

import itertools

import numpy as np
import pytest
from scipy import stats

import jaxmem as jm

GROUPS = np.array(["true"] * 4 + ["random"] * 4 + ["other"] * 2)


def of_vectors(vectors):
    return np.corrcoef(vectors)


def alike_and_not(seed=0):
    """Four networks around a common vector, four of their own, two more."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(10, 40))
    vectors[:4] += 2 * rng.normal(size=40)
    return of_vectors(vectors)


def within(matrix, members):
    return np.mean([matrix[i, j] for i, j in itertools.combinations(members, 2)])


def test_every_labelling_is_taken_once():
    matrix = alike_and_not()
    test = jm.group_similarity_test(matrix, GROUPS, "true", "random")
    assert test.statistic == pytest.approx(within(matrix, range(4)) - within(matrix, range(4, 8)))
    every = []
    for first in itertools.combinations(range(8), 4):
        every.append(within(matrix, first) - within(matrix, set(range(8)) - set(first)))
    assert test.exact and len(test.null_distribution) == 69
    np.testing.assert_allclose(np.sort([test.statistic, *test.null_distribution]), np.sort(every))
    assert test.pvalue == 1 / 70
    assert jm.group_similarity_test(matrix, GROUPS, "random", "true", alternative="less").pvalue == 1 / 70
    assert jm.group_similarity_test(matrix, GROUPS, "true", "random", alternative="two-sided").pvalue == 2 / 70


def test_random_labellings_where_there_are_many():
    matrix = alike_and_not()
    test = jm.group_similarity_test(matrix, GROUPS, "true", "random", n_permutations=30, key=1)
    assert not test.exact and len(test.null_distribution) == 30
    again = jm.group_similarity_test(matrix, GROUPS, "true", "random", n_permutations=20, key=1)
    np.testing.assert_array_equal(test.null_distribution[:20], again.null_distribution)


def test_a_true_hypothesis_is_rejected_no_more_often_than_the_level_says():
    rng = np.random.default_rng(0)
    groups = [0] * 3 + [1] * 4  # 35 labellings: 3 of them are 0.0857.
    common = rng.normal(size=20)
    found = [
        jm.group_similarity_test(of_vectors(rng.normal(size=(7, 20)) + common), groups, 0, 1).pvalue <= 3 / 35
        for _ in range(400)
    ]
    assert stats.binomtest(int(np.sum(found)), 400, 3 / 35).pvalue > 1e-3


def around_a_centre(rng, n):
    return rng.normal(size=(n, 40)) + rng.normal(size=40)


def mixed(rng, n):
    """Networks that are nearly the same and others that are like none; pairs correlate by 1/2 on average."""
    alike, common = rng.random((n, 1)) < np.sqrt(0.5 / 0.9), rng.normal(size=40)
    return np.where(alike, np.sqrt(0.9) * common + np.sqrt(0.1) * rng.normal(size=(n, 40)), rng.normal(size=(n, 40)))


@pytest.mark.nightly
@pytest.mark.parametrize(("first", "stated"), [(around_a_centre, 0.076), (mixed, 0.325)])
def test_groups_of_equal_similarity_that_are_not_exchangeable_are_told_apart_as_often_as_stated(first, stated):
    """Not the hypothesis of the test, which is exact under another; but it is how it will be read."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(400):
        matrix = of_vectors(np.vstack([first(rng, 4), around_a_centre(rng, 4)]))
        found.append(jm.group_similarity_test(matrix, [0] * 4 + [1] * 4, 0, 1).pvalue <= 0.05)
    assert stats.binomtest(int(np.sum(found)), 400, stated).pvalue > 1e-3


def test_groups_may_be_numbers():
    matrix = alike_and_not()
    test = jm.group_similarity_test(matrix, [0] * 4 + [1] * 4 + [2] * 2, 0, 1)
    assert test.within(0).value == test.within("0").value == pytest.approx(within(matrix, range(4)))
    with pytest.raises(ValueError, match="group must be one of '0', '1'"):
        test.within(2)


def test_means_within_groups_are_told_with_intervals(tmp_path):
    matrix = alike_and_not()
    test = jm.group_similarity_test(matrix, GROUPS, "true", "random")
    assert test.within("true").value == pytest.approx(within(matrix, range(4)))
    difference = test.difference()
    assert difference.value == pytest.approx(test.statistic) and difference.low < test.statistic < difference.high
    assert "within true" in repr(test) and "every labelling" in repr(test)
    test.save(tmp_path / "test.npz")
    again = jm.load(tmp_path / "test.npz")
    assert repr(again) == repr(test)
    with pytest.raises(ValueError, match="group"):
        test.within("other")


def test_a_family_of_layers_is_adjusted_jointly():
    layers = {
        "layer1": alike_and_not(),
        "layer2": alike_and_not(1),
        "noise": of_vectors(np.random.default_rng(5).normal(size=(10, 9))),
    }
    family = jm.group_similarity_tests(layers, GROUPS, "true", "random")
    for number, matrix in enumerate(layers.values()):
        one = jm.group_similarity_test(matrix, GROUPS, "true", "random")
        assert family.statistic[number] == pytest.approx(one.statistic) and family.pvalue[number] == one.pvalue
        np.testing.assert_allclose(family.null_distribution[:, number], one.null_distribution)
    assert family.rejected.tolist() == [True, True, False]
    with pytest.raises(ValueError, match="cannot reach alpha"):
        jm.group_similarity_tests(layers, GROUPS, "true", "random", correction="bonferroni", alpha=0.01)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"first": "tru"}, "group 'tru' has 0 networks"),
        ({"first": "random"}, "the same group"),
        ({"groups": ["true"] + ["random"] * 9}, "'true' has 1 networks"),
        ({"groups": GROUPS[:9]}, r"has shape \(10, 10\), but groups names 9"),
        ({"similarities": np.full((10, 10), np.nan)}, "NaN"),
        ({"similarities": np.arange(100.0).reshape(10, 10)}, "symmetric"),
        ({"similarities": 1e-8 * np.arange(100.0).reshape(10, 10)}, "symmetric"),
        ({"groups": [1] * 5 + [2] * 5, "first": "1", "second": 2}, r"group '1' is of type str, .* int\('1'\)"),
        ({"groups": ["1"] * 5 + ["2"] * 5, "first": "1", "second": 2}, r"group 2 is of type int, .* str\(2\)"),
        ({"alternative": "more"}, "alternative"),
    ],
)
def test_bad_input_is_refused(changes, words):
    given = {"similarities": alike_and_not(), "groups": GROUPS, "first": "true", "second": "random"} | changes
    with pytest.raises(ValueError, match=words):
        jm.group_similarity_test(**given)
