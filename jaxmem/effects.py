"""Effect sizes across memorization tests: differences between networks, epochs or layers, and areas under curves.

Tests with the same labels and the same key went through the same permutations, so that what they have in common cancels
in a difference: it is known far better than either index. The gain over the untrained network, or over the raw inputs,
is such a difference.

All statements are about these features. That two training procedures differ takes several seeds of each:
`jaxmem.inference.hierarchical_interval`.
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
        difference: memorization index of the first minus that of the second.
        low, high: ends of its confidence interval.
        pvalue: two-sided, of the hypothesis that they do not differ.
    """

    difference: float
    low: float
    high: float
    pvalue: float


def compare_memorization(
    first: MemorizationTest, second: MemorizationTest, confidence_level: float = 0.95
) -> Comparison:
    """Paired test whether two networks (epochs, layers, inputs) differ in memorization on the same permutations.

    `compare_memorization(trained, untrained)` is the memorization gain.

    Args:
        first, second: results of `jm.memorization_test` with the same labels, key and number of permutations.
        confidence_level: of the interval, in (0, 1).

    Returns:
        The difference, its interval, and a p-value from the difference over its jackknife standard error (Student's t
        over permutations). Where the difference does not vary at all, the p-value is 1 or that of B equal signs.

    Raises:
        ValueError: the tests did not go through the same permutations.
    """
    from scipy import stats

    def difference(paired: Any, broken: Any, other_paired: Any, other_broken: Any) -> Any:
        return memorization_index(paired, broken) - memorization_index(other_paired, other_broken)

    estimate = of_means(difference, _scores([first, second]), confidence_level)
    B = first.null_distribution.size
    if estimate.standard_error > 0:
        pvalue = 2 * float(stats.t.sf(abs(estimate.value) / estimate.standard_error, B - 1))
    else:
        pvalue = 1.0 if estimate.value == 0 else 0.0
    # No test of B signs can be surer.
    return Comparison(estimate.value, estimate.low, estimate.high, max(pvalue, 2.0 ** (1 - min(B, 1_000))))


def perturbation_area(tests: Mapping[float, MemorizationTest], confidence_level: float = 0.95) -> Estimate:
    """Mean height of the memorization index over perturbation strengths: the area under the curve over its width.

    Args:
        tests: results by strength, of one call of `jm.memorization_tests`, say; the strengths in any order.
        confidence_level: in (0, 1).

    Raises:
        ValueError: fewer than two strengths, or tests that did not go through the same permutations.
    """
    if len(tests) < 2:
        raise ValueError(f"a curve takes the tests of at least 2 strengths, but there is {len(tests)}.")
    strengths = sorted(tests)
    at = np.array(strengths, float)
    # The trapezoidal rule: every height counts by half the distance of its neighbours.
    widths = np.diff(np.concatenate([at[:1], (at[1:] + at[:-1]) / 2, at[-1:]])) / (at[-1] - at[0])

    def area(*means: Any) -> Any:
        heights = [memorization_index(*pair) for pair in zip(means[::2], means[1::2], strict=True)]
        return sum(width * height for width, height in zip(widths, heights, strict=True))

    return of_means(area, _scores([tests[strength] for strength in strengths]), confidence_level)


def _scores(tests: Sequence[MemorizationTest]) -> Float[np.ndarray, "B scores"]:
    """Paired and broken scores of every test, permutation by permutation."""
    first = tests[0]
    for other in tests[1:]:
        for name in ("y", "key_data", "key_impl", "n_permutations"):
            if not np.array_equal(getattr(first, name), getattr(other, name)):
                raise ValueError(
                    f"the tests differ in `{name}`, and so in their permutations: use the same labels, key and "
                    "n_permutations for both."
                )
    return np.stack([scores for t in tests for scores in (t.null_distribution, t.chance_distribution)], axis=1)
