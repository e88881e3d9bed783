"""p-values of one test: how many permuted statistics are at least as extreme as the observed one.

References: Phipson & Smyth (2010), Permutation p-values should never be zero; Lancaster (1961) for mid-p.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from jaxmem.inputs import one_of

__all__ = ["ALTERNATIVES", "binomial_pvalue", "check_defined", "check_level", "mid_pvalue", "pvalue", "tolerance"]

ALTERNATIVES = ("greater", "less", "two-sided")


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
        rounding: differences up to `rounding * |statistic|` count as ties; 100 times the machine epsilon of the
            precision that the statistics were computed in is SciPy's choice.

    Raises:
        ValueError: an unknown alternative, or a statistic that is NaN.

    Example:
        >>> import numpy as np
        >>> from jaxmem.inference import pvalue
        >>> pvalue(0.9, np.linspace(0, 0.8, 99))
        0.01
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

    Example:
        >>> import numpy as np
        >>> from jaxmem.inference import mid_pvalue
        >>> mid_pvalue(0.9, np.linspace(0, 0.8, 99))
        0.005
    """
    above, ties, below = _compared(statistic, null_distribution, alternative, rounding)
    half = (1 + ties) / 2
    greater, less = ((side + half) / (1 + null_distribution.size) for side in (above, below))
    return _of_tails(greater, less, alternative)


def binomial_pvalue(n_successes: Any, n_trials: Any, probability: float) -> Any:
    """p-value of so many successes or more in independent trials that succeed with at most this probability.

    Arrays are taken elementwise.

    Example:
        >>> from jaxmem.inference import binomial_pvalue
        >>> float(binomial_pvalue(3, 3, 0.5))
        0.125
    """
    from scipy import stats

    # A p-value is never zero, though one may be too small for a floating-point number.
    return np.maximum(stats.binom.sf(np.asarray(n_successes) - 1, n_trials, probability), np.finfo(float).tiny)


def _of_tails(greater: float, less: float, alternative: str) -> float:
    if alternative == "two-sided":
        return min(1.0, 2 * min(greater, less))
    return greater if alternative == "greater" else less


def _compared(
    statistic: float, null_distribution: Float[np.ndarray, " B"], alternative: str, rounding: float
) -> tuple[int, int, int]:
    """How many permuted statistics lie above, on, and below the observed one."""
    one_of(alternative, ALTERNATIVES, "alternative")
    check_defined(np.append(null_distribution, statistic))
    nearby = float(tolerance(np.asarray(statistic), rounding))
    above = int(np.count_nonzero(null_distribution > statistic + nearby))
    below = int(np.count_nonzero(null_distribution < statistic - nearby))
    return above, null_distribution.size - above - below, below


def check_defined(statistics: Float[np.ndarray, " labellings"]) -> None:
    """Refuse a test whose statistic is NaN under some labelling.

    Raises:
        ValueError: NaN. It compares as smaller than anything, and would lower the p-value without a word.
    """
    if np.isnan(statistics).any():
        raise ValueError(
            f"the statistic is NaN under {np.isnan(statistics).sum()} of {statistics.size} labellings: it is not "
            "defined there, as where all rows to score have one class. Use more rows, or another metric."
        )


def tolerance(statistics: np.ndarray, rounding: float) -> np.ndarray:
    """Up to which difference others tie with these statistics; infinite ones tie with themselves."""
    return np.asarray(rounding * np.abs(np.where(np.isfinite(statistics), statistics, 0)))


def _with_observed(n_extreme: int | np.integer, n_permutations: int) -> float:
    """`(1 + C) / (1 + B)`."""
    return (1 + int(n_extreme)) / (1 + n_permutations)


def check_level(value: float, name: str) -> None:
    """Refuse a level outside (0, 1).

    Example:
        >>> from jaxmem.inference import check_level
        >>> check_level(95.0, "confidence_level")
        Traceback (most recent call last):
            ...
        ValueError: confidence_level must lie strictly between 0 and 1, but is 95.0.
    """
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, but is {value!r}.")
