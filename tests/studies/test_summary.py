"""Means over seeds, adjusted p-values and claims, by hand."""

import numpy as np
import pytest
import xarray
from scipy import stats

from jaxmem.studies.summary import (
    Claim,
    all_below,
    decided,
    is_positive,
    over_seeds,
    rank_correlation,
    table,
    with_adjusted_pvalues,
)


def test_the_interval_over_seeds_is_students():
    values = np.array([0.1, 0.4, 0.2, 0.25])
    found = over_seeds(xarray.DataArray(values, dims="seed"))
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    np.testing.assert_allclose([found["mean"], found.low, found.high], [values.mean(), low, high])


def test_one_seed_has_no_interval():
    found = over_seeds(xarray.DataArray([0.5], dims="seed"))
    assert found["mean"] == 0.5 and np.isnan(found.low) and np.isnan(found.high)
    assert not decided([is_positive("something", xarray.DataArray([0.5], dims="seed"))])[0].holds


def test_seeds_without_a_number_are_left_out():
    """A learning index is NaN where the null is perfect."""
    found = over_seeds(xarray.DataArray([[1.0, 3.0, np.nan]], dims=("model", "seed")))
    low, _ = stats.t.interval(0.95, 1, 2.0, 1.0)
    assert found["mean"] == 2.0
    np.testing.assert_allclose(found.low, [low])


@pytest.mark.parametrize(("shift", "outcome"), [(1.0, "holds"), (0.1, "not shown"), (-1.0, "opposite")])
def test_positive_means_that_the_whole_interval_is(shift, outcome):
    values = np.array([-0.1, 0, 0.1]) + shift
    claim = is_positive("it is", xarray.DataArray(values, dims="seed"))
    assert claim.outcome == outcome and claim.holds == (outcome == "holds")
    assert f"[{outcome}]" in str(claim) and f"{shift:.3f}" in claim.seen
    np.testing.assert_allclose(claim.pvalue, stats.ttest_1samp(values, 0).pvalue)


def test_networks_that_are_all_alike_leave_nothing_to_test():
    """The sign test's chance, then: five of one sign are not enough, six are."""
    claims = {n: is_positive("it is", xarray.DataArray([0.5] * n, dims="seed")) for n in (1, 5, 6)}
    assert [claims[n].pvalue for n in (1, 5, 6)] == [1, 1 / 16, 1 / 32]
    assert [claim.outcome for claim in decided([claims[5]])] == ["not shown"] and "alike" in claims[5].seen
    assert [claim.outcome for claim in decided([claims[6]])] == ["holds"]
    assert is_positive("it is", xarray.DataArray([0.0] * 9, dims="seed")).pvalue == 1


def test_a_quantity_that_is_undefined_for_some_networks_shows_nothing():
    claim = is_positive("it is", xarray.DataArray([0.5, np.nan, 0.6], dims="seed"))
    assert claim.outcome == "not shown" and "1 of 3" in claim.seen and claim.pvalue is None


def test_claims_stand_the_correction_for_their_number():
    """Holm's by hand: 3 x 0.01, 2 x 0.03, 0.04 -> 0.03, 0.06, 0.06; what was not judged by a test stays as it is."""
    claims = [
        Claim("a", True, "", pvalue=0.03),
        Claim("b", False, "", opposite=True, pvalue=0.01),
        Claim("c", False, ""),
        Claim("d", True, "", pvalue=0.04),
        Claim("e", True, ""),
    ]
    found = decided(claims)
    assert [claim.outcome for claim in found] == ["not shown", "opposite", "not shown", "not shown", "holds"]
    np.testing.assert_allclose([found[i].pvalue_adjusted for i in (0, 1, 3)], [0.06, 0.03, 0.06])
    assert decided(found) == found


def test_below_means_all_of_them():
    values = xarray.DataArray([[0.1, 0.3]], dims=("model", "seed"))
    assert all_below("small", values, 0.3).holds and not all_below("small", values, 0.2).holds


def family(observed, null, memorization):
    dims = ("model", "seed", "epoch", "layer", "classifier", "perturbation")
    shape = (1, len(observed), 1, 1, 1, 1)
    return xarray.Dataset(
        {
            "observed": (dims, np.reshape(observed, shape)),
            "paired_null": ((*dims, "permutation"), np.reshape(null, (*shape, -1))),
            "memorization_pvalue": (dims, np.reshape(memorization, shape)),
        }
    )


def test_p_values_are_adjusted_over_the_whole_family():
    rng = np.random.default_rng(0)
    null = rng.normal(size=(3, 19))
    data = with_adjusted_pvalues(family([9.0, 0.0, np.nan], null, [0.01, 0.04, np.nan]))
    scores = np.column_stack([[9.0, 0.0], null[:2]])
    standard = (scores - scores.mean(axis=1, keepdims=True)) / scores.std(axis=1, keepdims=True)
    expected = [(standard.max(axis=0) >= z).mean() for z in standard[:, 0]]
    found = data.learning_pvalue_adjusted.values.ravel()
    np.testing.assert_allclose(found[:2], expected)
    assert found[0] == 1 / 20 and np.isnan(found[2])
    np.testing.assert_allclose(data.memorization_pvalue_adjusted.values.ravel()[:2], [0.02, 0.04])
    assert data.learning_pvalue_adjusted.dims == data.observed.dims


def test_a_test_that_stands_in_several_places_is_counted_once():
    """Five tests, of which three are one: with copies, 0.04 would be adjusted to 5 x 0.04 / 4 = 0.05."""
    null = np.zeros((1, 9)) + np.arange(9)
    scores = [5.0, 5.0, 5.0, 1.0, 2.0]
    data = with_adjusted_pvalues(family(scores, np.repeat(null, 5, axis=0), [0.01, 0.01, 0.01, 0.04, 0.5]))
    found = data.memorization_pvalue_adjusted.values.ravel()
    np.testing.assert_allclose(found, [0.03, 0.03, 0.03, 0.06, 0.5])  # 3 x 0.01 / 1, 3 x 0.04 / 2, 3 x 0.5 / 3.


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, (3, 20)).astype(float), rng.random((3, 20))
    first[0, 3] = np.inf  # A row that was never learnt comes last.
    found = rank_correlation(*(xarray.DataArray(each, dims=("seed", "example")) for each in (first, second)))
    expected = [stats.spearmanr(*pair).statistic for pair in zip(np.minimum(first, 9), second, strict=True)]
    np.testing.assert_allclose(found, expected)
    constant = xarray.DataArray(np.ones((1, 20)), dims=("seed", "example"))
    assert np.isnan(rank_correlation(constant, constant)).all()


def test_a_study_that_tests_no_features_shows_what_each_network_has_one_of():
    data = xarray.Dataset(
        {
            "epochs_to_99": (("model", "seed"), [[3.0, 5.0], [9.0, 9.0]]),
            "accuracy": (("model", "seed", "epoch"), np.zeros((2, 2, 4))),
        },
        {"model": ["images", "noise"], "seed": [0, 1]},
        {"axis": "model", "question": "What?"},
    )
    title, text = table(data)
    assert title.startswith("What?")
    assert text.split() == ["epochs", "to", "99", "model", "images", "4.000", "±12.706", "noise", "9.000", "±0.000"]
