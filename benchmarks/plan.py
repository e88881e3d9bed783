"""What `jaxmem.costs.plan` says beforehand beside what a test takes: seconds, over a grid of sizes and classifiers."""

from collections.abc import Callable
from typing import Any

import jaxmem as jm
from benchmarks.measure import gaussian, in_turn
from jaxmem.costs import calibrate, plan

_CLASSIFIERS = {
    "ridge": jm.Ridge(),
    "lda": jm.LDA(shrinkage=0.1),
    "centroid": jm.NearestCentroid(),
    "knn": jm.KNeighbors(1),
}
_SIZES = ((4_000, 64, 10), (4_000, 256, 10), (16_000, 128, 10), (4_000, 128, 100))


def predicted_and_measured(B: int = 1_000, rounds: int = 3, sizes: Any = _SIZES) -> dict[str, Any]:
    """Seconds predicted and measured, and their ratio, by classifier and sizes; the worst ratio either way."""
    tests = {}
    for name, classifier in _CLASSIFIERS.items():
        for n, d, C in sizes:
            # Just before the test, for the pace of a machine that others share varies by more than the plan may err.
            predicted = plan(n, d, C, B, classifier=name, device=calibrate(C)).seconds
            seconds = in_turn({"test": _test(classifier, n, d, C, B)}, rounds)["test"]
            tests[f"{name}, n {n}, d {d}, C {C}"] = {
                "predicted_seconds": predicted,
                "measured_seconds": seconds,
                "predicted_over_measured": predicted / seconds,
            }
    ratios = [test["predicted_over_measured"] for test in tests.values()]
    return {
        "tests": tests,
        "smallest_ratio": min(ratios),
        "largest_ratio": max(ratios),
    }


def _test(classifier: Any, n: int, d: int, C: int, B: int) -> Callable[[], Any]:
    X, y, copies = gaussian(n, d, C)
    design = jm.SharedStructure(copies)
    return lambda: jm.permutation_test(classifier, X, y, validation=design, n_permutations=B, progress=False).pvalue
