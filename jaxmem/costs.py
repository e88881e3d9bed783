"""What a test costs before it is run: operations, bytes, what devices send each other, memory, and seconds.

A test of B permutations goes through four stages, for n rows to fit and m to score, r coordinates (as many as there are
features d, or one less than rows where these are fewer) and C classes:

    prepare   once: of ridge two Gram matrices, their factorisations, the coordinates of all rows
    draw      B times: n labels moved to other rows
    fit       B times: indicators of C - 1 classes, and their product with the coordinates, 2 n r (C - 1) operations
    score     B times: the product of the rows to score with the class sums, 2 m r (C - 1), and the best of C scores

and the time of a stage is the sum of its products, factorisations, cells and draws, each at the rate of the device. A
cell is a pair of row and class that is written once and read once, be it an indicator or a score.

Devices that share the permutations out each hold all features, and nothing is sent between them but these, once, and
the scores. Those that share the rows out add up between them two matrices of d by d, once, and the class sums of every
permutation, and tell each other the labels that they drew and the (C - 1) d coefficients that they solved for. A sum
of k floats takes each of R devices 2 (R - 1) / R k floats to send, and to tell each other k in all half of that.

Rates of devices are those of `jaxmem.rates`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from jaxmem.batches import batch_size_of
from jaxmem.blocks import BLOCK_ROWS
from jaxmem.inputs import as_number, one_of
from jaxmem.rates import ATTAINED, DEVICES, FLOAT, Device, calibrate
from jaxmem.scoring import PRECISIONS

__all__ = ["ATTAINED", "DEVICES", "Device", "Plan", "Stage", "calibrate", "plan"]

_USABLE = 0.9  # Of a device's memory; a tenth is left for what the compiler needs besides.


@dataclass(frozen=True)
class Stage:
    """What a stage of a test costs in all.

    Attributes:
        name: "prepare", "draw", "fit" or "score".
        products: operations in matrix products.
        factors: operations in factorisations.
        cells: pairs of row and class that are written and read.
        draws: labels that are moved.
        sent: bytes that devices send each other.
        seconds: on the devices of the plan.

    Examples:
        >>> from jaxmem.costs import plan
        >>> [stage.name for stage in plan(4_000, 256, 10, 999, device="h100").stages]
        ['prepare', 'draw', 'fit', 'score']
    """

    name: str
    products: float
    factors: float
    cells: float
    draws: float
    sent: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What a test costs.

    Attributes:
        stages: one after the other.
        device: on which.
        n_devices: on how many of them.
        batch_size: permutations at once on each of them, as the engine chooses.
        memory: bytes on each of them, at the most.
        rows: how many parts the rows are shared out in.
        needs: in how many parts, a power of two, memory would hold them, at the least; 0: in none.

    Examples:
        >>> from jaxmem.costs import plan
        >>> costs = plan(60_000, 512, 10, 9_999, device="h100", devices=8)
        >>> costs.fits, costs.needs  # Every device holds all features.
        (True, 1)
        >>> costs.memory < costs.device.memory
        True
    """

    stages: tuple[Stage, ...]
    device: Device
    n_devices: int
    batch_size: int
    memory: float
    rows: int
    needs: int

    @property
    def fits(self) -> bool:
        """Whether memory holds it."""
        return self.memory <= _USABLE * self.device.memory

    @property
    def seconds(self) -> float:
        """Of all stages, without compiling (seconds to a minute, once)."""
        return sum(stage.seconds for stage in self.stages)

    def __str__(self) -> str:
        """A line for every stage, and what there is to say about memory."""
        parts = f", rows in {self.rows} parts" if self.rows > 1 else ""
        lines = [f"{self.n_devices} x {self.device.name}{parts}, batches of {self.batch_size} on each"]
        lines.append(
            f"{'':8} {'products':>10} {'factors':>10} {'cells':>10} {'draws':>10} {'sent':>10} {'seconds':>10}"
        )
        for stage in self.stages:
            numbers = (stage.products, stage.factors, stage.cells, stage.draws, stage.sent, stage.seconds)
            lines.append(f"{stage.name:8} " + " ".join(f"{number:>10.3g}" for number in numbers))
        known = f" of {self.device.memory / 1e9:.3g}" if math.isfinite(self.device.memory) else ""
        lines.append(f"{self.seconds:.3g} s in all, {self.memory / 1e9:.3g} GB on each{known}")
        if not self.fits:
            shared = f"share the rows out in {self.needs} parts, among as many devices, or "
            lines.append(
                f"It does not fit: {shared if self.needs else ''}take fewer features, or devices with more memory."
            )
        return "\n".join(lines)


class _Cost(NamedTuple):
    """What is done once, or once a permutation; see `Stage`."""

    products: float = 0.0
    factors: float = 0.0
    cells: float = 0.0
    draws: float = 0.0


def _ridge(n: int, m: int, d: int, r: int, C: int) -> tuple[_Cost, _Cost, _Cost]:
    # Two Gram matrices, of which a quarter is mirrored, and the coordinates; the rows to score; whitening, inverse and
    # basis. In r < d dimensions first an orthonormal basis of the rows.
    products = 5 * n * r * r + 2 * m * d * r + 6 * r**3 + (4 * d * n * r if r < d else 0)
    return _Cost(products, 18 * r**3), _sums(n, r, C), _scores(m, r, C)


def _lda(n: int, m: int, d: int, r: int, C: int) -> tuple[_Cost, _Cost, _Cost]:
    prepare = _Cost(2 * n * r * r + 2 * (n + m) * d * r, 9 * r**3)
    sums = _sums(n, r, C)
    # And C - 1 equations between the classes.
    fit = sums._replace(products=sums.products + 4 * r * (C - 1) ** 2, factors=2 * (C - 1) ** 3)
    return prepare, fit, _scores(m, r, C)


def _centroid(n: int, m: int, d: int, r: int, C: int) -> tuple[_Cost, _Cost, _Cost]:
    return _Cost(cells=(n + m) * d), _sums(n, d, C), _scores(m, d, C)


def _knn(n: int, m: int, d: int, r: int, C: int) -> tuple[_Cost, _Cost, _Cost]:
    """Of one neighbour: all distances once; then a row takes its neighbour's label."""
    # As measured on CPUs: to see whether a distance is the smallest takes a fifth longer than to draw a label, and to
    # fetch one from elsewhere as long.
    return _Cost(2 * n * m * d, draws=1.2 * n * m), _Cost(), _Cost(draws=m)


def _held(classifier: str, n: int, m: int, r: int) -> int:
    """Bytes of what is kept of the rows."""
    return FLOAT * (m + n if classifier == "knn" else n * r + m * r)


def _sums(n: int, r: int, C: int) -> _Cost:
    return _Cost(2 * n * r * (C - 1), cells=n * (C - 1))


def _scores(m: int, r: int, C: int) -> _Cost:
    return _Cost(2 * m * r * (C - 1), cells=m * C)


_COSTS: Mapping[str, Callable[[int, int, int, int, int], tuple[_Cost, _Cost, _Cost]]] = {
    "ridge": _ridge,
    "lda": _lda,
    "centroid": _centroid,
    "knn": _knn,
}


def _by_rows(classifier: str, n: int, m: int, d: int, C: int, R: int) -> tuple[_Cost, _Cost, _Cost]:
    """As `_COSTS` have it, of one of `R` devices that share the rows out and has `n` and `m` of them."""
    if classifier == "centroid":
        return _centroid(n, m, d, d, C)
    # Two Gram matrices, of rows as they are and along axes, and their factorisations; the classifier's, of d rows.
    prepare, fit, _ = _COSTS[classifier](d, 0, d, d, C)
    prepare = _Cost(prepare.products + 6 * n * d * d, prepare.factors + 18 * d**3)
    # Equations are solved for coefficients of the features, each by one of the devices.
    solve = fit.products - _sums(d, d, C).products + 4 * d * d * (C - 1)
    sums = _sums(n, d, C)
    return prepare, _Cost(sums.products + solve / R, fit.factors / R, sums.cells), _scores(m, d, C)


def plan(
    n: int,
    d: int,
    classes: int,
    permutations: int,
    *,
    m: int | None = None,
    classifier: str = "ridge",
    device: str | Device = "here",
    devices: int = 1,
    rows: int = 1,
    precision: str = "float32",
) -> Plan:
    """What a permutation test costs: operations, bytes between devices, memory, and seconds, before it is run.

    Args:
        n: training rows.
        d: features.
        classes: C, number of classes, at least 2.
        permutations: B.
        m: rows to score; None: as many as training rows, copies of each.
        classifier: "ridge", "lda", "centroid" or "knn" (one neighbour), each at its simplest.
        device: one of `DEVICES`, "here" for the one that JAX computes on, which is measured first, or a `Device`.
        devices: how many of them there are.
        rows: how many parts the rows are shared out in, which divides `devices`; these share the permutations out in
            `devices / rows` parts. 1: each holds all rows. Not for "knn".
        precision: as in `permutation_test`.

    Raises:
        ValueError: a number that is none, or an unknown name.

    Examples:
        >>> from jaxmem.costs import plan
        >>> print(plan(1_281_167, 2_048, 1_000, 10_000, device="h100", precision="tf32"))
        1 x NVIDIA H100 SXM, ...
        ...
        456 s in all, 52.6 GB on each of 80
    """
    m = n if m is None else m
    sizes = {"n": n, "d": d, "classes": classes, "permutations": permutations, "m": m, "devices": devices, "rows": rows}
    n, d, classes, permutations, m, devices, rows = (as_number(size, name) for name, size in sizes.items())
    if classes < 2 or n < 2:
        raise ValueError(f"a test takes two rows and two classes, but n is {n} and classes is {classes}.")
    one_of(classifier, _COSTS, "classifier")
    one_of(precision, PRECISIONS, "precision")
    if not isinstance(device, Device):
        device = calibrate(classes) if device == "here" else DEVICES[one_of(device, ["here", *DEVICES], "device")]
    if devices % rows or (rows > 1 and classifier == "knn"):
        raise ValueError(f"rows must divide devices, and be 1 for knn, but rows is {rows} and devices is {devices}.")
    r = min(d, n - 1) if classifier in ("ridge", "lda") and rows == 1 else d
    labellings, label = permutations + 1, 1 if classes <= 256 else 4  # So many bytes a label.
    # Of the device that has most.
    own, own_n, own_m = -(-labellings // (devices // rows)), -(-n // rows), -(-m // rows)
    whole = part = _COSTS[classifier](n, m, d, r, classes)
    if rows > 1:
        whole, part = _by_rows(classifier, n, m, d, classes, 1), _by_rows(classifier, own_n, own_m, d, classes, rows)
    held = _held(classifier, own_n, own_m, r)

    def memory_of(parts: int) -> tuple[float, int]:
        """Bytes on a device, and labellings a batch, where rows are shared out in so many parts."""
        n_part, m_part, r = -(-n // parts), -(-m // parts), min(d, n - 1) if parts == 1 else d
        fit_bytes = FLOAT * ((classes - 1) * r + min(BLOCK_ROWS, m) * classes)
        if classifier == "knn":  # Its fit are the labels, and it predicts without scores.
            fit_bytes = label * (n + min(BLOCK_ROWS, m))
        batch = parts * -(-batch_size_of(n, fit_bytes, own, cached=device.cached) // parts)
        # While features are prepared: themselves, centred, what becomes of both sets of rows, and for ridge and LDA a
        # basis, if rows are few, and four matrices as large as its square.
        features = FLOAT * (2 * n_part + m_part) * d + _held(classifier, n_part, m_part, r)
        matrices = FLOAT * (4 * r * r + (d * r if r < d else 0)) * (classifier in ("ridge", "lda"))
        return float(features + matrices + batch * (8 * n + fit_bytes)), batch

    memory, batch_size = memory_of(rows)

    def stage(name: str, whole: _Cost, part: _Cost, sent: float | int, at_once: int = 1) -> Stage:
        # Preparing is in full precision, and done by every device; of all else each has its share.
        times, share, rate = (1, 1, "float32") if name == "prepare" else (labellings, own, precision)
        work = part.products / device.products[rate], part.factors / device.factors, part.cells / device.cells
        seconds = share * (sum(work) + part.draws / device.draws) + device.start * (name == "prepare")
        products, factors, cells, draws = (float(times * one) for one in whole)
        return Stage(name, products, factors, cells, draws, float(sent), seconds + sent / (device.link * at_once))

    # What is sent along the rows, by all devices at once.
    others = rows - 1
    scatter = 2 * 2 * others * (devices // rows) * FLOAT * d * d * (classifier != "centroid")
    sums = 3 * others * labellings * FLOAT * (classes - 1) * d
    stages = (
        stage("prepare", whole[0], part[0], scatter if rows > 1 else (devices - 1) * held, devices if rows > 1 else 1),
        stage("draw", _Cost(draws=n), _Cost(draws=n / rows), others * labellings * label * n, devices),
        stage("fit", whole[1], part[1], sums, devices),
        stage("score", whole[2], part[2], 8 * labellings * (devices > 1)),
    )
    parts = [1] if classifier == "knn" else [2**k for k in range(n.bit_length())]
    needs = next((k for k in parts if memory_of(k)[0] <= _USABLE * device.memory), 0)
    return Plan(stages, device, devices, batch_size, memory, rows, needs)
