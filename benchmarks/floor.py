"""The ridge test against its floor: the two matrix products of every label vector, and nothing else.

The floor is the time of `(d×n)(n×CB)` and `(m×d)(d×CB)`, indicators in and scores out, in the fastest of NumPy and XLA,
and of labels as columns, as written here, or as rows, which is faster; `throughput_over_columns` leaves the rows out.
The test is all of `permutation_test`: features checked and copied, factorised, permutations drawn, fits, scores,
p-value. It may beat its floor, for the last class of ten needs no column (and class sums no multiplication).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxmem as jm
from benchmarks.measure import gaussian, in_turn
from jaxmem.data import GaussianNoise, load
from jaxmem.inputs import as_key, as_labels
from jaxmem.nets import MLP, TrainConfig, features, train
from jaxmem.permutations import random_stream
from jaxmem.scoring import PRECISIONS

# So many label vectors in one product of the floor: more are no faster, and the scores of 512 fill 12 GB.
_AT_ONCE = 64


def against_the_products(
    n: int = 60_000, d: int = 512, n_classes: int = 10, n_permutations: int = 512, rounds: int = 5
) -> dict[str, float]:
    """Throughput of the whole test as a share of the floor's, and the share of its time that drawing takes."""
    X, y, X_val = gaussian(n, d, n_classes)
    return _compare(X, y, X_val, n_classes, n_permutations, rounds)


def many_permutations(n_permutations: int = 100_000, rounds: int = 5) -> dict[str, float]:
    """The same for so many permutations of the 4,000 digits, read from a trained network's layer of 256 units."""
    return _compare(*digit_features(), 10, n_permutations, rounds)


def precisions(
    n: int = 60_000, d: int = 512, n_classes: int = 10, n_permutations: int = 100_000, rounds: int = 5
) -> dict[str, Any]:
    """The same for every precision, on an accelerator that has them; on CPU they are all one, and one is enough."""
    if jax.default_backend() == "cpu":
        n_permutations = 64
    X, y, X_val = gaussian(n, d, n_classes)
    chosen = ["float32"] if jax.default_backend() == "cpu" else list(PRECISIONS)
    return {name: _compare(X, y, X_val, n_classes, n_permutations, rounds, name) for name in chosen}


def digit_features() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Last hidden layer of an MLP trained on 4,000 digits, their labels, and the same layer for noisy copies."""
    digits = load("digits")
    images = [digits.X_train, GaussianNoise(0.2)(jax.random.key(1), digits.X_train)]
    X, X_val = (np.asarray(part).reshape(len(part), -1) for part in images)
    network = MLP(X.shape[1], 10, widths=(256, 256), rngs=nnx.Rngs(0))
    trained = train(network, X, digits.y_train, TrainConfig(epochs=5, keep_epochs=(5,)), key=0)
    layers = [list(features(trained.at(5), part).values())[-1] for part in (X, X_val)]
    return np.asarray(layers[0]), np.asarray(digits.y_train), np.asarray(layers[1])


def _compare(
    X: np.ndarray,
    y: np.ndarray,
    X_val: np.ndarray,
    n_classes: int,
    n_permutations: int,
    rounds: int,
    precision: str = "float32",
) -> dict[str, Any]:
    # A few batches tell the speed of the products; the test runs all its permutations.
    floor_labels = _AT_ONCE * max(1, min(n_permutations // _AT_ONCE, 8))
    functions = {
        name: partial(_repeat, products, floor_labels // _AT_ONCE)
        for name, products in _products(X, X_val, n_classes, precision).items()
    }

    def whole_test() -> float:
        validation = jm.SharedStructure(X_val)
        options = {"n_permutations": n_permutations, "precision": precision, "progress": False}
        return jm.permutation_test(jm.Ridge(), X, y, validation=validation, **options).pvalue

    seconds = in_turn({**functions, "draw": _drawing(y, n_permutations), "test": whole_test}, rounds)
    fastest = min(functions, key=seconds.__getitem__)
    floor = seconds[fastest] / floor_labels * n_permutations
    as_columns = min(seconds[name] for name in functions if name.endswith("columns")) / floor_labels * n_permutations
    return {
        "n": len(X),
        "m": len(X_val),
        "d": X.shape[1],
        "n_classes": n_classes,
        "n_permutations": n_permutations,
        "floor_seconds": floor,
        "floor_in": fastest,
        "floor_gflops": 2 * (len(X) + len(X_val)) * X.shape[1] * n_classes * n_permutations / floor / 1e9,
        "test_seconds": seconds["test"],
        "permutations_per_second": n_permutations / seconds["test"],
        "throughput_over_floor": floor / seconds["test"],
        "throughput_over_columns": as_columns / seconds["test"],
        "share_of_drawing": seconds["draw"] / seconds["test"],
        "products_seconds": {name: seconds[name] / floor_labels * n_permutations for name in functions},
    }


def _products(X: np.ndarray, X_val: np.ndarray, n_classes: int, precision: str) -> dict[str, Callable[[], Any]]:
    """Both products for `_AT_ONCE` label vectors, label vectors as columns and as rows."""
    columns = np.random.default_rng(0).standard_normal((len(X), n_classes * _AT_ONCE), dtype=np.float32)
    rows = np.ascontiguousarray(columns.T)
    on_device = tuple(map(jnp.asarray, (X, X_val, columns, rows)))

    @jax.jit
    def as_columns(X: jax.Array, X_val: jax.Array, columns: jax.Array) -> jax.Array:
        return X_val @ (X.T @ columns)

    @jax.jit
    def as_rows(X: jax.Array, X_val: jax.Array, rows: jax.Array) -> jax.Array:
        return (rows @ X) @ X_val.T

    def in_xla(products: Callable, columns_or_rows: jax.Array) -> jax.Array:
        with jax.default_matmul_precision(PRECISIONS[precision]):
            return products(*on_device[:2], columns_or_rows)

    products = {
        "xla, columns": partial(in_xla, as_columns, on_device[2]),
        "xla, rows": partial(in_xla, as_rows, on_device[3]),
    }
    if jax.default_backend() == "cpu":
        products["numpy, columns"] = lambda: X_val @ (X.T @ columns)
        products["numpy, rows"] = lambda: (rows @ X) @ X_val.T
    return products


def _repeat(function: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        jax.block_until_ready(function())


def _drawing(y: np.ndarray, n_permutations: int) -> Callable[[], Any]:
    """Draw all the labels that the test draws, in batches."""
    codes = as_labels(y).codes
    stream = random_stream(as_key(0), codes)
    size = min(128, n_permutations)
    draw = jax.jit(jax.vmap(stream.labels, in_axes=(None, 0)))
    return lambda: [
        jax.block_until_ready(draw(codes, first + jnp.arange(size))) for first in range(0, n_permutations, size)
    ]
