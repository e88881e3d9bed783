"""Many tests at once: p-values adjusted for their number.

They come in two kinds. Bonferroni's, Holm's, Benjamini and Hochberg's and Benjamini and Yekutieli's need
nothing but p-values. Westfall and Young's, "maxT" and "minP", use that all tests went through the same permutations:
the largest statistic of the family under each permutation is drawn from the joint null, whatever the tests have in
common, so that nothing is lost to tests that are nearly copies of each other. Where only some of the hypotheses hold,
labels must be independent of the features of those tests jointly: Westfall and Young's subset pivotality.

References: Westfall & Young (1993), Resampling-based multiple testing; Holm (1979); Benjamini & Hochberg (1995);
Benjamini & Yekutieli (2001).
"""

import math

import numpy as np
from jaxtyping import Float

from jaxmem.inference.pvalues import ALTERNATIVES, check_level, pvalue, tolerance
from jaxmem.inputs import one_of

__all__ = [
    "CORRECTIONS",
    "JOINT",
    "SEPARATE",
    "adjusted",
    "check_reachable",
    "family_pvalues",
    "family_statistics",
    "single_step",
    "step_down",
]

# By the order in which they reject more: of p-values alone, and of the joint null.
SEPARATE = ("bonferroni", "holm", "fdr_by", "fdr_bh")
JOINT = ("maxT", "maxT-stepdown", "minP")
CORRECTIONS = SEPARATE + JOINT


def adjusted(pvalues: Float[np.ndarray, " tests"], correction: str) -> Float[np.ndarray, " tests"]:
    """Adjust p-values for their number, from themselves alone.

    Args:
        pvalues: unadjusted.
        correction: "bonferroni" and "holm" control the family-wise error rate whatever the dependence; "fdr_bh" the
            false discovery rate of independent or positively dependent tests, "fdr_by" of any.

    Raises:
        ValueError: an unknown correction, or what are no p-values.

    Example:
        >>> import numpy as np
        >>> from jaxmem.inference import adjusted
        >>> adjusted(np.array([0.01, 0.04, 0.03]), "holm")
        array([0.03, 0.06, 0.06])
    """
    one_of(correction, SEPARATE, "correction")
    pvalues = np.asarray(pvalues, float)
    if pvalues.ndim != 1 or not ((pvalues >= 0) & (pvalues <= 1)).all():
        raise ValueError("pvalues must be a vector of numbers from 0 to 1, none of them NaN.")
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
    """What joint corrections compare: scores turned so that larger is more extreme, on a scale that tests share.

    Every test is turned by itself: a family can be passed in parts.

    Args:
        scores: of every test under the permutations 0 .. B, the observed labelling first.
        alternative: "less" changes the sign; "two-sided" takes distances from each test's mean.
        correction: for "minP", minus how many labellings are at least as extreme as each, itself included.
        studentize: divide each test by its standard deviation, after taking off its mean. Both are over all B + 1
            labellings, and so are themselves the same under every permutation: the test stays exact.
        rounding: as in `pvalue`; for "minP" it is spent here, on counts that compare exactly.

    Raises:
        ValueError: an unknown alternative, NaN, or infinite scores where means are asked for.

    Example:
        >>> import numpy as np
        >>> from jaxmem.inference import family_statistics
        >>> family_statistics(np.array([[0.9, 0.4, 0.5], [0.6, 0.7, 0.8]]), "less", "maxT")
        array([[-0.9, -0.4, -0.5],
               [-0.6, -0.7, -0.8]])
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
    below = [np.searchsorted(np.sort(row), row - tolerance(row, rounding), side="left") for row in turned]
    return np.stack(below).astype(float) - turned.shape[1]


def single_step(
    observed: Float[np.ndarray, " tests"],
    largest: Float[np.ndarray, " labellings"],
    correction: str,
    *,
    rounding: float = 0.0,
) -> Float[np.ndarray, " tests"]:
    """Westfall and Young's adjusted p-values: every test against the largest statistic of the family.

    Args:
        observed: each test's statistic on the observed labelling, as `family_statistics` returns them.
        largest: the maximum over all tests under each labelling, the observed one first. It can be taken test after
            test, so that a family of any size needs no more memory than two of its tests.
        correction: "maxT" or "minP", whose counts compare without rounding.
        rounding: as in `pvalue`.

    Example:
        >>> import numpy as np
        >>> from jaxmem.inference import family_statistics, single_step
        >>> scores = np.array([[0.9, 0.4, 0.5, 0.3], [0.6, 0.7, 0.8, 0.2]])
        >>> statistics = family_statistics(scores, "greater", "maxT")
        >>> single_step(statistics[:, 0], statistics.max(axis=0), "maxT")
        array([0.25, 0.75])
    """
    nearby = tolerance(observed, 0.0 if correction == "minP" else rounding)
    # Labellings that reach a statistic, counted without a table of tests times labellings.
    ordered = np.sort(largest)
    return (ordered.size - np.searchsorted(ordered, observed - nearby, side="left")) / ordered.size


def step_down(
    statistics: Float[np.ndarray, "tests labellings"], *, rounding: float = 0.0
) -> Float[np.ndarray, " tests"]:
    """Westfall and Young's step-down: the second largest observed statistic against the maximum over the others, ...

    It rejects whatever `single_step` does, and takes all tests' statistics at once.

    Args:
        statistics: as `family_statistics` returns them.
        rounding: as in `pvalue`.

    Example:
        >>> import numpy as np
        >>> from jaxmem.inference import family_statistics, step_down
        >>> scores = np.array([[0.9, 0.4, 0.5, 0.3], [0.6, 0.7, 0.8, 0.2]])
        >>> step_down(family_statistics(scores, "greater", "maxT"))
        array([0.25, 0.75])
    """
    observed = statistics[:, 0]
    nearby = tolerance(observed, rounding)
    pvalues, running = np.empty(len(observed)), np.full_like(statistics[0], -np.inf)
    ascending = np.argsort(observed, kind="stable")
    for test in ascending:
        running = np.maximum(running, statistics[test])
        pvalues[test] = (running >= observed[test] - nearby[test]).mean()
    # A smaller statistic is never rejected where a larger one was not.
    descending = ascending[::-1]
    pvalues[descending] = np.maximum.accumulate(pvalues[descending])
    return pvalues


def family_pvalues(
    scores: Float[np.ndarray, "tests labellings"], alternative: str, correction: str, *, rounding: float = 0.0
) -> tuple[Float[np.ndarray, " tests"], Float[np.ndarray, " tests"]]:
    """p-values of every test on its own, and adjusted; for a family whose scores fit into memory.

    Args:
        scores: of every test under the permutations 0 .. B, the observed labelling first. For maxT they are
            studentised: the test whose null spreads widest must not decide for all.
        alternative, correction, rounding: as for `family_statistics` and `pvalue`.

    Raises:
        ValueError: an unknown correction or alternative, or NaN.

    Example:
        >>> import numpy as np
        >>> from jaxmem.inference import family_pvalues
        >>> scores = np.random.default_rng(0).normal(size=(2, 100))
        >>> scores[:, 0] = 5, 0  # The observed labelling.
        >>> raw, adjusted = family_pvalues(scores, "greater", "maxT")
        >>> adjusted[0], adjusted[1] >= raw[1]
        (np.float64(0.01), np.True_)
    """
    one_of(correction, CORRECTIONS, "correction")
    separate = np.array([pvalue(float(row[0]), row[1:], alternative, rounding=rounding) for row in scores])
    if correction not in JOINT:
        return separate, adjusted(separate, correction)
    studentize = correction.startswith("maxT")
    statistics = family_statistics(scores, alternative, correction, studentize=studentize, rounding=rounding)
    if correction == "maxT-stepdown":
        joint = step_down(statistics, rounding=rounding)
    else:
        joint = single_step(statistics[:, 0], statistics.max(axis=0), correction, rounding=rounding)
    # Where two-sided p-values count the smaller tail, the larger of the two is meant.
    return separate, np.maximum(joint, separate)


def check_reachable(correction: str, n_tests: int, n_permutations: int, alternative: str, alpha: float) -> None:
    """Refuse a family in which nothing could ever be rejected at `alpha`.

    Raises:
        ValueError: alpha outside (0, 1), or too few permutations; the message says how many it takes.

    Example:
        >>> from jaxmem.inference import check_reachable
        >>> check_reachable("bonferroni", n_tests=10, n_permutations=99, alternative="greater", alpha=0.05)
        Traceback (most recent call last):
            ...
        ValueError: correction 'bonferroni' of 10 tests cannot reach alpha = 0.05 ...
    """
    one_of(correction, CORRECTIONS, "correction")
    one_of(alternative, ALTERNATIVES, "alternative")
    check_level(alpha, "alpha")
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
