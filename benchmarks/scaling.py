"""How the time of a ridge test grows with permutations, rows, rows to score and features: measured exponents."""

from collections.abc import Sequence

import numpy as np

import jaxmem as jm
from benchmarks.measure import gaussian, in_turn

_BASE = {"B": 400, "n": 8_000, "m": 8_000, "d": 128}
_RANGES = {"B": (400, 800, 1_600, 3_200), "n": (8_000, 16_000, 32_000, 64_000), "d": (64, 128, 256, 512)}


def exponents(rounds: int = 5) -> dict[str, dict[str, float]]:
    """Slope of log seconds against log size, one size varied at a time; 1 is linear, less has an offset in it."""
    return {name: _exponent(name, sizes, rounds) for name, sizes in {**_RANGES, "m": _RANGES["n"]}.items()}


def _exponent(name: str, sizes: Sequence[int], rounds: int) -> dict[str, float]:
    functions = {str(size): _test(**{**_BASE, name: size}) for size in sizes}
    seconds = in_turn(functions, rounds)
    slope = np.polyfit(np.log(sizes), np.log([seconds[str(size)] for size in sizes]), 1)[0]
    return {"exponent": float(slope), **{f"seconds at {size}": value for size, value in seconds.items()}}


def _test(B: int, n: int, m: int, d: int):
    X, y, copies = gaussian(n, d, 10)
    source = np.arange(m) % n
    validation = jm.SharedStructure(copies[source], source)
    return lambda: jm.permutation_test(jm.Ridge(), X, y, validation=validation, n_permutations=B, progress=False).pvalue
