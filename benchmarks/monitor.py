"""A reading of the monitor beside an epoch of training: MLP 784-256-256-64-10 on 4,000 digits, 20 permutations.

Features are those of the trained network's last two hidden layers, already read ("features"), or the parameters go
through the network to the last one within the reading ("parameters"). All is compiled; an epoch is a fifth of
five, so that what `train` does but once hardly counts. Of interest are the shares: who shares the machine makes all of
the seconds longer. Ridge's eigenvectors above all: where others keep the cores busy, OpenBLAS's threads wait for each
other up to a hundred times as long as they work, and OPENBLAS_NUM_THREADS=1 in the environment is the remedy.
"""

import os
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx

import jaxmem as jm
from benchmarks.measure import in_turn
from jaxmem.data import GaussianNoise, load
from jaxmem.nets import MLP, TrainConfig, features, train

_EPOCHS = 5


def beside_an_epoch(
    n: int = 4_000,
    sizes: tuple[int | None, ...] = (1_000, None),
    widths: tuple[int, ...] = (256, 256, 64),
    rounds: int = 15,
) -> dict[str, Any]:
    """Median seconds of an epoch and of readings, in turn, and each reading's share of an epoch."""
    digits = load("digits")
    y = np.asarray(digits.y_train[:n])
    copies = GaussianNoise(0.2)(jax.random.key(1), digits.X_train[:n])
    X, X_val = (np.asarray(part).reshape(n, -1) for part in (digits.X_train[:n], copies))
    network = MLP(X.shape[1], 10, widths, rngs=nnx.Rngs(0))
    training = partial(train, network, X, y, TrainConfig(epochs=_EPOCHS, keep_epochs=(_EPOCHS,)), key=0)
    trained = training()
    state = trained.snapshots[_EPOCHS]
    *_, before, last = features(trained.at(_EPOCHS), X)
    layers = {part: features(trained.at(_EPOCHS), rows) for part, rows in (("X", X), ("X_val", X_val))}

    def hidden(state: Any, X: jax.Array) -> jax.Array:
        return nnx.merge(trained.graphdef, state).hidden(X)[last]

    functions: dict[str, Any] = {"epochs": lambda: jax.tree.leaves(training().snapshots)}
    for name, classifier in {"ridge": jm.Ridge(), "1 nearest neighbour": jm.KNeighbors(1)}.items():
        for size in sizes:
            monitor = jm.MemorizationMonitor(y, classifier=classifier, rows=size)
            of = f"{name}, {len(monitor.rows)} rows"
            for layer in (last, before):
                pair = layers["X"][layer], layers["X_val"][layer]
                functions[f"{of}, features of {layer} ({pair[0].shape[1]})"] = partial(monitor, *pair)
            functions[f"{of}, parameters"] = partial(monitor.through(hidden, X, X_val), state)
    seconds = in_turn(functions, rounds)
    epoch = seconds.pop("epochs") / _EPOCHS
    shares = {name: value / epoch for name, value in seconds.items()}
    return {
        "n": n,
        "n_permutations": 20,
        "openblas_threads": os.environ.get("OPENBLAS_NUM_THREADS", "all"),
        "epoch_seconds": epoch,
        "seconds": seconds,
        "share_of_an_epoch": shares,
    }
