"""What `jaxmem.costs.plan` says beforehand beside what a test takes: seconds, over a grid of sizes and classifiers."""

import statistics
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


def predicted_and_measured(B: int = 1_000, rounds: int = 5, sizes: Any = _SIZES) -> dict[str, Any]:
    """Medians of seconds predicted and measured and of their ratio, by classifier and sizes; the worst ratios."""
    tests = {}
    for name, classifier in _CLASSIFIERS.items():
        for n, d, C in sizes:
            test, pairs = _test(classifier, n, d, C, B), []
            for _ in range(rounds):
                # Just before the test, for the pace of a machine that others share varies by more than the plan errs.
                predicted = plan(n, d, C, B, classifier=name, device=calibrate(C)).seconds
                pairs.append((predicted, in_turn({"test": test}, 1)["test"]))
            tests[f"{name}, n {n}, d {d}, C {C}"] = {
                "predicted_seconds": statistics.median(predicted for predicted, _ in pairs),
                "measured_seconds": statistics.median(measured for _, measured in pairs),
                "predicted_over_measured": statistics.median(predicted / measured for predicted, measured in pairs),
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
