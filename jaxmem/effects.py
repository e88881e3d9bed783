"""Effect sizes across memorization tests: differences between networks, epochs or layers, and areas under curves.

Tests with the same labels and the same key went through the same permutations, so that what they have in common cancels
in a difference: it is known far better than either index. The gain over the untrained network, or over the raw inputs,
is such a difference.

All statements are about these features: intervals shrink to nothing as permutations are added. That two ways of
training differ takes several networks of each: `jm.hierarchical_interval`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxmem.inference import Estimate, of_means
from jaxmem.results import MemorizationTest, memorization_index

__all__ = ["Comparison", "compare_memorization", "perturbation_area"]


class Comparison(NamedTuple):
    """How far two tests differ in memorization.

    Attributes:
        value: memorization index of the first minus that of the second.
        low, high: ends of its confidence interval.
        standard_error: of the difference.
        pvalue: two-sided, of the hypothesis that they do not differ.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> copies = jm.SharedStructure(X + 0.1)
        >>> one, nine = (jm.memorization_test(jm.KNeighbors(k), X, y, copies, n_permutations=99) for k in (1, 9))
        >>> difference = jm.compare_memorization(one, nine)
        >>> difference.low < difference.value < difference.high, difference.pvalue < 0.001
        (True, True)
    """

    value: float
    low: float
    high: float
    standard_error: float
    pvalue: float

    def __format__(self, spec: str) -> str:
        """The difference and its interval, each in the given format."""
        return format(Estimate(*self[:4]), spec)


def compare_memorization(
    first: MemorizationTest, second: MemorizationTest, confidence_level: float = 0.95
) -> Comparison:
    """Paired test whether two sets of features differ in memorization, on the same permutations.

    `compare_memorization(trained, untrained)` is the memorization gain. The features are given: of two networks
    (epochs, layers, inputs) it says whether these two differ, as nearly any two do for enough permutations. Whether two
    ways of training differ takes several networks of each, and `jm.hierarchical_interval` of their differences.

    Args:
        first, second: results of `jm.memorization_test` with the same labels, key and number of permutations.
        confidence_level: of the interval, in (0, 1).

    Returns:
        The difference, its interval, and a p-value from the difference over its jackknife standard error (Student's t
        over permutations). Where the difference does not vary at all, the p-value is 1 or that of B equal signs; NaN
        where an index is.

    Raises:
        ValueError: no such results, or the tests did not go through the same permutations.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> copies = jm.SharedStructure(X + 0.1)
        >>> one, nine = (jm.memorization_test(jm.KNeighbors(k), X, y, copies, n_permutations=99) for k in (1, 9))
        >>> difference = jm.compare_memorization(one, nine)
        >>> difference.low > 0
        True
    """
    from scipy import stats

    def difference(paired: Any, broken: Any, other_paired: Any, other_broken: Any) -> Any:
        return memorization_index(paired, broken) - memorization_index(other_paired, other_broken)

    scores = _scores([first, second])
    estimate = of_means(difference, scores, confidence_level)
    if not np.isfinite(estimate.standard_error):
        return Comparison(*estimate, float("nan"))
    if estimate.standard_error > 0:
        pvalue = 2 * float(stats.t.sf(abs(estimate.value) / estimate.standard_error, len(scores) - 1))
    else:
        pvalue = 1.0 if estimate.value == 0 else 0.0
    # No test of B signs can be surer.
    return Comparison(*estimate, max(pvalue, 2.0 ** (1 - min(len(scores), 1_000))))


def perturbation_area(tests: Mapping[Any, MemorizationTest], confidence_level: float = 0.95) -> Estimate:
    """Mean height of the memorization index over perturbation strengths: the area under the curve over its width.

    Args:
        tests: results by strength, of one call of `jm.memorization_tests`, say; numbers, or strings of numbers, in any
            order.
        confidence_level: in (0, 1).

    Raises:
        ValueError: strengths that are no numbers or fewer than two, or tests that did not go through the same
            permutations.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> noise = np.random.default_rng(1).normal(size=X.shape)
        >>> copies = {sd: jm.SharedStructure(X + sd * noise) for sd in (0.0, 0.5, 1.0)}
        >>> found = jm.memorization_tests(jm.KNeighbors(1), X, y, copies, n_permutations=99)
        >>> found[1.0].memorization < jm.perturbation_area(found).value < found[0.0].memorization
        True
    """
    try:
        by_strength = sorted(((float(strength), test) for strength, test in tests.items()), key=lambda pair: pair[0])
        strengths = np.array([strength for strength, _ in by_strength])
        widths = np.diff(strengths)
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"tests must map strengths, numbers, to results, but is {str(tests)[:80]}.") from None
    if len(strengths) < 2 or not (np.isfinite(strengths).all() and (widths > 0).all()):
        raise ValueError(f"a curve takes the tests of at least 2 different finite strengths, but got {strengths}.")
    # The trapezoidal rule: every height counts by half the distance of its neighbours.
    weights = (np.append(widths, 0) + np.append(0, widths)) / 2 / widths.sum()

    def area(*means: Any) -> Any:
        heights = [memorization_index(*pair) for pair in zip(means[::2], means[1::2], strict=True)]
        return sum(weight * height for weight, height in zip(weights, heights, strict=True))

    return of_means(area, _scores([test for _, test in by_strength]), confidence_level)


def _scores(tests: Sequence[MemorizationTest]) -> Float[np.ndarray, "B scores"]:
    """Paired and broken scores of every test, permutation by permutation."""
    for test in tests:
        if not isinstance(test, MemorizationTest):
            raise ValueError(f"expected results of jm.memorization_test, but got a {type(test).__name__}.")
    first = tests[0]
    for other in tests[1:]:
        for name in ("y", "classes", "key_data", "key_impl", "exact"):
            if not np.array_equal(getattr(first, name), getattr(other, name)):
                raise ValueError(
                    f"the tests differ in `{name}`, and so in their permutations: use the same labels and key for both."
                )
        B, others = first.null_distribution.size, other.null_distribution.size
        if others != B:
            raise ValueError(f"one test has {B} permutations and another {others}: use the same n_permutations.")
    return np.stack([scores for t in tests for scores in (t.null_distribution, t.chance_distribution)], axis=1)
