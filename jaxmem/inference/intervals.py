"""How sure a number is that random permutations estimate, or a few seeds.

Permutations are independent draws, and so are the pairs of scores of the same permutation; what is estimated from them
is a mean, a quantile, or a smooth function of several means. The intervals say how far the number may lie from the one
that all permutations would give, for these features. They say nothing of other networks, data or perturbations: that
is what `hierarchical_interval` is for, over seeds.

References: Clopper & Pearson (1934); Wilson (1927); Quenouille (1956) and Tukey (1958) for the jackknife; David &
Nagaraja (2003), Order statistics; Davison & Hinkley (1997), Bootstrap methods, for hierarchical and studentised ones.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxmem.inference.pvalues import check_level
from jaxmem.inputs import as_number, one_of

__all__ = [
    "Estimate",
    "confidence_interval",
    "difference_of_pairs",
    "hierarchical_interval",
    "of_means",
    "of_pairs",
    "quantile_interval",
]


class Estimate(NamedTuple):
    """A number and its confidence interval.

    Attributes:
        value: the estimate.
        low, high: ends of the interval.
        standard_error: of the estimate, in its own units.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> m = jm.memorization_test(jm.KNeighbors(9), X, y, jm.SharedStructure(X + 0.1), n_permutations=99)
        >>> memorization = m.estimate("memorization")
        >>> memorization.low < memorization.value < memorization.high
        True
    """

    value: float
    low: float
    high: float
    standard_error: float

    def __format__(self, spec: str) -> str:
        """The number and its interval, each in the given format."""
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


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

    Example:
        >>> from jaxmem.inference import confidence_interval
        >>> low, high = confidence_interval(n_extreme=4, n_permutations=99)
        >>> round(low, 3), round(high, 3)
        (0.011, 0.1)
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


def of_means(
    function: Callable[..., Any], values: Float[np.ndarray, "B k"], confidence_level: float = 0.95
) -> Estimate:
    """A smooth function of the means of k quantities that were measured together B times, by the jackknife.

    Args:
        function: of k numbers, or of k arrays of them elementwise.
        values: the quantities under B independent permutations.
        confidence_level: in (0, 1).

    Raises:
        ValueError: fewer than two permutations, or a level out of range.

    Example:
        >>> import numpy as np
        >>> from jaxmem.inference import of_means
        >>> pairs = np.random.default_rng(0).normal([4.0, 2.0], 0.1, size=(100, 2))
        >>> ratio = of_means(lambda first, second: first / second, pairs)
        >>> round(ratio.value, 1)
        2.0
    """
    check_level(confidence_level, "confidence_level")
    B = len(values)
    if B < 2:
        raise ValueError(f"an interval takes at least 2 permutations, but there is {B}.")
    from scipy import stats

    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(function(*values.mean(axis=0)))
        each = function(*((values.sum(axis=0) - values) / (B - 1)).T)
        error = float(np.sqrt((B - 1) / B * ((each - each.mean()) ** 2).sum()))
    reach = float(stats.t.ppf((1 + confidence_level) / 2, B - 1)) * error
    return Estimate(value, value - reach, value + reach, error)


def of_pairs(similarities: Float[np.ndarray, "N N"], confidence_level: float = 0.95) -> Estimate:
    """Mean over all pairs of N networks, by the jackknife over networks: pairs share them, and are not independent.

    In simulations of four to eight networks intervals at 0.95 covered the mean of all networks in 0.89 to 0.97 of the
    cases, least often where a single odd network changes all of its similarities.

    Args:
        similarities: symmetric; the diagonal is left out.
        confidence_level: in (0, 1).

    Returns:
        The mean and its interval, Student's with N - 1 degrees of freedom. With two networks nothing is known of
        others: the interval is infinite.

    Raises:
        ValueError: fewer than two networks, values that are not finite, or a level out of range.

    Example:
        >>> import numpy as np
        >>> from jaxmem.inference import of_pairs
        >>> similarities = np.array([[1.0, 0.8, 0.7], [0.8, 1.0, 0.6], [0.7, 0.6, 1.0]])
        >>> round(of_pairs(similarities).value, 2)
        0.7
    """
    check_level(confidence_level, "confidence_level")
    n = len(similarities)
    if n < 2 or similarities.shape != (n, n):
        raise ValueError(f"similarities must be a square matrix of 2 networks or more, but has {similarities.shape}.")
    values = np.array(similarities, float)
    np.fill_diagonal(values, 0)
    if not np.isfinite(values).all():
        raise ValueError("similarities must be finite off the diagonal.")
    from scipy import stats

    of_network, total = values.sum(axis=1), values.sum()
    mean = float(total / (n * (n - 1)))
    if n == 2:
        return Estimate(mean, -np.inf, np.inf, np.inf)
    without = (total - 2 * of_network) / ((n - 1) * (n - 2))
    error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    reach = float(stats.t.ppf((1 + confidence_level) / 2, n - 1)) * error
    return Estimate(mean, mean - reach, mean + reach, error)


def difference_of_pairs(
    similarities: Float[np.ndarray, "N N"], in_first: Bool[np.ndarray, " N"], confidence_level: float = 0.95
) -> Estimate:
    """Mean over pairs within one group of networks minus that within the rest, as `of_pairs` takes them.

    The groups share no network: their variances add, and Welch's degrees of freedom belong to the sum.

    Args:
        similarities: symmetric, of the networks of both groups.
        in_first: which of them belong to the first group.
        confidence_level: in (0, 1).

    Raises:
        ValueError: as `of_pairs` does, of either group.

    Example:
        >>> import numpy as np
        >>> from jaxmem.inference import difference_of_pairs
        >>> similarities = np.full((6, 6), 0.3)
        >>> similarities[:3, :3] = 0.7
        >>> round(difference_of_pairs(similarities, np.arange(6) < 3).value, 2)
        0.4
    """
    parts = [of_pairs(similarities[np.ix_(members, members)], confidence_level) for members in (in_first, ~in_first)]
    value = parts[0].value - parts[1].value
    variances = np.array([part.standard_error for part in parts]) ** 2
    error = reach = float(np.sqrt(variances.sum()))
    if 0 < error < np.inf:
        from scipy import stats

        degrees = np.array([in_first.sum(), (~in_first).sum()]) - 1
        freedom = variances.sum() ** 2 / (variances**2 / degrees).sum()
        reach = float(stats.t.ppf((1 + confidence_level) / 2, freedom)) * error
    return Estimate(value, value - reach, value + reach, error)


def quantile_interval(values: Float[np.ndarray, " B"], q: float, confidence_level: float = 0.95) -> tuple[float, float]:
    """Interval for the q-quantile of what the values were drawn from, between two of them; covers whatever that is.

    Where there are too few values to bound a quantile so far out, the interval ends at infinity.

    Raises:
        ValueError: q or the level out of (0, 1).

    Example:
        >>> import numpy as np
        >>> from jaxmem.inference import quantile_interval
        >>> quantile_interval(np.arange(100.0), q=0.5)
        (39.0, 60.0)
    """
    check_level(q, "q")
    check_level(confidence_level, "confidence_level")
    from scipy import stats

    # How many values lie below the quantile is binomial: fewer than `below` with probability at most half of what the
    # level leaves, and `above` or more with at most the other half.
    half = (1 - confidence_level) / 2
    ordered = np.concatenate([[-np.inf], np.sort(values), [np.inf]])
    below = int(stats.binom.ppf(half, len(values), q))
    above = int(stats.binom.ppf(1 - half, len(values), q)) + 1
    return float(ordered[below]), float(ordered[above])


def hierarchical_interval(
    values: Float[np.ndarray, "seeds draws"],
    confidence_level: float = 0.95,
    *,
    n_resamples: int = 9_999,
    seed: int = 0,
) -> Estimate:
    """Mean over networks of several seeds, each measured on several draws of the perturbation, by the bootstrap.

    Seeds are drawn with replacement, and draws within each of them. The interval is studentised, for percentiles of
    the means of five seeds are too short by far.

    Args:
        values: one number per seed and draw; give one column where there is one draw.
        confidence_level: in (0, 1).
        n_resamples: how many times to draw.
        seed: of the drawing.

    Returns:
        The mean and its interval. Two or three seeds say next to nothing of others: expect a very wide one, up to
        infinite.

    Raises:
        ValueError: a single seed, values that are not finite, or a level or number out of range.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> gains = np.random.default_rng(0).normal(0.2, 0.02, size=(5, 3))  # Five networks, three draws.
        >>> gain = jm.hierarchical_interval(gains)
        >>> gain.low < 0.2 < gain.high
        True
    """
    check_level(confidence_level, "confidence_level")
    values = np.asarray(values, float)
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(f"values must have shape (seeds, draws) with at least 2 seeds, but have {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"values must be finite, but {(~np.isfinite(values)).sum()} of {values.size} are not.")
    n_resamples = as_number(n_resamples, "n_resamples")
    n_seeds, n_draws = values.shape
    rng = np.random.default_rng(seed)
    seeds = rng.integers(n_seeds, size=(n_resamples, n_seeds))
    draws = rng.integers(n_draws, size=(n_resamples, n_seeds, n_draws))
    mean, error = _mean_and_error(values.mean(axis=1))
    means, errors = _mean_and_error(values[seeds[:, :, None], draws].mean(axis=2))
    if error == 0:
        return Estimate(float(mean), float(mean), float(mean), 0.0)
    distance = means - mean
    # All resampled seeds alike: infinitely far out, on whichever side.
    pivots = np.where(errors > 0, distance / np.where(errors > 0, errors, 1), np.copysign(np.inf, distance))
    half = (1 - confidence_level) / 2
    low, high = np.quantile(pivots, [half, 1 - half], method="nearest")
    return Estimate(float(mean), float(mean - high * error), float(mean - low * error), float(error))


def _mean_and_error(per_seed: Float[np.ndarray, "... seeds"]) -> tuple[Any, Any]:
    return per_seed.mean(axis=-1), per_seed.std(axis=-1, ddof=1) / np.sqrt(per_seed.shape[-1])
