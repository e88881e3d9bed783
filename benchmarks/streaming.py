"""Features on disk beside the same in memory: throughput of the ridge test, and peak memory as the rows grow.

The files lie in the system's cache (they were just written), so that what is timed is the work and not the disk. Every
batch of permutations reads all rows; in memory, they are factorised and placed once and stay where they are.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import jaxmem as jm
from benchmarks.measure import gaussian, in_new_process, in_turn

# Rows to fit and as many to score, of so many features, for so many permutations.
MEMORY_SIZES = (60_000, 240_000)
MEMORY_FEATURES, MEMORY_PERMUTATIONS = 512, 100

_TEST = """
import json, numpy as np, jaxmem as jm
from benchmarks.measure import peak_memory
X, X_val = (np.load({folder!r} + name, mmap_mode="r") for name in ("/X.npy", "/X_val.npy"))
y = np.random.default_rng(0).integers(0, 10, len(X))
before = peak_memory()
validation = jm.SharedStructure(X_val)
jm.permutation_test(jm.Ridge(), X, y, validation=validation, n_permutations={B}, batch_size={B} + 1, progress=False)
labels = ({B} + 1) * len(X) / 2**20
print(json.dumps(
    {{"features_mib": 2 * X.nbytes / 2**20, "labels_mib": labels, "before_mib": before, "peak_mib": peak_memory()}}
))
"""


def against_memory(
    n: int = 60_000, d: int = 512, n_classes: int = 10, n_permutations: int = 512, rounds: int = 5
) -> dict[str, Any]:
    """Seconds of both and the throughput of the streamed one as a share of that in memory; and peaks of memory."""
    X, y, X_val = gaussian(n, d, n_classes)
    options = {"n_permutations": n_permutations, "progress": False}

    def test(X: np.ndarray, X_val: np.ndarray) -> np.ndarray:
        validation = jm.SharedStructure(X_val)
        return jm.permutation_test(jm.Ridge(), X, y, validation=validation, **options).null_distribution

    with tempfile.TemporaryDirectory() as folder:
        on_disk = _written(Path(folder), X), _written(Path(folder), X_val, "X_val.npy")
        seconds = in_turn({"in memory": lambda: test(X, X_val), "streamed": lambda: test(*on_disk)}, rounds)
        difference = np.abs(test(X, X_val) - test(*on_disk)).max()
    return {
        "n": n,
        "m": n,
        "d": d,
        "n_classes": n_classes,
        "n_permutations": n_permutations,
        "seconds": seconds,
        "throughput_over_memory": seconds["in memory"] / seconds["streamed"],
        "largest_difference_of_scores": float(difference),
        "memory": {f"n=m={size}": _peak(size) for size in MEMORY_SIZES},
    }


def _written(folder: Path, rows: np.ndarray, name: str = "X.npy") -> np.ndarray:
    np.save(folder / name, rows)
    return np.load(folder / name, mmap_mode="r")


def _peak(n: int) -> dict[str, float]:
    """MiB: the features on disk, a batch's labels, what Python and JAX hold before the test, and the peak."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("X.npy", "X_val.npy"):
            rows = np.lib.format.open_memmap(f"{folder}/{name}", "w+", np.float32, (n, MEMORY_FEATURES))
            for start in range(0, n, 10_000):
                block = rows[start : start + 10_000]
                block[:] = rng.standard_normal(block.shape, dtype=np.float32)
        return in_new_process(_TEST.format(folder=folder, B=MEMORY_PERMUTATIONS))
