"""What a checkpoint costs: the share of a test's time that goes to saving, and to reading the features once.

Two runs of a test on a shared machine differ by more than a checkpoint costs, so that the cost is timed itself, within
the test. A file system in memory, or a slow one, makes another share: `TMPDIR` says where the file is.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import jaxmem as jm
from benchmarks.measure import gaussian
from jaxmem import scoring
from jaxmem.checkpoint import Checkpoint

# n and m, d, B.
SIZES = ((1_000, 64, 100_000), (4_000, 256, 5_000), (20_000, 512, 500))


def overhead(sizes: Sequence[tuple[int, int, int]] = SIZES, rounds: int = 1) -> dict[str, Any]:
    """Median seconds of a test with a checkpoint, how often it saved, and the shares of saving and of reading."""
    return {f"ridge n=m={n} d={d} B={B}": _measured(n, d, B, rounds) for n, d, B in sizes}


def _measured(n: int, d: int, B: int, rounds: int) -> dict[str, float]:
    X, y, X_val = gaussian(n, d, 10)
    found = []
    for _ in range(rounds + 1):  # The first compiles.
        reading, saving, written = [0.0], [0.0], [0.0]
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(scoring, "fingerprint", _timed(scoring.fingerprint, reading)),
            mock.patch.object(Checkpoint, "save", _timed(Checkpoint.save, saving)),
            mock.patch.object(Checkpoint, "_write", _timed(Checkpoint._write, written)),
        ):
            start = time.perf_counter()
            jm.permutation_test(
                jm.Ridge(),
                X,
                y,
                validation=jm.SharedStructure(X_val),
                n_permutations=B,
                checkpoint=Path(folder) / "file",
                progress=False,
            )
            seconds = time.perf_counter() - start
        found.append((seconds, len(written) - 1, sum(saving) / seconds, sum(reading) / seconds))
    names = "seconds", "saves", "share_of_saving", "share_of_reading_features"
    return {name: statistics.median(values) for name, values in zip(names, zip(*found[1:], strict=True), strict=True)}


def _timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            seconds.append(time.perf_counter() - start)

    return timed
