"""From a null distribution to a statement."""

import numpy as np
from jaxtyping import Float

from jaxmem.inputs import one_of

__all__ = ["ALTERNATIVES", "pvalue"]

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
        rounding: differences up to `rounding * max(1, |statistic|)` count as ties; 100 times the machine epsilon of
            the precision that the statistics were computed in is SciPy's choice.

    Raises:
        ValueError: an unknown alternative, or a statistic that is NaN.
    """
    one_of(alternative, ALTERNATIVES, "alternative")
    if np.isnan(statistic) or np.isnan(null_distribution).any():
        # NaN compares as smaller than anything: it would lower the p-value without a word.
        raise ValueError(
            f"the statistic is NaN under {np.isnan(np.append(null_distribution, statistic)).sum()} of "
            f"{null_distribution.size + 1} labellings: it is not defined there, as where all rows to score have one "
            "class. Use more rows, or another metric."
        )
    tolerance = rounding * max(1.0, abs(statistic)) if np.isfinite(statistic) else 0.0
    greater = _with_observed(np.count_nonzero(null_distribution >= statistic - tolerance), null_distribution.size)
    less = _with_observed(np.count_nonzero(null_distribution <= statistic + tolerance), null_distribution.size)
    if alternative == "two-sided":
        return min(1.0, 2 * min(greater, less))
    return greater if alternative == "greater" else less


def _with_observed(n_extreme: int | np.integer, n_permutations: int) -> float:
    """`(1 + C) / (1 + B)`."""
    return (1 + int(n_extreme)) / (1 + n_permutations)
