"""Peak resident memory of whole tests, each in a process of its own: the inputs and a constant, whatever B is."""

from typing import Any

from benchmarks.measure import in_new_process

# (n and m, d, B): the same two problems under more and more permutations.
SIZES = [(60_000, 512, B) for B in (100, 1_000, 10_000)] + [(4_000, 256, B) for B in (1_000, 100_000, 1_000_000)]

_TEST = """
import json, numpy as np, jaxmem as jm
from benchmarks.measure import peak_memory
n, d, B = {n}, {d}, {B}
rng = np.random.default_rng(0)
X, X_val = np.empty((2, n, d), np.float32)
for row, copy in zip(X, X_val):  # Row by row: the peak shall be the test's and not this program's.
    row[:] = rng.standard_normal(d, dtype=np.float32)
    copy[:] = row + 0.5
before = peak_memory()
jm.permutation_test(
    jm.Ridge(), X, rng.integers(0, 10, n), validation=jm.SharedStructure(X_val), n_permutations=B, progress=False
)
print(json.dumps({{"inputs_mib": 2 * X.nbytes / 2**20, "before_mib": before, "peak_mib": peak_memory()}}))
"""


def peaks() -> dict[str, Any]:
    """MiB: the inputs, what Python and JAX hold before the test (inputs included), and the peak."""
    return {f"n=m={n} d={d} B={B}": in_new_process(_TEST.format(n=n, d=d, B=B)) for n, d, B in SIZES}
