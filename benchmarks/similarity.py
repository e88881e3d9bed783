"""All pairs of 32 networks of width 256 on 2,000 rows, beside loops over the pairs in NumPy, in one process.

Per measure: `jaxmem` is `jm.similarities`; `textbook` the formula as published, from the features of both networks, for
every pair (a few pairs are timed, and their mean is multiplied by the number of pairs); `prepared` the best loop that
we could write in NumPy, which does for every network once what does not need the pair, as jaxmem does. Pairs are
those above the diagonal. Products of NumPy's and singular values of both run in OpenBLAS; see `benchmarks.monitor` for
what becomes of its threads on a machine that is busy.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import jaxmem as jm
from benchmarks import textbook
from benchmarks.measure import in_turn
from jaxmem.similarity import MEASURES as BY_NAME

MEASURES = (
    "cka", "cka-biased", "rbf-cka", "rsa", "rsa-spearman", "neighbors", "procrustes", "predictivity", "cca", "svcca",
    "pwcca", "agreement", "kappa", "jensen-shannon",
)  # fmt: skip


def all_pairs(
    n_networks: int = 32,
    n: int = 2_000,
    width: int = 256,
    n_classes: int = 10,
    textbook_pairs: int = 2,
    rounds: int = 1,
    measures: tuple[str, ...] = MEASURES,
) -> dict[str, Any]:
    """Seconds of every way by measure, and how many times as long as jaxmem the loops take."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((n, 20), dtype=np.float32)
    widths = {"features": width, "logits": n_classes, "predictions": n_classes}
    figures: dict[str, Any] = {"networks": n_networks, "rows": n, "width": width, "measures": {}}
    figures["openblas_threads"] = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    figures["cores_used"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for name in measures:
        d = widths[BY_NAME[name].facts.takes]
        mixes = rng.standard_normal((n_networks, 20, d), dtype=np.float32) / 4
        X = common @ mixes + rng.standard_normal((n_networks, n, d), dtype=np.float32)
        seconds = in_turn(
            {"jaxmem": partial(jm.similarities, X, name), "prepared": partial(_loop, *PREPARED[name], X)}, rounds
        )
        start = time.perf_counter()
        by_the_book = [textbook.TEXTBOOK[name](X[0], X[pair + 1]) for pair in range(textbook_pairs)]
        pairs = n_networks * (n_networks - 1) // 2
        seconds["textbook"] = (time.perf_counter() - start) / textbook_pairs * pairs
        found = jm.similarities(X[: textbook_pairs + 1], name)
        figures["measures"][name] = {
            "seconds": seconds,
            "textbook_over_jaxmem": seconds["textbook"] / seconds["jaxmem"],
            "prepared_over_jaxmem": seconds["prepared"] / seconds["jaxmem"],
            "largest_difference_from_textbook": float(np.abs(found[0, 1:] - by_the_book).max()),
            "largest_difference_from_prepared": float(
                np.abs(found - _loop(*PREPARED[name], X[: textbook_pairs + 1]))[0, 1:].max()
            ),
        }
    return figures


def _loop(prepare: Callable, compare: Callable, networks: np.ndarray) -> np.ndarray:
    states = [prepare(X) for X in networks]
    found = np.zeros((len(states), len(states)))
    for i in range(len(states)):
        for j in range(i + 1, len(states)):
            found[i, j] = compare(states[i], states[j])
    return found


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values)


def _u_centred(gram: np.ndarray) -> np.ndarray:
    n = len(gram)
    gram = gram.copy()
    np.fill_diagonal(gram, 0)
    sums = gram.sum(axis=0) / (n - 2)
    gram += sums.sum() / (n - 1) - sums - sums[:, None]
    np.fill_diagonal(gram, 0)
    return gram


def _linear(X: np.ndarray) -> np.ndarray:
    X = textbook.centred(X)
    return X @ X.T


def _unrolled(prepare: Callable, X: np.ndarray) -> np.ndarray:
    return _unit(prepare(X)).ravel()


def _off_diagonal(ranks: Callable, X: np.ndarray) -> np.ndarray:
    values = ranks(textbook.distances(textbook.centred(X))[np.triu_indices(len(X), 1)])
    return _unit(values - values.mean()).astype(np.float32)


def _neighbors(X: np.ndarray, k: int = 10) -> np.ndarray:
    found = textbook.distances(textbook.centred(X))
    np.fill_diagonal(found, np.inf)
    indicators = np.zeros(found.shape, np.float32)
    np.put_along_axis(indicators, np.argpartition(found, k, axis=1)[:, :k], 1, axis=1)
    return _unit(indicators).ravel()


def _nuclear(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.svd(a.T @ b, compute_uv=False).sum())


def _basis(X: np.ndarray) -> np.ndarray:
    return np.linalg.qr(textbook.centred(X))[0]


def _first_directions(X: np.ndarray) -> np.ndarray:
    left, values, _ = np.linalg.svd(textbook.centred(X), full_matrices=False)
    return left[:, : np.searchsorted(np.cumsum(values**2) / (values**2).sum(), 0.99) + 1]


def _mean_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return _nuclear(a, b) / min(a.shape[1], b.shape[1])


def _weighed(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.linalg.qr(textbook.centred(X))


def _weighted(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    left, found, right = np.linalg.svd(a[0].T @ b[0])
    weights = np.abs(left.T @ a[1]).sum(axis=1), np.abs(right @ b[1]).sum(axis=1)
    return float(sum(each @ found / each.sum() for each in weights) / 2)


def _predictor(X: np.ndarray, alpha: float = 1e-4) -> tuple[np.ndarray, np.ndarray]:
    X = _unit(textbook.centred(X))
    left, values, _ = np.linalg.svd(X, full_matrices=False)
    kept = values**2 / (values**2 + alpha)
    return left * np.sqrt(2 * kept - kept**2), X


def _explained(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    return float((np.linalg.norm(a[0].T @ b[1]) ** 2 + np.linalg.norm(b[0].T @ a[1]) ** 2) / 2)


def _kappa(a: np.ndarray, b: np.ndarray) -> float:
    by_chance = np.bincount(a, minlength=10) @ np.bincount(b, minlength=10) / len(a) ** 2
    return float(((a == b).mean() - by_chance) / (1 - by_chance))


def _probabilities(X: np.ndarray) -> tuple[np.ndarray, float]:
    powers = np.exp(X - X.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers, float((powers * np.log2(powers)).sum())


def _divergence(a: tuple[np.ndarray, float], b: tuple[np.ndarray, float]) -> float:
    middle = (a[0] + b[0]) / 2
    return float(((a[1] + b[1]) / 2 - (middle * np.log2(middle)).sum()) / len(middle))


def _ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(values)


# What a network needs once, and what a pair needs.
PREPARED: dict[str, tuple[Callable, Callable]] = {
    "cka": (partial(_unrolled, lambda X: _u_centred(_linear(X))), np.dot),
    "cka-biased": (partial(_unrolled, _linear), np.dot),
    "rbf-cka": (partial(_unrolled, lambda X: _u_centred(textbook.rbf_gram(X))), np.dot),
    "rsa": (partial(_off_diagonal, lambda values: values), np.dot),
    "rsa-spearman": (partial(_off_diagonal, _ranks), np.dot),
    "neighbors": (_neighbors, np.dot),
    "procrustes": (lambda X: _unit(textbook.centred(X)), _nuclear),
    "predictivity": (_predictor, _explained),
    "cca": (_basis, _mean_correlation),
    "svcca": (_first_directions, _mean_correlation),
    "pwcca": (_weighed, _weighted),
    "agreement": (lambda X: X.argmax(axis=1), lambda a, b: (a == b).mean()),
    "kappa": (lambda X: X.argmax(axis=1), _kappa),
    "jensen-shannon": (_probabilities, _divergence),
}
