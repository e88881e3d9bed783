"""The ridge null against the loop that one writes with scikit-learn: same permutations, same process, same scores.

Run: `pytest benchmarks/test_ridge_null.py --benchmark-enable -s`. The ratio is printed and saved by
pytest-benchmark; nothing is asserted about time, for machines differ.
"""

import time

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

import jaxmem as jm

SHAPES = {"digits-like": (4_000, 256, 10), "small": (300, 64, 2)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_ridge_null(benchmark, shape):
    n, d, n_classes = shape
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32)
    X_val = X + 0.5 * rng.standard_normal((n, d), dtype=np.float32)
    y = rng.integers(0, n_classes, n)

    def ours(n_permutations):
        return jm.permutation_test(
            jm.Ridge(), X, y, validation=jm.SharedStructure(X_val), n_permutations=n_permutations, progress=False
        )

    B, B_peer = 1_000, 10
    ours(B)  # Compiles.
    result = benchmark.pedantic(ours, (B,), rounds=5)

    def peer():
        scores = []
        for b in range(1, B_peer + 1):
            labels = result.labels(b)
            scores.append(RidgeClassifier(alpha=1.0).fit(X, labels).score(X_val, labels))
        return scores

    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        scores = peer()
        seconds.append((time.perf_counter() - start) / B_peer)
    np.testing.assert_allclose(result.null_distribution[:B_peer], scores, atol=2 / n)
    if benchmark.enabled:
        ratio = np.median(seconds) / (benchmark.stats.stats.median / B)
        benchmark.extra_info["ratio"] = ratio
        print(f"\nn = m = {n}, d = {d}, C = {n_classes}: {ratio:.0f} times a scikit-learn refit per permutation")
