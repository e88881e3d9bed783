"""From null distributions to statements: p-values, how sure a Monte-Carlo one is, and many tests at once.

Adjusted p-values come in two kinds. Bonferroni's, Holm's, Benjamini and Hochberg's and Benjamini and Yekutieli's need
nothing but p-values. Westfall and Young's, "maxT" and "minP", use that all tests went through the same permutations:
the largest statistic of the family under each permutation is drawn from the joint null, whatever the tests have in
common, so that nothing is lost to tests that are nearly copies of each other. Where only some of the hypotheses hold,
labels must be independent of the features of those tests jointly: Westfall and Young's subset pivotality.

References: Phipson & Smyth (2010), Permutation p-values should never be zero; Westfall & Young (1993), Resampling-based
multiple testing; Holm (1979); Benjamini & Hochberg (1995); Benjamini & Yekutieli (2001); Clopper & Pearson (1934);
Wilson (1927); Lancaster (1961) for mid-p.
"""

import math

import numpy as np
from jaxtyping import Float

from jaxmem.inputs import one_of

__all__ = [
    "ALTERNATIVES",
    "CORRECTIONS",
    "adjusted",
    "check_reachable",
    "confidence_interval",
    "family_statistics",
    "jointly_adjusted",
    "mid_pvalue",
    "pvalue",
]

ALTERNATIVES = ("greater", "less", "two-sided")
# By the order in which they reject more: of p-values alone, and of the joint null.
SEPARATE = ("bonferroni", "holm", "fdr_by", "fdr_bh")
JOINT = ("maxT", "maxT-stepdown", "minP")
CORRECTIONS = SEPARATE + JOINT


def pvalue(
    statistic: float,
    null_distribution: Float[np.ndarray, " B"],
    alternative: str = "greater",
    *,
    rounding: float = 0.0,
) -> float:
    """p-value of a Monte-Carlo permutation test, `(1 + C) / (1 + B)` (Phipson & Smyth 2010).

    `C` counts the permuted statistics at least as extreme as the observed one, ties included, and the one added on
    either side is the observed labelling itself, one of the equally likely ones under the hypothesis. The p-value is
    never zero, and the test is exact: it rejects a true hypothesis with probability at most alpha, for every B.

    Args:
        statistic: the observed one.
        null_distribution: the statistics under B random permutations, without the observed one.
        alternative: "greater", "less", or "two-sided" (twice the smaller of the two, at most 1; SciPy's definition).
        rounding: differences up to `rounding * max(1, |statistic|)` count as ties; 100 times the machine epsilon of
            the precision that the statistics were computed in is SciPy's choice.

    Raises:
        ValueError: an unknown alternative, or a statistic that is NaN.
    """
    above, ties, below = _compared(statistic, null_distribution, alternative, rounding)
    greater = _with_observed(above + ties, null_distribution.size)
    less = _with_observed(below + ties, null_distribution.size)
    return _of_tails(greater, less, alternative)


def mid_pvalue(
    statistic: float,
    null_distribution: Float[np.ndarray, " B"],
    alternative: str = "greater",
    *,
    rounding: float = 0.0,
) -> float:
    """Mid-p (Lancaster 1961): ties, the observed labelling among them, count half. NOT exact.

    Less conservative than `pvalue` where few values are possible, as with accuracy on few rows; but a test by it may
    reject a true hypothesis more often than alpha says. Arguments and errors as for `pvalue`.
    """
    above, ties, below = _compared(statistic, null_distribution, alternative, rounding)
    half = (1 + ties) / 2
    greater, less = ((side + half) / (1 + null_distribution.size) for side in (above, below))
    return _of_tails(greater, less, alternative)


def _of_tails(greater: float, less: float, alternative: str) -> float:
    if alternative == "two-sided":
        return min(1.0, 2 * min(greater, less))
    return greater if alternative == "greater" else less


def _compared(
    statistic: float, null_distribution: Float[np.ndarray, " B"], alternative: str, rounding: float
) -> tuple[int, int, int]:
    """How many permuted statistics lie above, on, and below the observed one."""
    one_of(alternative, ALTERNATIVES, "alternative")
    if np.isnan(statistic) or np.isnan(null_distribution).any():
        # NaN compares as smaller than anything: it would lower the p-value without a word.
        raise ValueError(
            f"the statistic is NaN under {np.isnan(np.append(null_distribution, statistic)).sum()} of "
            f"{null_distribution.size + 1} labellings: it is not defined there, as where all rows to score have one "
            "class. Use more rows, or another metric."
        )
    tolerance = float(_tolerance(np.asarray(statistic), rounding))
    above = int(np.count_nonzero(null_distribution > statistic + tolerance))
    below = int(np.count_nonzero(null_distribution < statistic - tolerance))
    return above, null_distribution.size - above - below, below


def _tolerance(statistics: np.ndarray, rounding: float) -> np.ndarray:
    """Up to which difference others tie with these statistics; infinite ones tie with themselves."""
    finite = np.isfinite(statistics)
    return np.where(finite, rounding * np.maximum(1, np.abs(np.where(finite, statistics, 0))), 0)


def _with_observed(n_extreme: int | np.integer, n_permutations: int) -> float:
    """`(1 + C) / (1 + B)`."""
    return (1 + int(n_extreme)) / (1 + n_permutations)


def confidence_interval(
    n_extreme: int, n_permutations: int, confidence_level: float = 0.95, method: str = "clopper-pearson"
) -> tuple[float, float]:
    """Interval for the p-value that all permutations would give, from `C` of `B` random ones at least as extreme.

    Args:
        n_extreme: C.
        n_permutations: B, fixed beforehand.
        confidence_level: in (0, 1).
        method: "clopper-pearson" covers at least so often at every B; "wilson" is shorter and covers so often about.

    Raises:
        ValueError: an unknown method, or numbers out of range.
    """
    one_of(method, ("clopper-pearson", "wilson"), "method")
    _check_level(confidence_level, "confidence_level")
    if not 0 <= n_extreme <= n_permutations or n_permutations < 1:
        raise ValueError(f"expected 0 <= n_extreme <= n_permutations, but got {n_extreme} of {n_permutations}.")
    from scipy import stats

    interval = stats.binomtest(n_extreme, n_permutations).proportion_ci(
        confidence_level, "exact" if method == "clopper-pearson" else "wilson"
    )
    return float(interval.low), float(interval.high)


def adjusted(pvalues: Float[np.ndarray, " tests"], correction: str) -> Float[np.ndarray, " tests"]:
    """Adjust p-values for their number, from themselves alone.

    Args:
        pvalues: unadjusted.
        correction: "bonferroni" and "holm" control the family-wise error rate whatever the dependence; "fdr_bh" the
            false discovery rate of independent or positively dependent tests, "fdr_by" of any.

    Raises:
        ValueError: an unknown correction.
    """
    one_of(correction, SEPARATE, "correction")
    n_tests = len(pvalues)
    if correction == "bonferroni":
        return np.minimum(1, n_tests * pvalues)
    order = np.argsort(pvalues, kind="stable")
    ranks = np.arange(1, n_tests + 1)
    if correction == "holm":
        stepped = np.maximum.accumulate((n_tests + 1 - ranks) * pvalues[order])
    else:
        factor = _harmonic(n_tests) if correction == "fdr_by" else 1.0
        stepped = np.minimum.accumulate((factor * n_tests / ranks * pvalues[order])[::-1])[::-1]
    return np.minimum(1, stepped)[np.argsort(order)]


def family_statistics(
    scores: Float[np.ndarray, "tests labellings"],
    alternative: str,
    correction: str,
    *,
    studentize: bool = False,
    rounding: float = 0.0,
) -> Float[np.ndarray, "tests labellings"]:
    """What `jointly_adjusted` compares: scores turned so that larger is more extreme, on a scale that tests share.

    Args:
        scores: of every test under the permutations 0 .. B, the observed labelling first.
        alternative: "less" changes the sign; "two-sided" takes distances from each test's mean.
        correction: for "minP", minus how many labellings are at least as extreme as each, itself included.
        studentize: divide each test by its standard deviation, after taking off its mean. Both are over all B + 1
            labellings, and so are themselves the same under every permutation: the test stays exact.
        rounding: as in `pvalue`; for "minP" it is spent here, on counts that compare exactly.

    Raises:
        ValueError: an unknown alternative, NaN, or infinite scores where means are asked for.
    """
    one_of(alternative, ALTERNATIVES, "alternative")
    centred = studentize or alternative == "two-sided"
    bad = ~np.isfinite(scores).all(axis=1) if centred else np.isnan(scores).any(axis=1)
    if bad.any():
        raise ValueError(
            f"the statistic of {bad.sum()} of {len(scores)} tests is {'infinite or ' if centred else ''}NaN under some "
            "labelling, so that the family cannot be compared: use another metric."
        )
    turned = -scores if alternative == "less" else scores
    if centred:
        turned = turned - turned.mean(axis=1, keepdims=True)
    if alternative == "two-sided":
        turned = np.abs(turned)
    if studentize:
        varies = np.ptp(scores, axis=1) > 0
        turned = np.where(varies, turned.T / np.where(varies, scores.std(axis=1), 1), 0).T
    if correction != "minP":
        return turned
    below = [np.searchsorted(np.sort(row), row - _tolerance(row, rounding), side="left") for row in turned]
    return np.stack(below).astype(float) - turned.shape[1]


def jointly_adjusted(
    statistics: Float[np.ndarray, "tests labellings"], correction: str, *, rounding: float = 0.0
) -> tuple[Float[np.ndarray, " tests"], Float[np.ndarray, " labellings"]]:
    """Westfall and Young's adjusted p-values, and the largest statistic of the family under each labelling.

    Args:
        statistics: as `family_statistics` returns them.
        correction: "maxT" and "minP" compare every test with the maximum over all of them; "maxT-stepdown" compares the
            second largest observed one with the maximum over the others, and so on: it rejects whatever "maxT" does.
        rounding: as in `pvalue`.

    Raises:
        ValueError: an unknown correction.
    """
    one_of(correction, JOINT, "correction")
    observed = statistics[:, 0]
    tolerance = _tolerance(observed, 0.0 if correction == "minP" else rounding)
    largest = statistics.max(axis=0)
    if correction != "maxT-stepdown":
        return (largest[None, :] >= (observed - tolerance)[:, None]).mean(axis=1), largest
    pvalues, running = np.empty(len(observed)), np.full_like(largest, -np.inf)
    ascending = np.argsort(observed, kind="stable")
    for test in ascending:
        running = np.maximum(running, statistics[test])
        pvalues[test] = (running >= observed[test] - tolerance[test]).mean()
    # A smaller statistic is never rejected where a larger one was not.
    descending = ascending[::-1]
    pvalues[descending] = np.maximum.accumulate(pvalues[descending])
    return pvalues, largest


def check_reachable(correction: str, n_tests: int, n_permutations: int, alternative: str, alpha: float) -> None:
    """Refuse a family in which nothing could ever be rejected at `alpha`.

    Raises:
        ValueError: alpha outside (0, 1), or too few permutations; the message says how many it takes.
    """
    one_of(correction, CORRECTIONS, "correction")
    one_of(alternative, ALTERNATIVES, "alternative")
    _check_level(alpha, "alpha")
    # What the smallest p-value, 1 / (B + 1) or twice that, is multiplied by at the very least: for false discoveries,
    # if all tests have it.
    factor = {"bonferroni": n_tests, "holm": n_tests, "fdr_by": _harmonic(n_tests)}.get(correction, 1.0)
    needed = math.ceil(factor * (2 if alternative == "two-sided" else 1) / alpha) - 1
    if n_permutations < needed:
        raise ValueError(
            f"correction {correction!r} of {n_tests} tests cannot reach alpha = {alpha} with {n_permutations} "
            f"labellings besides the observed one: it takes at least n_permutations={needed}"
            + (', or correction="maxT".' if factor > 1 else ".")
        )


def _harmonic(n: int) -> float:
    return float((1 / np.arange(1, n + 1)).sum())


def _check_level(value: float, name: str) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, but is {value!r}.")
