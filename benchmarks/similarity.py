"""All pairs of 32 networks of width 256 on 2,000 rows, beside loops over the pairs in NumPy, in one process.

Per measure: `jaxmem` is `jm.similarities`, all of it; `textbook` the formula as published, from the features of both
networks, for every pair; `prepared` the best loop that we could write in NumPy, which does for every network once what
does not need the pair, as jaxmem does; `peer` a package that computes the same number, which does once what it lets one
do once. A round runs jaxmem, and one pair of each of the others, whose seconds are then those of all pairs (and of all
networks, for what is done once). Loops get OpenBLAS's threads or only one, whichever is faster, for XLA's products
use all cores.

`textbook_at_most` is by how much the textbook's loop could be beaten at all, by a program that does for a pair only
what no way around is known of, and for a network nothing: `products`, a matrix product a pair of the features of both,
as a loop in NumPy or as XLA takes it for eight networks against eight, whichever is faster; and `singular`, LAPACK's
singular values of these products (for PWCCA, vectors too), over all cores. For Procrustes and predictivity it is
below 20.
"""

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

import jaxmem as jm
from benchmarks import textbook
from benchmarks.measure import in_turn
from jaxmem.similarity import MEASURES as BY_NAME

MEASURES = (
    "cka", "cka-biased", "rbf-cka", "rsa", "rsa-spearman", "neighbors", "procrustes", "predictivity", "cca", "svcca",
    "pwcca", "agreement", "kappa", "jensen-shannon",
)  # fmt: skip
# What takes the product of the features, or of bases of them, for every pair, and whether it takes singular values of
# the product, or vectors too.
OF_PRODUCTS = {"procrustes": "values", "predictivity": "", "cca": "values", "svcca": "values", "pwcca": "vectors"}
_AT_ONCE = 8  # Networks a side of a product, and products whose singular values are taken together.
_ONE_THREAD = ", one thread"


def all_pairs(
    n_networks: int = 32,
    n: int = 2_000,
    width: int = 256,
    n_classes: int = 10,
    rounds: int = 5,
    measures: tuple[str, ...] = MEASURES,
) -> dict[str, Any]:
    """Seconds of every way by measure, and how many times as long as jaxmem the others take."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((n, 20), dtype=np.float32)
    widths = {"features": width, "logits": n_classes, "predictions": n_classes}
    figures: dict[str, Any] = {"networks": n_networks, "rows": n, "width": width, "rounds": rounds, "measures": {}}
    figures["openblas_threads"] = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    figures["cores_used"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for name in measures:
        d = widths[BY_NAME[name].facts.takes]
        mixes = rng.standard_normal((n_networks, 20, d), dtype=np.float32) / 4
        X = common @ mixes + rng.standard_normal((n_networks, n, d), dtype=np.float32)
        seconds = _seconds(name, X, rounds)
        found = jm.similarities(X[:2], name)[0, 1]
        others = {"textbook": textbook.TEXTBOOK[name](X[0], X[1]), "prepared": _pair(*PREPARED[name], X)}
        if name in PEERS:
            others["peer"] = _pair(*PEERS[name], X)
        figures["measures"][name] = {
            "seconds": seconds,
            **{f"{way}_over_jaxmem": seconds[way] / seconds["jaxmem"] for way in seconds if way != "jaxmem"},
            **_at_most(seconds),
            **{f"difference_from_{way}": abs(float(found - value)) for way, value in others.items()},
        }
    return figures


def _seconds(name: str, X: np.ndarray, rounds: int) -> dict[str, float]:
    """Seconds for all pairs of networks, by way."""
    pairs = len(X) * (len(X) - 1) // 2
    once: dict[str, Callable[[], Any]] = {}
    each: dict[str, Callable[[], Any]] = {"textbook": partial(textbook.TEXTBOOK[name], X[0], X[1])}
    for way, (prepare, compare) in {"prepared": PREPARED[name], "peer": PEERS.get(name, (None, None))}.items():
        if prepare is not None:
            once[way] = partial(prepare, X[0])
            each[way] = partial(compare, prepare(X[0]), prepare(X[1]))
    least = _least(name, X)
    if least:
        each["products"] = partial(np.matmul, X[0].T, X[1])
    loops = {("once", way): function for way, function in once.items()}
    loops |= {("each", way): function for way, function in each.items()}
    loops |= {(part + _ONE_THREAD, way): partial(_in_one_thread, function) for (part, way), function in loops.items()}
    measured = in_turn({"jaxmem": partial(jm.similarities, X, name)} | loops | least, rounds)

    def fastest(part: str, way: str) -> float:
        return min(measured.get((part + threads, way), 0.0) for threads in ("", _ONE_THREAD))  # pyright: ignore

    ways = {way: len(X) * fastest("once", way) + pairs * fastest("each", way) for way in each}
    if least:
        ways["products"] = min(ways["products"], pairs / _AT_ONCE**2 * measured["products"])
    if "singular" in least:
        ways["singular"] = pairs / _AT_ONCE * measured["singular"]
    return {"jaxmem": measured["jaxmem"]} | ways


def _least(name: str, X: np.ndarray) -> dict[str, Callable[[], Any]]:
    """What all pairs of some networks need at least, as XLA does it: products, and singular values of products."""
    if name not in OF_PRODUCTS:
        return {}
    some = [jnp.asarray(X[number % len(X)]) for number in range(_AT_ONCE)]
    side, products = jnp.concatenate(some, axis=1), jnp.stack([some[0].T @ other for other in some])
    least: dict[str, Callable[[], Any]] = {"products": partial(jax.jit(lambda side: side.T @ side), side)}
    if OF_PRODUCTS[name]:
        svd = jax.jit(partial(jnp.linalg.svd, compute_uv=OF_PRODUCTS[name] == "vectors"))
        least["singular"] = partial(_in_one_thread, lambda: jax.block_until_ready(svd(products)))
    return least


def _at_most(seconds: dict[str, float]) -> dict[str, float]:
    """How many times as long as what a pair needs at least the textbook's loop takes."""
    if "products" not in seconds:
        return {}
    return {"textbook_at_most": seconds["textbook"] / (seconds["products"] + seconds.get("singular", 0.0))}


def _in_one_thread(function: Callable[[], Any]) -> Any:
    with threadpool_limits(1):
        return function()


def _pair(prepare: Callable, compare: Callable, networks: np.ndarray) -> float:
    return compare(prepare(networks[0]), prepare(networks[1]))


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


# Packages that compute the same number: what they do once for a network, and for a pair.
def _rdm(X: np.ndarray) -> Any:
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    return calc_rdm(Dataset(X), method="euclidean")


def _compare_rdms(a: Any, b: Any) -> float:
    from rsatoolbox.rdm import compare

    return float(compare(a, b, method="spearman").item())


def _orthogonal_procrustes(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.linalg import orthogonal_procrustes

    return float(orthogonal_procrustes(a, b)[1])


def _ridge(a: np.ndarray, b: np.ndarray, alpha: float = 1e-4) -> float:
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    def explained(X: np.ndarray, Y: np.ndarray) -> float:
        predicted = Ridge(alpha * float((X**2).sum())).fit(X, Y).predict(X)
        return r2_score(Y, predicted, multioutput="variance_weighted")

    return (explained(a, b) + explained(b, a)) / 2


def _accuracy(a: np.ndarray, b: np.ndarray) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(a, b))


def _cohen_kappa(a: np.ndarray, b: np.ndarray) -> float:
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(a, b))


def _jensenshannon(p: np.ndarray, q: np.ndarray) -> float:
    from scipy.spatial.distance import jensenshannon

    return float((jensenshannon(p, q, base=2, axis=1) ** 2).mean())


PEERS: dict[str, tuple[Callable, Callable]] = {
    "rsa-spearman": (_rdm, _compare_rdms),
    "procrustes": (lambda X: _unit(textbook.centred(X)), _orthogonal_procrustes),
    "predictivity": (textbook.centred, _ridge),
    "agreement": (lambda X: X.argmax(axis=1), _accuracy),
    "kappa": (lambda X: X.argmax(axis=1), _cohen_kappa),
    "jensen-shannon": (lambda X: _probabilities(X)[0], _jensenshannon),
}
if find_spec("rsatoolbox") is None:  # Not with the tests' extra.
    del PEERS["rsa-spearman"]
