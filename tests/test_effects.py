"""Differences between memorization tests, areas under perturbation curves, verdicts and memorized examples."""

from dataclasses import replace

import jax
import jaxtyping
import numpy as np
import pytest
from helpers import blobs
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier

import jaxmem as jm
from jaxmem.results import memorization_index

X, y, X_val = blobs(40, 6, 3, separation=0.7)
SHARED = jm.SharedStructure(X_val)


def result(paired, broken, statistic=0.9, **changes):
    """A test with the given nulls: what is inferred depends on nothing else."""
    template = jm.memorization_test(jm.Ridge(), X, y, SHARED, n_permutations=3)
    values = {
        "n_permutations": len(paired),
        "null_distribution": np.asarray(paired, float),
        "chance_distribution": np.asarray(broken, float),
        "statistic": statistic,
        "learning_pvalue": (1 + (np.asarray(paired) >= statistic).sum()) / (1 + len(paired)),
        "memorization_pvalue": 0.01 if np.mean(paired) > np.mean(broken) + 0.05 else 0.6,
    }
    return replace(template, **values | changes)


# --- Estimates and the test of memorization ---------------------------------------------------------------------


def test_estimates_are_the_indices_with_an_interval():
    test = jm.memorization_test(jm.KNeighbors(1), X, y, SHARED, n_permutations=99)
    for quantity, value in {
        "memorization": test.memorization,
        "learning": test.learning,
        "chance": test.chance,
        "null": test.null_distribution.mean(),
        "selectivity": test.statistic - test.null_distribution.mean(),
    }.items():
        assert quantity == "null" or getattr(test, quantity) == pytest.approx(value)
        estimate = test.estimate(quantity)
        assert estimate.value == pytest.approx(value)
        assert estimate.low < value < estimate.high
        assert test.estimate(quantity, 0.5).low > estimate.low


def test_an_enumeration_leaves_only_the_broken_labels_to_chance():
    few, copies = X[:6], jm.SharedStructure(X_val[:6])
    test = jm.memorization_test(jm.Ridge(), few, np.arange(6) % 2, copies)
    assert test.exact
    assert test.estimate("learning").low == test.estimate("learning").high == pytest.approx(test.learning)
    assert test.estimate("memorization").low < test.estimate("memorization").high
    with pytest.raises(ValueError, match="every labelling was taken once"):
        _ = test.example_pvalues


@pytest.mark.parametrize(
    ("classifier", "n_permutations"),
    [
        (jm.Ridge(), 9),
        (jm.Ridge(), 199),
        (jm.KNeighbors(1), 199),
    ],
    ids=repr,
)
@pytest.mark.nightly
def test_copies_that_share_nothing_are_called_memorized_at_the_level(classifier, n_permutations):
    """Type I error over data sets whose copies are of other rows. Two such sets line up by chance, always a little."""
    pvalues = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        features, copies = rng.normal(size=(2, 40, 3))
        copies = jm.SharedStructure(copies)
        options = {"n_permutations": n_permutations, "key": seed, "progress": False}
        test = jm.memorization_test(classifier, features, np.arange(40) % 2, copies, **options)
        pvalues.append(test.memorization_pvalue)
    for alpha in (0.05, 0.1, 0.2):
        assert (np.array(pvalues) <= alpha).sum() <= stats.binom.ppf(0.995, 200, alpha)
    assert np.mean(np.array(pvalues) <= 0.2) > 0.08


@pytest.mark.nightly
def test_copies_of_their_rows_are_found_wherever_they_stand():
    """Near copies in any order, several of a row or none: matched as they belong, they stand out."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, 40, 70)
    for classifier in (jm.KNeighbors(1), jm.Ridge(), KNeighborsClassifier(1)):
        copies = jm.SharedStructure(X[source] + 0.1 * rng.normal(size=(70, 6)), source)
        test = jm.memorization_test(classifier, X, y, copies, n_permutations=49, batch_size=20)
        assert test.memorization_pvalue == 1 / 40  # 39 other rows.
    wrong = jm.SharedStructure(X[source] + 0.1 * rng.normal(size=(70, 6)), rng.permutation(source))
    assert jm.memorization_test(jm.KNeighbors(1), X, y, wrong, n_permutations=49).memorization_pvalue > 0.1


def test_matchings_are_counted_as_they_are_defined():
    """All re-matchings of a few rows, by the labels that the fits of the result predict."""
    rows, labels = X[:7], np.arange(7) % 3
    copies = rows + np.random.default_rng(1).normal(size=rows.shape)
    test = jm.memorization_test(jm.KNeighbors(1), rows, labels, jm.SharedStructure(copies), n_permutations=20)
    nearest = ((copies[:, None] - rows[None]) ** 2).sum(axis=2).argmin(axis=1)
    key = jax.random.fold_in(jax.random.key(0), 2**32 - 2)
    order = np.asarray(jax.random.permutation(jax.random.split(key)[0], 7))
    place = np.argsort(order)
    shuffled = np.stack([test.labels(b) for b in range(1, 21)])
    hits = [(shuffled[:, nearest] == shuffled[:, order[(place + step) % 7]]).sum() for step in range(7)]
    assert test.memorization_pvalue == np.mean(np.array(hits) >= hits[0])


# --- The verdict ------------------------------------------------------------------------------------------------

CHANCE = np.tile([0.1, 0.12, 0.08], 33)


@pytest.mark.parametrize(
    ("paired", "statistic", "learning", "memorization", "words"),
    [
        (CHANCE + 0.3, 0.9, True, True, ("Both learning and memorization", "not generalization", "untrained")),
        (CHANCE[::-1], 0.9, True, False, ("Learning, and no memorization that shows", "see more")),
        (CHANCE + 0.3, 0.4, False, True, ("Memorization, and no learning that shows", "untrained", "see more")),
        (CHANCE[::-1], 0.1, False, False, ("Neither learning nor memorization that shows", "see more")),
    ],
)
def test_the_verdict_says_which_of_four_holds(paired, statistic, learning, memorization, words):
    verdict = result(paired, CHANCE, statistic).verdict()
    assert (verdict.learning, verdict.memorization) == (learning, memorization)
    assert all(each in str(verdict) for each in (*words, "at level 0.05", "Ridge"))
    assert ("untrained" in str(verdict)) == memorization and ("see more" in str(verdict)) == (
        not (learning and memorization)
    )


def test_the_verdict_adjusts_for_there_being_two():
    # p = 0.04 for learning, and 0.6 for memorization: twice 0.04 is above the level.
    paired = np.r_[1.0, np.full(48, 0.1)]
    test = result(paired, np.full(49, 0.1), 0.9)
    assert test.learning_pvalue == 0.04 and not test.verdict(0.05).learning and test.verdict(0.08).learning
    with pytest.raises(ValueError, match="alpha must lie"):
        test.verdict(1.0)


@pytest.mark.parametrize(("n", "shows"), [(39, False), (40, True)])
def test_the_verdict_says_where_rows_are_too_few_for_memorization(n, shows):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, 6))
    copies = jm.SharedStructure(features)
    test = jm.memorization_test(jm.KNeighbors(1), features, np.arange(n) % 2, copies, n_permutations=99)
    verdict = test.verdict()
    assert verdict.memorization == shows
    assert ("memorization cannot show at this level: its p-value is 0.026 or more" in str(verdict)) != shows


def test_a_perfect_null_leaves_nothing_to_learn_and_the_verdict_says_so():
    verdict = result(np.ones(99), CHANCE, 1.0).verdict()
    assert "nothing is left that learning could add" in str(verdict) and "nan" in str(verdict)


# --- Comparisons ------------------------------------------------------------------------------------------------


def test_what_two_tests_share_cancels_in_their_difference():
    noise = 0.05 * np.random.default_rng(2).normal(size=999)
    own = 0.001 * np.random.default_rng(3).normal(size=(2, 999))
    first, second = result(0.41 + noise + own[0], 0.1 + 0 * noise), result(0.40 + noise + own[1], 0.1 + 0 * noise)
    compared = jm.compare_memorization(first, second)
    assert compared.value == pytest.approx(first.memorization - second.memorization)
    assert compared.low < 0.01 / 0.9 < compared.high
    assert compared.pvalue < 1e-6
    # Either index alone is known a hundred times less well than the difference.
    assert first.estimate("memorization").standard_error > 20 * (compared.high - compared.low) / 4
    swapped = jm.compare_memorization(second, first)
    assert swapped.value == -compared.value and swapped.pvalue == compared.pvalue
    assert f"{compared:.3f}" == f"{compared.value:.3f} [{compared.low:.3f}, {compared.high:.3f}]"


def test_equal_tests_do_not_differ():
    test = result([0.3, 0.4, 0.2], [0.1, 0.1, 0.2])
    assert jm.compare_memorization(test, test) == (0, 0, 0, 0, 1)


def test_comparisons_hold_their_level():
    draws = np.random.default_rng(4).normal(0.3, 0.05, size=(1_000, 4, 99))
    template = result([0.1, 0.2], [0.2, 0.1])
    tests = [
        [replace(template, null_distribution=one[k], chance_distribution=one[k + 1] - 0.2) for k in (0, 2)]
        for one in draws
    ]
    compared = [jm.compare_memorization(*pair) for pair in tests]
    rejected = sum(c.pvalue <= 0.05 for c in compared)
    assert stats.binom.ppf(1e-3, 1_000, 0.05) <= rejected <= stats.binom.ppf(0.999, 1_000, 0.05)
    assert all((c.pvalue <= 0.05) == (not c.low <= 0 <= c.high) for c in compared)


def test_a_stronger_perturbation_leaves_less_to_recover():
    noise = np.random.default_rng(5).normal(size=X.shape)
    strengths = {sd: jm.SharedStructure(X + sd * noise) for sd in (0.1, 0.5, 2.0)}
    tests = jm.memorization_tests(jm.KNeighbors(1), X, y, {str(sd): v for sd, v in strengths.items()})
    curve = {sd: tests[str(sd)] for sd in strengths}
    less = jm.compare_memorization(curve[2.0], curve[0.1])
    assert less.high < 0 and less.pvalue < 1e-6
    heights = [curve[sd].memorization for sd in (0.1, 0.5, 2.0)]
    area = jm.perturbation_area(dict(reversed(curve.items())))
    assert jm.perturbation_area({"10": curve[2.0], "9": curve[0.5], "2": curve[0.1]}) == jm.perturbation_area(
        {2: curve[0.1], 9.0: curve[0.5], 10: curve[2.0]}
    )
    assert area.value == pytest.approx(np.trapezoid(heights, [0.1, 0.5, 2.0]) / 1.9)
    assert area.low < area.value < area.high and heights[2] < area.value < heights[0]


@pytest.mark.parametrize(
    ("change", "name"), [({"y": (y + 1) % 3}, "y"), ({"key_data": np.array([0, 9], np.uint32)}, "key_data")]
)
def test_tests_of_other_permutations_are_not_compared(change, name):
    test = jm.memorization_test(jm.Ridge(), X, y, SHARED, n_permutations=3)
    with pytest.raises(ValueError, match=f"differ in `{name}`"):
        jm.compare_memorization(test, replace(test, **change))
    with pytest.raises(ValueError, match="3 permutations and another 4"):
        jm.perturbation_area({1.0: test, 2.0: jm.memorization_test(jm.Ridge(), X, y, SHARED, n_permutations=4)})
    with pytest.raises(ValueError, match="at least 2 different finite strengths"):
        jm.perturbation_area({1.0: test})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda test: jm.compare_memorization(test, 2), "results of jm.memorization_test, but got a int"),
        (lambda test: jm.perturbation_area({"weak": test, "strong": test}), "must map strengths, numbers"),
        (lambda test: jm.perturbation_area([test]), "must map strengths, numbers"),
        (lambda test: jm.perturbation_area({1: test, float("nan"): test}), "different finite strengths"),
        (lambda test: jm.perturbation_area({1: test, "1.0": test}), "different finite strengths"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        call(result([0.3, 0.4], [0.1, 0.2]))


def test_an_index_that_is_not_defined_makes_no_difference_significant():
    nowhere = result([1.0, 1.0, 1.0], [1.0, 1.0, 1.0])
    assert np.isnan(jm.compare_memorization(nowhere, result([0.3, 0.4, 0.2], [0.1, 0.1, 0.2])).pvalue)


# --- Single rows ------------------------------------------------------------------------------------------------


def test_memorized_examples_are_those_whose_copies_find_them():
    """Half of the copies lie on their sources, half anywhere: 1-NN recovers the labels of the first half."""
    near = np.arange(40) < 20
    anywhere = np.random.default_rng(6).normal(size=X.shape)
    test = jm.memorization_test(
        jm.KNeighbors(1), X, y, jm.SharedStructure(np.where(near[:, None], X, anywhere)), n_permutations=199
    )
    assert (test.example_scores[near] == 1).all()
    memorized = test.memorized_examples()
    assert memorized[near].all() and memorized[~near].mean() < 0.2
    table = test.examples()
    assert set(table.index[:20]) >= set(np.flatnonzero(near)[:1]) and (table["rank"] == np.arange(1, 41)).all()
    assert (np.diff(table["example_score"]) <= 0).all() and table["pvalue_adjusted"].iloc[0] < 1e-6
    assert (table["pvalue_adjusted"].to_numpy() >= table["pvalue"].to_numpy()).all()


def test_example_pvalues_are_binomial_and_conservative():
    test = jm.memorization_test(jm.KNeighbors(1), X, y, jm.SharedStructure(X_val[::-1]), n_permutations=199)
    k = np.rint(test.example_scores * 199).astype(int)
    largest = np.bincount(y).max() / len(y)
    expected = [stats.binomtest(int(each), 199, largest, alternative="greater").pvalue for each in k]
    np.testing.assert_allclose(test.example_pvalues, expected)
    with pytest.raises(ValueError, match="alpha must lie"):
        test.memorized_examples(0.0)


def test_margins_point_at_wrong_labels():
    rows, labels, _ = blobs(90, 5, 3, separation=3.0)
    wrong = np.arange(90) % 10 == 0
    noisy = np.where(wrong, (labels + 1) % 3, labels)
    for design in (jm.KFold(5), jm.KFold(5, stratified=True), jm.Resubstitution()):
        margins = jm.example_margins(jm.LDA(), rows, noisy, validation=design)
        assert margins.shape == (90,) and margins[wrong].max() < np.quantile(margins[~wrong], 0.1)


def test_margins_equal_their_definition_and_scikit_learns():
    from sklearn.linear_model import RidgeClassifier

    ours = jm.example_margins(jm.Ridge(), X, y, validation=SHARED)
    scores = RidgeClassifier().fit(X, y).decision_function(X_val)
    own = scores[np.arange(len(y)), y]
    scores[np.arange(len(y)), y] = -np.inf
    np.testing.assert_allclose(2 * ours, own - scores.max(axis=1), atol=1e-4)  # Indicators are -1 and 1 there.
    theirs = jm.example_margins(RidgeClassifier(), X, y, validation=SHARED)
    np.testing.assert_allclose(theirs, 2 * ours, atol=1e-4)
    independent = jm.example_margins(jm.Ridge(), X, y, validation=jm.Holdout(X_val, y))
    np.testing.assert_array_equal(independent, ours)
    with pytest.raises(ValueError, match="one label per row"):
        jm.example_margins(jm.Ridge(), X[:-1], y, validation=SHARED)
    with pytest.raises(ValueError, match="one value per hyperparameter"):
        jm.example_margins(jm.Ridge((1.0, 2.0)), X, y, validation=SHARED)


def test_the_index_is_one_formula():
    assert memorization_index(0.55, 0.1) == pytest.approx(0.5)
