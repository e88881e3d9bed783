"""How fast devices are: accelerators by their data sheets, the one that is here as measured.

Rates of accelerators are those of their data sheets times `ATTAINED`, the share that large products reach (an
assumption, and not measured): NVIDIA H100 Tensor Core GPU, data sheet (2023), SXM; Google Cloud, TPU v5e and TPU v5p,
system architecture (2024). A TPU multiplies in bfloat16 and takes six passes for single precision. The rates of the
device that is here are measured (`calibrate`).
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmem.batches import batch_size_of
from jaxmem.blocks import BLOCK_ROWS
from jaxmem.classifiers import NearestCentroid
from jaxmem.engine import permutation_test
from jaxmem.fits import PreparedFit
from jaxmem.metrics import METRICS
from jaxmem.permutations import random_stream
from jaxmem.scoring import PRECISIONS
from jaxmem.threads import one_blas_thread
from jaxmem.validation import Part, Resubstitution

__all__ = ["ATTAINED", "DEVICES", "FLOAT", "Device", "calibrate", "in_turn"]

ATTAINED = 0.6
FLOAT = 4  # Bytes of a feature.
# Integer operations of the twelve rounds that move a label, and what is left of the bytes: a gather is not contiguous.
_OPERATIONS_PER_DRAW, _BYTES_PER_DRAW = 150, 64


@dataclass(frozen=True)
class Device:
    """How fast a device is.

    Attributes:
        name: what it is called.
        products: operations a second in matrix products, by precision; a multiplication and an addition are two.
        cells: pairs of row and class a second, each written and read once.
        draws: labels a second that find their row.
        factors: operations a second in factorisations, of which one of r columns takes 9 r³.
        memory: bytes that one device holds; infinite where it does not say.
        link: bytes a second between two of them.
        cached: whether batches are kept small for a cache, as on a CPU.
        start: seconds that the host takes for a test of any size.

    Examples:
        >>> from jaxmem.costs import DEVICES, Device, plan
        >>> DEVICES["h100"].memory
        80000000000.0
        >>> mine = Device("mine", {"float32": 1e12}, cells=1e10, draws=1e9, factors=1e10, memory=8e9, link=1e10)
        >>> plan(4_000, 256, 10, 999, device=mine).n_devices
        1
    """

    name: str
    products: Mapping[str, float]
    cells: float
    draws: float
    factors: float
    memory: float
    link: float
    cached: bool = False
    start: float = 0.0


def _accelerator(
    name: str, products: Mapping[str, float], bandwidth: float, integers: float, memory: float, link: float
) -> Device:
    """A device by its data sheet: operations a second by precision, bytes a second, integer operations a second."""
    attained = {precision: ATTAINED * peak for precision, peak in products.items()}
    draws = ATTAINED * min(integers / _OPERATIONS_PER_DRAW, bandwidth / _BYTES_PER_DRAW)
    # Factorisations of a few thousand columns are far from the rate of products: a twentieth, by rule of thumb.
    factors = attained["float32"] / 20
    return Device(name, attained, ATTAINED * bandwidth / (2 * FLOAT), draws, factors, memory, link)


DEVICES: Mapping[str, Device] = {
    "h100": _accelerator(
        "NVIDIA H100 SXM", {"float32": 67e12, "tf32": 495e12, "bfloat16": 989e12}, 3.35e12, 33.5e12, 80e9, 450e9
    ),
    "tpu-v5e": _accelerator(
        "TPU v5e", {"float32": 197e12 / 6, "tf32": 197e12 / 3, "bfloat16": 197e12}, 819e9, 6e12, 16e9, 100e9
    ),
    "tpu-v5p": _accelerator(
        "TPU v5p", {"float32": 459e12 / 6, "tf32": 459e12 / 3, "bfloat16": 459e12}, 2.765e12, 14e12, 95e9, 300e9
    ),
}


def calibrate(classes: int = 10, rounds: int = 15) -> Device:
    """Measure the device that JAX computes on with the programs that tests run, in a few seconds.

    Two widths of features tell products from cells: what does not grow with the width is the cells'.

    Args:
        classes: of the tests that are planned, for the rates depend on how long a row of scores is.
        rounds: how often everything is measured, in turn; the medians count.

    Examples:
        >>> from jaxmem.costs import calibrate, plan
        >>> here = calibrate(rounds=1)
        >>> plan(4_000, 256, 10, 999, device=here).seconds < 600
        True
    """
    device, n, C, narrow, wide = jax.devices()[0], 4_000, classes, 16, 256
    cached = device.platform == "cpu"
    indices = jnp.arange(256)
    B = batch_size_of(n, FLOAT * C * (wide + BLOCK_ROWS), len(indices), cached=cached)
    key, codes = jax.random.key(0), jnp.arange(n).astype(jnp.uint8 if C <= 256 else jnp.int32) % C
    draw = jax.jit(jax.vmap(random_stream(key, codes).labels, (None, 0)))
    labels = draw(codes, indices)[:B]
    few, both, once = jax.random.normal(key, (8, 2)), np.arange(8) % 2, {"n_permutations": 9, "progress": False}
    smallest = partial(permutation_test, NearestCentroid(), few, both, validation=Resubstitution(), **once)
    square = jnp.eye(256) + 1 / 256
    programs = {
        "draws": lambda: draw(codes, indices),
        "factors": lambda: jnp.linalg.eigh(square),
        "start": lambda: smallest().pvalue,
    }
    # A CPU has but one precision.
    precisions = ["float32"] if cached else list(PRECISIONS)
    for precision in precisions:
        programs |= {(precision, width): _scored(key, width, C, labels, precision) for width in (narrow, wide)}
    with one_blas_thread():  # As tests have it.
        seconds = in_turn(programs, rounds)
    operations = 4 * B * n * (C - 1)  # A column: of the fit, and of as many rows to score.

    def products(precision: str) -> float:
        least, most = seconds[precision, narrow], seconds[precision, wide]
        return operations * (wide - narrow) / max(most - least, most / 100)

    others = seconds["float32", narrow] - operations * narrow / products("float32")
    return Device(
        device.device_kind,
        {name: products(name if name in precisions else "float32") for name in PRECISIONS},
        cells=B * n * (2 * C - 1) / max(others, seconds["float32", narrow] / 100),
        draws=len(indices) * n / seconds["draws"],
        factors=9 * len(square) ** 3 / seconds["factors"],
        memory=(device.memory_stats() or {}).get("bytes_limit", math.inf),
        link=math.inf,
        cached=cached,
        start=seconds["start"],
    )


def _scored(key: Any, d: int, n_classes: int, labels: Any, precision: str) -> Callable[[], Any]:
    """A batch of labellings, fitted and scored on features of some width."""
    X = jax.random.normal(key, (labels.shape[1], d))
    fit = PreparedFit(NearestCentroid(), METRICS["accuracy"], X, n_classes, {"rows": Part(None, X)})

    def run() -> Any:
        with jax.default_matmul_precision(PRECISIONS[precision]):
            return fit(labels, None, np.ones(len(labels), bool)).metric

    return run


def in_turn(programs: Mapping[Any, Callable[[], Any]], rounds: int = 5) -> dict[Any, float]:
    """Median seconds of each; a round runs them all, so that a noisy moment hits them alike.

    Every program runs once before, to compile. What a program returns is waited for.
    """
    seconds: dict[Any, list[float]] = {name: [] for name in programs}
    for counted in range(rounds + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program())
            if counted:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}
