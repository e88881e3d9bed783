"""How sure a number is that random permutations estimate.

References: Clopper & Pearson (1934); Wilson (1927).
"""

from jaxmem.inference.pvalues import check_level
from jaxmem.inputs import one_of

__all__ = ["confidence_interval"]


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
    check_level(confidence_level, "confidence_level")
    if not 0 <= n_extreme <= n_permutations or n_permutations < 1:
        raise ValueError(f"expected 0 <= n_extreme <= n_permutations, but got {n_extreme} of {n_permutations}.")
    from scipy import stats

    interval = stats.binomtest(n_extreme, n_permutations).proportion_ci(
        confidence_level, "exact" if method == "clopper-pearson" else "wilson"
    )
    return float(interval.low), float(interval.high)
