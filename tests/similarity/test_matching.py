"""Tests of one pair: the null is that of rows matched at random, and a true hypothesis is rarely rejected."""

import itertools

import numpy as np
import pytest
from scipy import stats

import jaxmem as jm
from jaxmem.similarity import CKA


def pair(seed=0, n=24, noise=1.0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, X @ rng.normal(size=(3, 4)) + noise * rng.normal(size=(n, 4))


@pytest.mark.parametrize("measure", ["cka", "procrustes", "jensen-shannon"])
def test_the_null_is_that_of_permuted_rows(measure):
    X, Y = pair()
    X = np.column_stack([X, X[:, 0]])
    test = jm.similarity_test(X, Y, measure, n_permutations=30, key=3)
    assert test.statistic == pytest.approx(jm.pair_similarity(X, Y, measure), abs=1e-6)
    for index in (1, 2, 30):
        expected = jm.pair_similarity(X, Y[test.permutation(index)], measure)
        assert test.null_distribution[index - 1] == pytest.approx(expected, abs=2e-6)
    np.testing.assert_array_equal(test.permutation(0), np.arange(24))
    assert test.excess == pytest.approx(test.statistic - test.null_distribution.mean())
    side = (
        test.null_distribution >= test.statistic
        if measure != "jensen-shannon"
        else (test.null_distribution <= test.statistic)
    )
    assert test.pvalue == (1 + side.sum()) / 31


def test_all_orders_of_few_rows_are_taken_once():
    X, Y = np.array([0, 1, 1, 2, 0]), np.array([0, 1, 2, 2, 0])
    test = jm.similarity_test(X, Y, "agreement", n_permutations=119)
    every = [np.mean(Y[list(order)] == X) for order in itertools.permutations(range(5))]
    assert test.exact and test.pvalue == np.mean(np.array(every) >= 0.8 - 1e-9)
    # Under the permutations agreement is that by chance, which kappa takes off.
    assert np.append(test.null_distribution, test.statistic).mean() == pytest.approx((2 * 2 + 2 * 1 + 1 * 2) / 25)


def test_more_permutations_continue_the_same_null():
    X, Y = pair()
    few, many = (jm.similarity_test(X, Y, n_permutations=number, key=1) for number in (10, 25))
    np.testing.assert_array_equal(many.null_distribution[:10], few.null_distribution)


def rejections(measure, n_sets, seed):
    rng = np.random.default_rng(seed)
    return np.mean(
        [
            jm.similarity_test(*rng.normal(size=(2, 12, 3)), measure, n_permutations=19, key=number).pvalue <= 0.1
            for number in range(n_sets)
        ]
    )


def test_a_true_hypothesis_is_rejected_as_often_as_the_level_says():
    assert stats.binomtest(round(100 * rejections("cka", 100, 0)), 100, 0.1).pvalue > 1e-3


def test_networks_with_rows_that_coincide_are_rejected_no_more_often():
    rng = np.random.default_rng(3)

    def network():
        return np.where(rng.random((30, 1)) < 0.4, 0, rng.normal(size=(30, 3)))

    found = [jm.similarity_test(network(), network(), "neighbors", n_permutations=19).pvalue for _ in range(100)]
    assert stats.binomtest(int(np.sum(np.array(found) <= 0.1)), 100, 0.1, "greater").pvalue > 1e-3


@pytest.mark.nightly
@pytest.mark.parametrize("measure", ["cka", "rsa-spearman", "pwcca", "kappa"])
def test_type_one_errors(measure):
    found = rejections(measure, 300, 1)
    if measure == "kappa":  # Few values are possible, and ties count against rejection.
        assert found <= stats.binom.ppf(0.999, 300, 0.1) / 300
    else:
        assert stats.binomtest(round(300 * found), 300, 0.1).pvalue > 1e-3


def test_real_features_of_the_same_digits_are_found_alike_and_of_others_not():
    digits = real_digits()
    rng = np.random.default_rng(0)
    layers = [np.maximum(digits[:150] @ rng.normal(size=(784, 16)), 0) for _ in range(2)]
    other = np.maximum(digits[150:] @ rng.normal(size=(784, 16)), 0)
    assert jm.similarity_test(*layers, n_permutations=99).pvalue == 0.01
    test = jm.similarity_test(layers[0], other, n_permutations=99)
    assert test.pvalue > 0.05 and abs(test.excess) < 0.05


def real_digits():
    from jaxmem.data import load

    return load("digits").X_test[:300].reshape(300, -1)


def test_networks_of_small_logits_are_found_alike():
    X, Y = 1e-3 * np.random.default_rng(0).normal(size=(2, 40, 6))
    assert jm.similarity_test(X, X, "jensen-shannon", n_permutations=99).pvalue == 0.01
    family = jm.similarity_tests({"same": (X, X), "other": (X, Y)}, "jensen-shannon", n_permutations=99)
    assert family.pvalue[0] == 0.01 and family.pvalue_adjusted[0] == 0.01 and family.pvalue[1] > 0.01


def test_a_family_shares_its_permutations_and_adjusts_its_pvalues():
    X, Y = pair(noise=3.0)
    pairs = {"near": (X, Y), "far": (X, pair(9)[1]), "same": (X, X)}
    family = jm.similarity_tests(pairs, n_permutations=99, key=2)
    for number, (name, (A, B)) in enumerate(pairs.items()):
        one = jm.similarity_test(A, B, n_permutations=99, key=2)
        assert family.names[number] == name and family.pvalue[number] == one.pvalue
        np.testing.assert_allclose(family.null_distribution[:, number], one.null_distribution, atol=1e-6)
    null = family.null_distribution
    every = np.vstack([family.statistic, null])
    largest = ((every - every.mean(axis=0)) / every.std(axis=0)).max(axis=1)
    observed = (family.statistic - every.mean(axis=0)) / every.std(axis=0)
    np.testing.assert_allclose(family.pvalue_adjusted, [np.mean(largest >= one - 1e-9) for one in observed], atol=1e-9)
    assert family.to_dataframe().loc["same", "rejected"] and "same" in repr(family)


@pytest.mark.parametrize("correction", ["holm", "maxT-stepdown", "minP", "fdr_bh"])
def test_other_corrections_lie_between_none_and_bonferroni(correction):
    X, Y = pair(noise=3.0)
    family = jm.similarity_tests({"a": (X, Y), "b": (X, Y**2)}, correction=correction, n_permutations=99)
    assert (family.pvalue_adjusted >= family.pvalue).all() and (family.pvalue_adjusted <= 2 * family.pvalue).all()


def test_results_print_and_are_read_back(tmp_path):
    X, Y = pair()
    for result in (
        jm.similarity_test(X, Y, CKA("rbf"), n_permutations=19),
        jm.similarity_tests({"a": (X, Y)}, n_permutations=19),
    ):
        result.save(tmp_path / "result.npz")
        again = jm.load(tmp_path / "result.npz")
        assert type(again) is type(result) and repr(again) == repr(result)
        np.testing.assert_array_equal(again.null_distribution, result.null_distribution)


def test_bad_input_is_refused(unchecked):
    X, Y = pair()
    with pytest.raises(ValueError, match="Y has 23 rows, but X has 24"):
        jm.similarity_test(X, Y[1:])
    with pytest.raises(ValueError, match="n_permutations"):
        jm.similarity_test(X, Y, n_permutations=0)
    with pytest.raises(ValueError, match="map one or more names"):
        jm.similarity_tests({})
    for no_pair in (3.0, X[0, 0], (X,), (X, Y, Y)):
        with pytest.raises(ValueError, match=r"^pairs\['b'\] must be two arrays, \(X, Y\), but is"):
            jm.similarity_tests({"a": (X, Y), "b": no_pair})
    with pytest.raises(ValueError, match=r"pairs\['b'\]\[0\] has 23 rows"):
        jm.similarity_tests({"a": (X, Y), "b": (X[1:], Y[1:])})
    with pytest.raises(ValueError, match="takes at least n_permutations=39"):
        jm.similarity_tests({"a": (X, Y), "b": (X, X)}, correction="holm", n_permutations=19)
