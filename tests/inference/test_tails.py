"""Extrapolated p-values against known tails, and the counted ones wherever no tail can be trusted."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from jaxmem.inference import pvalue, tails
from jaxmem.inference.tails import TailFit, tail_pvalue

NORMAL = np.random.default_rng(0).standard_normal(2_000)
KNOWN = {"normal": stats.norm, "exponential": stats.expon, "t5": stats.t(5), "uniform": stats.uniform}


def log_errors(law, B, true_p, n_seeds=60):
    """log10 of p over the true one, extrapolated and counted."""
    statistic = float(law.isf(true_p))
    errors = []
    for seed in range(n_seeds):
        null = law.isf(np.random.default_rng(seed).random(B))
        errors.append([tail_pvalue(statistic, null, seed=seed).pvalue, pvalue(statistic, null)])
    return np.log10(np.array(errors) / true_p).T


def rms(errors):
    return np.sqrt(np.mean(errors**2))


# The median over 600 other seeds, and how much smaller the root mean square error is than the counted p-value's. The
# exponential and the uniform distribution are GPDs; that their medians lie above 0 keeps the level on average.
@pytest.mark.parametrize(
    ("name", "B", "true_p", "median", "times"),
    [
        ("normal", 2_000, 1e-4, 0.02, 1.1),
        ("exponential", 2_000, 1e-4, 0.17, 1.3),
        ("t5", 2_000, 1e-4, -0.10, 1.1),
        ("uniform", 2_000, 1e-4, 0.50, 1.1),
        ("normal", 10_000, 1e-5, 0.17, 1.4),
        ("exponential", 10_000, 1e-5, 0.26, 1.5),
        ("t5", 10_000, 1e-5, 0.07, 1.5),
        ("uniform", 10_000, 1e-5, 0.77, 1.1),
    ],
)
def test_known_tails_are_met_more_closely_than_by_counting(name, B, true_p, median, times):
    extrapolated, counted = log_errors(KNOWN[name], B, true_p)
    # Standard error of a median of 60: about 1.25 * 0.5 / 8.
    assert np.median(extrapolated) == pytest.approx(median, abs=0.2)
    assert rms(extrapolated) * times < rms(counted)


def test_a_true_pareto_tail_rejects_about_as_often_as_the_level_says(monkeypatch):
    """Not by counting rare rejections: by the true probability of a statistic whose p-value is at most the level."""
    monkeypatch.setattr(tails, "_goodness", lambda exceedances, rng: 1.0)  # most of the time, and always true here
    level, B = 1e-4, 1_000
    averaged, best = [], []
    for seed in range(70):
        null = np.random.default_rng(seed).exponential(size=B)
        low, high = 5.0, 16.0
        for _ in range(9):
            middle = (low + high) / 2
            fit = tail_pvalue(middle, null)
            low, high = (middle, high) if fit.pvalue > level else (low, middle)
        averaged.append(stats.expon.sf(high))
        beyond = level * (B + 1) / (fit.n_exceedances + 1)
        best.append(stats.expon.sf(fit.threshold + stats.genpareto.isf(beyond, fit.shape, scale=fit.scale)))
    # Over 400 seeds 1.13 times as often; with a p-value from the best fit alone, 1.98 times.
    assert 0.6 * level < np.mean(averaged) < 1.4 * level
    assert np.mean(best) > 1.4 * np.mean(averaged)


def test_ten_counted_are_enough():
    ordered = np.sort(NORMAL)[::-1]
    enough = tail_pvalue(float(ordered[9]), NORMAL)
    assert enough.pvalue == pvalue(ordered[9], NORMAL) == 11 / 2_001
    assert not enough.extrapolated and not enough.below_resolution and enough.n_exceedances == 0
    assert np.isnan([enough.shape, enough.scale, enough.threshold, enough.gof_pvalue]).all()
    assert tail_pvalue(float(ordered[8]), NORMAL).extrapolated
    # What rounding counts as a tie counts here.
    assert not tail_pvalue(float(ordered[9]) + 1e-9, NORMAL, rounding=1e-8).extrapolated
    # Where both exist they agree: nine are above.
    assert tail_pvalue(float(ordered[8]), NORMAL).pvalue == pytest.approx(10 / 2_001, rel=0.3)


def test_what_was_fitted_is_told():
    fit = tail_pvalue(4.0, NORMAL)
    ordered = np.sort(NORMAL)[::-1]
    assert (fit.n_exceedances, fit.extrapolated) == (250, True)
    assert fit.threshold == pytest.approx((ordered[249] + ordered[250]) / 2)
    assert 0.05 < fit.gof_pvalue <= 1
    # The p-value is near the best fit's, scaled by the share of the null beyond the threshold.
    best = 251 / 2_001 * stats.genpareto.sf(3.0 - fit.threshold, fit.shape, scale=fit.scale)
    assert tail_pvalue(3.0, NORMAL).pvalue == pytest.approx(best, rel=0.25)
    assert tail_pvalue(4.0, NORMAL[:400]).n_exceedances == 100  # a quarter


@pytest.mark.parametrize("shape", [-0.5, -0.1, 0.2, 0.8])
def test_parameters_are_scipys(shape):
    """Within a fraction of their standard error of the maximum likelihood estimates, on average over samples."""
    differences = []
    for seed in range(8):
        null = stats.genpareto.rvs(shape, scale=3.0, size=1_000, random_state=seed)
        fit = tail_pvalue(1e9, null)
        if fit.n_exceedances < 250:
            continue
        exceedances = null[null > fit.threshold] - fit.threshold
        c, _, scale = stats.genpareto.fit(exceedances, floc=0)
        differences.append([fit.shape - c, np.log(fit.scale / scale)])
    assert len(differences) >= 6
    # The standard errors are (1 + c) / sqrt(250) of the shape, and about sqrt(2 / 250) of the log scale.
    assert np.abs(np.mean(differences, axis=0)).max() < 0.05
    assert np.abs(differences).max() < 0.12


def test_goodness_of_fit_keeps_its_level_and_is_uniform():
    fits = [tail_pvalue(1e9, stats.genpareto.rvs(0.1, size=400, random_state=seed), seed=seed) for seed in range(400)]
    # The first attempt has 100 exceedances; fewer mean that it was rejected.
    rejected = sum(fit.n_exceedances < 100 for fit in fits)
    assert stats.binomtest(rejected, 400, 0.05).pvalue > 0.001
    accepted = [fit.gof_pvalue for fit in fits if fit.n_exceedances == 100]
    assert stats.kstest(accepted, stats.uniform(0.05, 0.95).cdf).pvalue > 0.001


def test_a_tail_that_fits_further_out_is_found_there():
    """A step in the density 150 from the end: 250 exceedances have it among them, 150 do not."""
    rng = np.random.default_rng(3)
    null = np.concatenate([rng.uniform(-20, 0, 1_850), 3 + rng.exponential(size=150)])
    fit = tail_pvalue(3 + float(stats.expon.isf(1e-4 / 0.075)), null)
    assert fit.extrapolated and fit.n_exceedances in range(30, 151)
    assert fit.pvalue == pytest.approx(1e-4, rel=2)


def bimodal():
    """A gap 15 from the end, among every 30 exceedances and more."""
    rng = np.random.default_rng(1)
    return np.concatenate([rng.standard_normal(1_985), 50 + rng.standard_normal(15)])


@pytest.mark.parametrize(
    "null",
    [
        bimodal(),
        np.random.default_rng(2).binomial(40, 0.5, 2_000) / 40,  # accuracies on 40 rows
        np.ones(2_000),
        np.repeat([0.0, 1.0], [1_000, 1_000]),
        np.append(np.zeros(1_990), np.arange(10.0)),  # too few lie above the ties
        np.nextafter(np.ones(2_000), np.arange(2_000) % 2 * 2.0),  # two neighbouring numbers, none between
        NORMAL[:119],
        NORMAL[:1],
        np.empty(0),
        np.append(NORMAL, np.inf),
        np.append(np.full(1_990, -np.inf), np.arange(10.0)),
        np.repeat([-np.inf, 0.0, 1.0], [1_000, 500, 500]),
        np.append(np.linspace(-1.7e308, -1e308, 1_900), np.linspace(1e308, 1.7e308, 100)),  # too far apart
    ],
    ids=lambda null: f"{null.size}",
)
def test_where_no_tail_fits_the_counted_pvalue_is_returned(null):
    fit = tail_pvalue(1.75e308, null)
    assert fit.pvalue == pvalue(1.75e308, null)
    assert astuple(fit)[1:4] == (False, False, 0) and np.isnan(fit.gof_pvalue)


def test_infinite_statistics_are_counted():
    assert tail_pvalue(math.inf, NORMAL).pvalue == 1 / 2_001
    assert tail_pvalue(-math.inf, NORMAL).pvalue == 1.0


@pytest.mark.parametrize("levels", [5, 20, 60, 200, 1_000])
@pytest.mark.parametrize("seed", [0, 1])
def test_ties_are_no_error(levels, seed):
    null = np.round(np.random.default_rng(seed).standard_normal(1_000) * levels) / levels
    fit = tail_pvalue(5.0, null)
    assert 0 < fit.pvalue <= 1 / 1_001 if fit.extrapolated else fit.pvalue == 1 / 1_001


@pytest.mark.parametrize("null", [NORMAL, np.random.default_rng(4).random(2_000)], ids=["normal", "uniform"])
def test_pvalues_fall_and_are_never_zero(null):
    """Also beyond the value where the best fit ends."""
    statistics = np.sort(null)[-5] + np.append(np.linspace(0, 10, 60), [1e3, 1e10, 1e100, 1e300])
    fits = [tail_pvalue(float(statistic), null) for statistic in statistics]
    assert fits[0].shape < 0 and fits[0].threshold - fits[0].scale / fits[0].shape < statistics[-1]
    assert all(fit.extrapolated for fit in fits)
    p = np.array([fit.pvalue for fit in fits])
    assert (np.diff(p) < 0).all() and p[-1] > 0


def test_the_flag_is_for_what_no_count_could_say():
    fits = [tail_pvalue(float(statistic), NORMAL) for statistic in np.linspace(2.6, 4.5, 20)]
    flags = [fit.below_resolution for fit in fits]
    assert flags == [fit.pvalue < 1 / 2_001 for fit in fits]
    assert any(flags) and any(fit.extrapolated and not fit.below_resolution for fit in fits)
    two_sided = [tail_pvalue(float(statistic), NORMAL, "two-sided") for statistic in np.linspace(2.6, 4.5, 20)]
    assert [fit.below_resolution for fit in two_sided] == flags
    assert not tail_pvalue(6.0, bimodal() * 0).below_resolution


def test_the_sides_mirror_each_other():
    for statistic in (0.0, 1.5, 3.6, 4.5):
        greater, less = tail_pvalue(statistic, NORMAL), tail_pvalue(-statistic, -NORMAL, "less")
        assert (greater.pvalue, greater.n_exceedances) == (less.pvalue, less.n_exceedances)
        np.testing.assert_equal(
            [less.shape, less.scale, less.threshold], [greater.shape, greater.scale, -greater.threshold]
        )
        both = [tail_pvalue(sign * statistic, sign * NORMAL, "two-sided") for sign in (1, -1)]
        assert both[0].pvalue == both[1].pvalue
        other = tail_pvalue(statistic, NORMAL, "less")
        assert both[0].pvalue == min(1.0, 2 * min(greater.pvalue, other.pvalue))
    assert tail_pvalue(float(np.median(NORMAL)), NORMAL, "two-sided").pvalue == 1.0  # capped
    assert tail_pvalue(-4.0, NORMAL, "two-sided").threshold < 0  # the fit is the smaller side's


def test_the_same_seed_gives_the_same_result():
    first, second, *others = (tail_pvalue(4.0, NORMAL[:1_000], seed=seed) for seed in (5, 5, 6, 7, 8))
    assert astuple(first) == astuple(second)
    # The seed is the goodness of fit's alone.
    assert {other.pvalue for other in others} == {first.pvalue}
    assert {other.gof_pvalue for other in others} != {first.gof_pvalue}
    assert tail_pvalue(4.0, NORMAL[:1_000][::-1], seed=5) == first


@pytest.mark.parametrize(("factor", "shift"), [(1e-6, 0.0), (1e12, 0.0), (1.0, -7.0), (3.0, 100.0), (1e-200, 0.0)])
def test_units_and_origin_do_not_matter(factor, shift):
    plain, moved = tail_pvalue(4.0, NORMAL), tail_pvalue(4.0 * factor + shift, NORMAL * factor + shift)
    assert moved.pvalue == pytest.approx(plain.pvalue, rel=1e-9)
    assert moved.gof_pvalue == plain.gof_pvalue
    assert moved.shape == pytest.approx(plain.shape, rel=1e-9)
    assert moved.scale == pytest.approx(plain.scale * factor, rel=1e-9)
    assert moved.threshold == pytest.approx(plain.threshold * factor + shift, rel=1e-9)


@pytest.mark.parametrize("power", [5, 30])
def test_the_heaviest_tails_are_no_error(power):
    null = np.random.default_rng(5).standard_cauchy(2_000) ** (2 * power + 1)
    fit = tail_pvalue(1e300, null)
    assert 0 < fit.pvalue <= 10 / 2_001


def test_single_precision_is_taken():
    fit = tail_pvalue(4.0, NORMAL.astype(np.float32))
    assert fit.pvalue == pytest.approx(tail_pvalue(4.0, NORMAL).pvalue, rel=1e-3)


def test_errors_are_those_of_counting():
    with pytest.raises(ValueError, match=r"alternative must be one of .* but is 'two-tailed'\. Did you mean"):
        tail_pvalue(0.0, NORMAL, "two-tailed")
    for statistic, null in ((math.nan, NORMAL), (4.0, np.append(NORMAL, np.nan))):
        with pytest.raises(ValueError, match="NaN"):
            tail_pvalue(statistic, null)


def test_results_cannot_be_changed():
    with pytest.raises(AttributeError):
        TailFit(0.5, False, False).pvalue = 0.1  # pyright: ignore[reportAttributeAccessIssue]
