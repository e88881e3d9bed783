"""p-values: worked out by hand, SciPy's where SciPy has them, and never zero."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from jaxmem.inference import (
    ALTERNATIVES,
    JOINT,
    SEPARATE,
    adjusted,
    check_reachable,
    confidence_interval,
    family_pvalues,
    family_statistics,
    mid_pvalue,
    pvalue,
    single_step,
    step_down,
)

# One above, two ties, one below.
NULL = np.array([5.0, 3.0, 3.0, 1.0])


@pytest.mark.parametrize(
    ("statistic", "alternative", "expected"),
    [
        (3.0, "greater", 4 / 5),  # 5, 3, 3 and the observed one itself
        (3.0, "less", 4 / 5),
        (3.0, "two-sided", 1.0),  # twice 4/5, capped
        (4.0, "greater", 2 / 5),
        (4.0, "less", 4 / 5),
        (4.0, "two-sided", 4 / 5),
        (6.0, "greater", 1 / 5),  # never zero
        (6.0, "less", 1.0),
        (6.0, "two-sided", 2 / 5),
        (0.0, "less", 1 / 5),
    ],
)
def test_hand_worked(statistic, alternative, expected):
    assert pvalue(statistic, NULL, alternative) == expected


def test_greater_is_the_default():
    assert pvalue(4.0, NULL) == pvalue(4.0, NULL, "greater")


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("shift", [0.0, 1.2])
def test_equals_scipys_permutation_test(alternative, shift):
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 4, 12).astype(float) + shift, rng.integers(0, 4, 12).astype(float)
    theirs = stats.permutation_test(
        (x, y), lambda x, y: x.mean() - y.mean(), n_resamples=199, alternative=alternative, rng=0, vectorized=False
    )
    rounding = 100 * np.finfo(float).eps
    assert pvalue(theirs.statistic, theirs.null_distribution, alternative, rounding=rounding) == theirs.pvalue


def test_rounding_makes_near_ties_ties_in_both_directions():
    null = np.full(9, 0.3)
    above = 0.1 + 0.2  # 0.30000000000000004
    assert pvalue(above, null, "greater") == 0.1
    assert pvalue(above, null, "greater", rounding=100 * np.finfo(float).eps) == 1.0
    assert pvalue(0.3, np.full(9, above), "less") == 0.1
    assert pvalue(0.3, np.full(9, above), "less", rounding=100 * np.finfo(float).eps) == 1.0
    assert pvalue(0.31, null, "greater", rounding=100 * np.finfo(float).eps) == 0.1  # no wider than that
    assert pvalue(-0.3, np.full(9, -above), "greater", rounding=100 * np.finfo(float).eps) == 1.0


nulls = arrays(float, st.integers(1, 30), elements=st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]))


@given(nulls, st.sampled_from([-1.5, -1.0, 0.0, 0.5, 2.0]))
def test_the_two_tails_mirror_each_other_and_stay_in_range(null, statistic):
    greater, less, both = (pvalue(statistic, null, alternative) for alternative in ALTERNATIVES)
    assert greater == pvalue(-statistic, -null, "less")
    assert both == min(1.0, 2 * min(greater, less))
    for p in (greater, less, both):
        assert 1 / (1 + null.size) <= p <= 1
    # Every null value lies in one tail, ties in both, the observed one in both.
    assert greater + less == pytest.approx(1 + (1 + np.count_nonzero(null == statistic)) / (1 + null.size))


def test_unknown_alternatives_name_the_nearest():
    with pytest.raises(
        ValueError, match=r"alternative must be one of .* but is 'two-tailed'\. Did you mean 'two-sided'"
    ):
        pvalue(0.0, NULL, "two-tailed")


@pytest.mark.parametrize(("statistic", "null"), [(np.nan, NULL), (4.0, np.append(NULL, np.nan))])
def test_what_is_not_a_number_is_no_evidence(statistic, null):
    """Comparisons with NaN are false: uncounted, they would give the smallest p-value there is."""
    with pytest.raises(ValueError, match="NaN"):
        pvalue(statistic, null)


@pytest.mark.parametrize(
    ("statistic", "alternative", "expected"),
    [
        (3.0, "greater", (1 + 1.5) / 5),  # 5 above; 3, 3 and the observed one half
        (3.0, "less", (1 + 1.5) / 5),
        (4.0, "greater", 1.5 / 5),
        (6.0, "greater", 0.5 / 5),
        (6.0, "two-sided", 1 / 5),
    ],
)
def test_mid_pvalues_by_hand(statistic, alternative, expected):
    assert mid_pvalue(statistic, NULL, alternative) == pytest.approx(expected)


@pytest.mark.parametrize(("method", "scipys"), [("clopper-pearson", "exact"), ("wilson", "wilson")])
def test_intervals_are_scipys_and_cover(method, scipys):
    low, high = confidence_interval(7, 99, 0.9, method)
    expected = stats.binomtest(7, 99).proportion_ci(0.9, scipys)
    assert (low, high) == (expected.low, expected.high)
    # Coverage summed over all outcomes, not simulated: Clopper and Pearson's is at least 90% for every true value.
    B = 40
    intervals = np.array([confidence_interval(C, B, 0.9, method) for C in range(B + 1)])
    for truth in (0.01, 0.05, 0.2, 0.5):
        covered = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
        coverage = stats.binom.pmf(np.arange(B + 1), B, truth) @ covered
        assert coverage >= (0.9 if method == "clopper-pearson" else 0.82)


@pytest.mark.parametrize(("C", "B", "level"), [(-1, 9, 0.9), (10, 9, 0.9), (1, 9, 0.0), (1, 9, 1.0)])
def test_intervals_of_nonsense_are_refused(C, B, level):
    with pytest.raises(ValueError, match=r"expected 0 <=|strictly between"):
        confidence_interval(C, B, level)


pvalues_of_tests = arrays(float, st.integers(1, 12), elements=st.sampled_from([0.001, 0.01, 0.02, 0.05, 0.3, 1.0]))


@given(pvalues_of_tests)
def test_separate_corrections_are_their_definitions(p):
    n = len(p)
    np.testing.assert_allclose(adjusted(p, "bonferroni"), np.minimum(1, n * p))
    np.testing.assert_allclose(adjusted(p, "fdr_bh"), stats.false_discovery_control(p, method="bh"))
    np.testing.assert_allclose(adjusted(p, "fdr_by"), stats.false_discovery_control(p, method="by"))
    # Holm rejects the k smallest p-values if each of them, the j-th, is at most alpha / (n - j + 1).
    ordered, holm = np.sort(p), adjusted(p, "holm")
    for alpha in (0.01, 0.05, 0.1, 0.5):
        met = ordered <= alpha / (n - np.arange(n)) * (1 + 1e-12)
        n_rejected = n if met.all() else int(met.argmin())
        assert (holm <= alpha * (1 + 1e-12)).sum() == n_rejected


# Two tests under the observed labelling and three permutations.
FAMILY = np.array([[3.0, 1.0, 2.0, 3.0], [4.0, 5.0, 0.0, 1.0]])


def jointly_adjusted(statistics, correction, **options):
    if correction == "maxT-stepdown":
        return step_down(statistics, **options)
    return single_step(statistics[:, 0], statistics.max(axis=0), correction, **options)


def test_joint_corrections_by_hand():
    # The maxima are 4, 5, 2, 3: of 4 labellings 3 reach 3, and 2 reach 4.
    np.testing.assert_array_equal(jointly_adjusted(FAMILY, "maxT"), [3 / 4, 2 / 4])
    # Step-down: 4 against the same maxima, then 3 against the first test alone (2 of 4), but never below 2 / 4.
    np.testing.assert_array_equal(jointly_adjusted(FAMILY, "maxT-stepdown"), [2 / 4, 2 / 4])
    # minP: within the first test 3, 1, 2, 3 have p-values 2/4, 1, 3/4, 2/4; within the second 2/4, 1/4, 1, 3/4.
    statistics = family_statistics(FAMILY, "greater", "minP")
    np.testing.assert_array_equal(-statistics / 4, [[2 / 4, 1, 3 / 4, 2 / 4], [2 / 4, 1 / 4, 1, 3 / 4]])
    np.testing.assert_array_equal(jointly_adjusted(statistics, "minP"), [3 / 4, 3 / 4])


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("studentize", [False, True])
def test_a_family_of_one_is_the_test_itself(alternative, studentize):
    scores = np.random.default_rng(0).normal(size=(1, 100))
    for correction in JOINT:
        statistics = family_statistics(scores, alternative, correction, studentize=studentize)
        p = jointly_adjusted(statistics, correction)[0]
        if alternative != "two-sided":
            assert p == pvalue(scores[0, 0], scores[0, 1:], alternative)
        else:  # Distances from the mean, where `pvalue` doubles the smaller tail.
            distances = np.abs(scores[0] - scores[0].mean())
            assert p == (distances >= distances[0]).mean()


@pytest.mark.parametrize("correction", JOINT)
def test_infinite_statistics_tie_with_each_other(correction):
    scores = np.array([[1.0, np.inf, 0.0, np.inf], [np.inf, 0.0, np.inf, 1.0]])
    statistics = family_statistics(scores, "greater", correction, rounding=1e-5)
    pvalues = jointly_adjusted(statistics, correction, rounding=1e-5)
    np.testing.assert_array_equal(pvalues, [1, 1])  # Under every labelling one of the two is infinite.
    with pytest.raises(ValueError, match="infinite or NaN under some labelling"):
        family_statistics(scores, "greater", correction, studentize=True)


def test_minimal_pvalues_take_rounding_for_ties_and_compare_counts_exactly():
    scores = np.array([[1.0, 1.0 + 1e-7, 0.5, 0.0], [0.0, 3.0, 2.0, 1.0]])
    tied = -family_statistics(scores, "greater", "minP", rounding=1e-6)
    np.testing.assert_array_equal(tied[0], [2, 2, 3, 4])
    np.testing.assert_array_equal(-family_statistics(scores, "greater", "minP")[0], [2, 1, 3, 4])
    # Of very many labellings, the rounding of scores must not make ties of neighbouring counts.
    many = np.arange(200_000.0)[None, ::-1]
    statistics = family_statistics(many, "greater", "minP", rounding=1e-5 / 200_000)
    assert jointly_adjusted(statistics, "minP", rounding=1e-5)[0] == 1 / 200_000


def simulated(n_sets, n_true, rng, n_tests=6, n_columns=40):
    """Scores of correlated tests of very different spread, `n_true` of them under the hypothesis."""
    common = rng.normal(size=(n_sets, 1, n_columns))
    scores = 0.7 * common + rng.normal(size=(n_sets, n_tests, n_columns))
    scores[:, n_true:, 0] += 3
    return scores * np.geomspace(0.1, 10, n_tests)[None, :, None]


FAMILY_WISE = [
    *((correction, False, n_true) for correction in JOINT + SEPARATE[:2] for n_true in (6, 3)),
    *((correction, True, n_true) for correction in JOINT[:2] for n_true in (6, 3)),
    # Under the complete null every rejection is false, and the rate of false discoveries is the same thing.
    *((correction, False, 6) for correction in SEPARATE[2:]),
]


@pytest.mark.parametrize(("correction", "studentize", "n_true"), FAMILY_WISE)
def test_family_wise_error_rate_under_complete_and_partial_nulls(correction, studentize, n_true):
    n_sets, alpha = 2_000, 0.1
    errors = 0
    for scores in simulated(n_sets, n_true, np.random.default_rng(1)):
        if correction in JOINT:
            p = jointly_adjusted(family_statistics(scores, "greater", correction, studentize=studentize), correction)
        else:
            p = adjusted((scores >= scores[:, :1]).mean(axis=1), correction)
        errors += (p[:n_true] <= alpha).any()
    assert errors <= stats.binom.ppf(0.995, n_sets, alpha)
    if correction.startswith("maxT") and n_true == 6:
        # And nothing is given away: without ties the test is exact. (Of forty p-values many tie.)
        assert errors >= stats.binom.ppf(0.005, n_sets, alpha)


def test_stepping_down_rejects_all_that_single_step_rejects_and_more():
    more = 0
    for scores in simulated(200, 3, np.random.default_rng(2)):
        statistics = family_statistics(scores, "greater", "maxT", studentize=True)
        single, stepped = (jointly_adjusted(statistics, c) for c in ("maxT", "maxT-stepdown"))
        assert (stepped <= single).all()
        more += (stepped <= 0.1).sum() - (single <= 0.1).sum()
    assert more > 0


def test_studentising_finds_what_a_wide_null_hides():
    scores = np.random.default_rng(3).normal(size=(2, 200)) * np.array([[1.0], [100.0]])
    scores[0, 0] = 6.0
    hidden, found = (
        jointly_adjusted(family_statistics(scores, "greater", "maxT", studentize=s), "maxT")[0] for s in (False, True)
    )
    assert found == 1 / 200 and hidden > 0.2


@pytest.mark.parametrize(
    ("correction", "n_tests", "B", "needed"),
    [
        ("bonferroni", 20, 398, 399),
        ("holm", 20, 398, 399),
        ("maxT", 20, 18, 19),
        ("fdr_bh", 20, 18, 19),
        ("fdr_by", 2, 28, 29),
    ],
)
def test_too_few_permutations_for_a_correction_are_refused_with_the_number_it_takes(correction, n_tests, B, needed):
    with pytest.raises(ValueError, match=f"at least n_permutations={needed}\\b"):
        check_reachable(correction, n_tests, B, "less", 0.05)
    check_reachable(correction, n_tests, needed, "greater", 0.05)
    with pytest.raises(ValueError, match=f"at least n_permutations={2 * needed + 1}\\b"):
        check_reachable(correction, n_tests, needed, "two-sided", 0.05)


@pytest.mark.parametrize("pvalues", [[0.1, np.nan], [0.1, 1.5]])
def test_only_pvalues_are_adjusted(pvalues):
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        adjusted(np.array(pvalues), "holm")


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, float("nan")])
def test_alpha_lies_between_zero_and_one(alpha):
    with pytest.raises(ValueError, match="alpha must lie strictly between"):
        check_reachable("maxT", 2, 99, "greater", alpha)


@pytest.mark.parametrize("correction", SEPARATE + JOINT)
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_pvalues_of_a_family_are_made_of_its_parts(correction, alternative):
    scores = np.random.default_rng(0).normal(size=(4, 60)) * np.array([[1], [1], [5], [1]])
    scores[1, 0] = 4.0
    separate, together = family_pvalues(scores, alternative, correction)
    np.testing.assert_array_equal(separate, [pvalue(row[0], row[1:], alternative) for row in scores])
    if correction in SEPARATE:
        expected = adjusted(separate, correction)
    else:
        statistics = family_statistics(scores, alternative, correction, studentize=correction.startswith("maxT"))
        if correction == "maxT-stepdown":
            expected = step_down(statistics)
        else:
            expected = single_step(statistics[:, 0], statistics.max(axis=0), correction)
    np.testing.assert_array_equal(together, np.maximum(expected, separate))
