"""Intervals: closed forms where there are some, and coverage everywhere else."""

import numpy as np
import pytest
from scipy import stats

from jaxmem.inference import (
    Estimate,
    difference_of_pairs,
    hierarchical_interval,
    of_means,
    of_pairs,
    quantile_interval,
)

rng = np.random.default_rng(0)


def assert_covers(covered, level, *, slack=0.0):
    """That `level` is not refuted: as many sets as were simulated would be off by less in 999 of 1,000 cases."""
    covered = np.asarray(covered)
    assert covered.sum() >= stats.binom.ppf(1e-3, covered.size, level - slack)


def test_the_mean_has_students_interval():
    values = rng.normal(size=(20, 1))
    estimate = of_means(lambda m: m, values, 0.9)
    low, high = stats.t.interval(0.9, 19, values.mean(), stats.sem(values[:, 0]))
    np.testing.assert_allclose(estimate, [values.mean(), low, high, stats.sem(values[:, 0])])
    assert f"{Estimate(0.25, 0.2, 0.3, 0.1):.2f}" == "0.25 [0.20, 0.30]"


def test_a_function_of_means_has_the_delta_methods_error():
    values = rng.normal([1, 2], 0.1, size=(5_000, 2))
    x, y = values.mean(axis=0)
    gradient = np.array([1 / y, -x / y**2])
    expected = np.sqrt(gradient @ np.cov(values.T) @ gradient / 5_000)
    assert of_means(lambda a, b: a / b, values).standard_error == pytest.approx(expected, rel=1e-3)


def test_the_interval_of_an_index_covers():
    """Of the memorization index, from the correlated accuracies that one fit has on paired and broken labels."""
    common = rng.normal(size=(2_000, 99, 1))
    draws = np.array([0.3, 0.1]) + 0.02 * (common + rng.normal(size=(2_000, 99, 2)))
    estimates = [of_means(lambda m, c: (m - c) / (1 - c), one) for one in draws]
    truth = (0.3 - 0.1) / 0.9
    covered = [e.low <= truth <= e.high for e in estimates]
    assert_covers(covered, 0.95)
    assert np.mean(covered) < 0.97


@pytest.mark.parametrize("q", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("B", [19, 99, 400])
def test_quantiles_are_covered_whatever_the_distribution(q, B):
    intervals = [quantile_interval(one, q, 0.9) for one in rng.exponential(size=(2_000, B))]
    covered = [low <= stats.expon.ppf(q) <= high for low, high in intervals]
    assert_covers(covered, 0.9)
    # By the definition: the number of values at or below the quantile is binomial.
    values = np.arange(1.0, B + 1)
    low, high = quantile_interval(values, q, 0.9)
    low, high = max(low, 0), min(high, B + 1)
    assert stats.binom.cdf(low - 1, B, q) <= 0.05 and stats.binom.sf(high - 1, B, q) <= 0.05
    assert stats.binom.cdf(low, B, q) > 0.05 and stats.binom.sf(high - 2, B, q) > 0.05  # And no wider.


def test_discrete_values_are_covered_too():
    intervals = [quantile_interval(one, 0.5, 0.9) for one in rng.binomial(10, 0.3, size=(1_000, 50)).astype(float)]
    assert_covers([low <= 3 <= high for low, high in intervals], 0.9)


@pytest.mark.parametrize(("n_seeds", "n_draws"), [(5, 1), (5, 3), (12, 3)])
def test_seeds_and_draws_are_covered(n_seeds, n_draws):
    """Networks differ, and draws within a network do: the truth is the mean over both."""
    sets = rng.normal(size=(400, n_seeds, 1)) + 0.5 * rng.normal(size=(400, n_seeds, n_draws))
    covered = [e.low <= 0 <= e.high for e in (hierarchical_interval(one, n_resamples=999) for one in sets)]
    assert_covers(covered, 0.95, slack=0.02)  # A bootstrap holds its level for many seeds, and nearly for few.


def test_draws_alone_would_promise_too_much():
    """The trap that the hierarchy avoids: a thousand draws of five networks are five networks."""
    values = rng.normal(size=(5, 1)) + 0.01 * rng.normal(size=(5, 1_000))
    estimate = hierarchical_interval(values)
    assert estimate.standard_error == pytest.approx(values.mean(axis=1).std(ddof=1) / np.sqrt(5))
    assert estimate.high - estimate.low > 2 * 1.96 * values.std() / np.sqrt(values.size)


def test_the_bootstrap_repeats_itself_and_ends_in_a_point_where_nothing_varies():
    values = rng.normal(size=(6, 2))
    assert hierarchical_interval(values, seed=1) == hierarchical_interval(values, seed=1)
    assert hierarchical_interval(values, seed=1) != hierarchical_interval(values, seed=2)
    assert hierarchical_interval(np.full((5, 2), 0.5)) == (0.5, 0.5, 0.5, 0.0)
    assert np.isinf(hierarchical_interval(rng.normal(size=(2, 1))).high)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: of_means(lambda m: m, np.ones((1, 1))), "at least 2 permutations"),
        (lambda: of_means(lambda m: m, np.ones((3, 1)), 1.0), "confidence_level must lie"),
        (lambda: quantile_interval(np.ones(3), 1.0), "q must lie"),
        (lambda: quantile_interval(np.ones(3), 0.5, 0.0), "confidence_level must lie"),
        (lambda: hierarchical_interval(np.ones((1, 3))), "at least 2 seeds"),
        (lambda: hierarchical_interval(np.ones((3, 3)), 2.0), "confidence_level must lie"),
    ],
)
def test_what_has_no_interval_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_intervals_over_networks_by_hand():
    # Leaving a network out leaves means 3, 2, 1 (of pairs 23, 13, 12); their mean is 2, and squares sum to 2.
    matrix = np.array([[9.0, 1, 2], [1, 9, 3], [2, 3, 9]])
    found = of_pairs(matrix)
    assert found.value == 2 and found.standard_error == pytest.approx(np.sqrt(2 / 3 * 2))
    assert found.high == pytest.approx(2 + stats.t.ppf(0.975, 2) * found.standard_error)
    assert of_pairs(matrix[:2, :2]) == (1, -np.inf, np.inf, np.inf)
    both = np.zeros((6, 6))
    both[:3, :3], both[3:, 3:] = matrix, 2 * matrix
    found = difference_of_pairs(both, np.arange(6) < 3)
    assert found.value == -2 and found.standard_error == pytest.approx(np.sqrt(4 / 3 + 16 / 3))
    with pytest.raises(ValueError, match="2 networks or more"):
        of_pairs(matrix[:1, :1])
    with pytest.raises(ValueError, match="finite"):
        of_pairs(np.full((3, 3), np.nan))


@pytest.mark.parametrize("n", [4, 8])
def test_intervals_cover_the_mean_of_all_networks(n):
    """Correlations of random vectors around a common one; 0.95 of the intervals are to hold the mean over all pairs."""
    rng = np.random.default_rng(n)
    centre = np.linspace(-1, 1, 20)
    truth = np.corrcoef(rng.normal(size=(600, 20)) + centre)[np.triu_indices(600, 1)].mean()
    covered, covered_as_if_independent = [], []
    for _ in range(400):
        matrix = np.corrcoef(rng.normal(size=(n, 20)) + centre)
        found = of_pairs(matrix)
        covered.append(found.low <= truth <= found.high)
        values = matrix[np.triu_indices(n, 1)]
        reach = stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
        covered_as_if_independent.append(abs(values.mean() - truth) <= reach)
    assert 0.92 <= np.mean(covered) <= 0.99
    assert np.mean(covered_as_if_independent) < np.mean(covered)
