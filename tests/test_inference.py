"""p-values: worked out by hand, SciPy's where SciPy has them, and never zero."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from jaxmem.inference import ALTERNATIVES, pvalue

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
