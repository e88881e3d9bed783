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
        rounding: differences up to `rounding * |statistic|` count as ties. Zero where the statistic is a function of
            counts; else SciPy's choice, 100 times the machine epsilon of the precision it was computed in.
    """
    one_of(alternative, ALTERNATIVES, "alternative")
    tolerance = rounding * abs(statistic)
    greater = _with_observed(np.count_nonzero(null_distribution >= statistic - tolerance), null_distribution.size)
    less = _with_observed(np.count_nonzero(null_distribution <= statistic + tolerance), null_distribution.size)
    if alternative == "two-sided":
        return min(1.0, 2 * min(greater, less))
    return greater if alternative == "greater" else less


def _with_observed(n_extreme: int | np.integer, n_permutations: int) -> float:
    """`(1 + C) / (1 + B)`."""
    return (1 + int(n_extreme)) / (1 + n_permutations)
