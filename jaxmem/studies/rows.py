"""The rows of every network of an experiment: training, test and validation rows, labels right and wrong, copies.

What is random about them depends on the experiment's seed and the network's number, and on what it is for.
"""

from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmem import digests
from jaxmem.data import class_noise, gaussian_noise_inputs, load, parse, random_labels, shuffled_pixels
from jaxmem.data.arrays import stratified_split
from jaxmem.studies.experiment import Data, Experiment, Setting

__all__ = ["Rows", "check_rows", "dataset_of", "digest", "draw_rows", "key_for"]

# What is random, each with keys of its own.
NETWORK, LABELS, INPUTS, COPIES, PERMUTATIONS = range(5)


class Rows(NamedTuple):
    """What one network is trained and tested on; labels may be wrong, true labels are not."""

    X: np.ndarray
    y: np.ndarray
    y_true: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    X_validation: np.ndarray
    y_validation: np.ndarray
    copies: dict[str, np.ndarray]


def key_for(experiment: Setting, purpose: int, seed: int = 0) -> Any:
    """The key of something random: `NETWORK`, `PERMUTATIONS`, ..."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(experiment.seed), purpose), seed)


def dataset_of(experiment: Setting) -> Any:
    """The data set that rows are drawn from."""
    return _loaded(experiment.data.dataset, experiment.data_dir, experiment.seed)


@cache
def _loaded(name: str, data_dir: str | None, seed: int) -> Any:
    return load(name, data_dir=data_dir, seed=seed)


@cache
def _digest_of(name: str, data_dir: str | None, seed: int) -> str:
    dataset = _loaded(name, data_dir, seed)
    return digests.digest([dataset.X_train, dataset.y_train, dataset.X_test, dataset.y_test])


def digest(experiment: Setting) -> str:
    """What the data set holds: a file may be another one by the time that a study goes on."""
    return _digest_of(experiment.data.dataset, experiment.data_dir, experiment.seed)


def check_rows(experiment: Setting) -> None:
    """Refuse what rows cannot be drawn for, before anything is trained.

    Raises:
        ValueError: too few or too many rows are asked for; a perturbation that these inputs do not take.
    """
    data = experiment.data
    dataset = dataset_of(experiment)
    n_classes, n_train, n_test = len(dataset.class_names), len(dataset.X_train), len(dataset.X_test)
    if not 0 <= data.n_validation < n_test:
        raise ValueError(f"n_validation is {data.n_validation} of {n_test} test rows; some must remain to test.")
    if n_train < 2 * n_classes:
        raise ValueError(
            f"{data.dataset!r} has {n_train} training rows of {n_classes} classes; tests take two of each."
        )
    if data.n_train is not None and not 2 * n_classes <= data.n_train <= n_train:
        raise ValueError(
            f"n_train is {data.n_train}; {data.dataset!r} has {n_train} training rows of {n_classes} classes, and a "
            f"test takes two of each: choose {2 * n_classes} to {n_train}."
        )
    _chosen(dataset.y_train, data.n_train, 0)
    _set_apart(dataset.y_test, data.n_validation, experiment.seed)
    tested = experiment.tests.perturbations if isinstance(experiment, Experiment) else ()
    for label in filter(None, (*tested, experiment.training.augment)):
        parse(label)(key_for(experiment, COPIES), dataset.X_train[:1])


def draw_rows(experiment: Setting, seed: int) -> Rows:
    """Rows of the network of that seed; copies of them where there are tests that need some."""
    data = experiment.data
    dataset = dataset_of(experiment)
    X, y, X_test, y_test = dataset.X_train, dataset.y_train, dataset.X_test, dataset.y_test
    n_classes = len(dataset.class_names)
    chosen = _chosen(y, data.n_train, 1_000_003 * experiment.seed + seed)
    X, y = X[chosen], y[chosen]
    X, X_test = _inputs(key_for(experiment, INPUTS, seed), data, X, X_test)
    y_true, label_key = y, key_for(experiment, LABELS, seed)
    if data.random_labels:
        y = np.asarray(random_labels(label_key, y, data.random_labels))
    if data.confused_labels:
        p, same = data.confused_labels, np.eye(n_classes)
        y = np.asarray(class_noise(jax.random.fold_in(label_key, 1), y, (1 - p) * same + p * np.roll(same, 1, axis=1)))
    copies_key = key_for(experiment, COPIES, seed)
    perturbations = experiment.tests.perturbations if isinstance(experiment, Experiment) else ()
    copies = {
        label: np.asarray(parse(label)(jax.random.fold_in(copies_key, number), X))
        for number, label in enumerate(perturbations)
    }
    apart, test = _set_apart(y_test, data.n_validation, experiment.seed)
    return Rows(X, y, y_true, X_test[test], y_test[test], X_test[apart], y_test[apart], copies)


def _set_apart(y_test: np.ndarray, n: int, seed: int) -> tuple[Any, Any]:
    """Which test rows are for validation, drawn with the classes' proportions, and which remain; all seeds alike."""
    if n == 0:
        return slice(0), slice(None)
    try:
        apart, test = stratified_split(y_test, n, seed)
    except ValueError as error:
        raise ValueError(
            f"n_validation is {n} of {len(y_test)} test rows: both validation and test need rows of every one of the "
            f"{len(np.unique(y_test))} classes."
        ) from error
    return apart, np.sort(test)


def _chosen(y: np.ndarray, n_train: int | None, seed: int) -> Any:
    """Which training rows are taken, drawn with the classes' proportions; all of them as they stand."""
    return slice(None) if n_train in (None, len(y)) else stratified_split(y, n_train, seed)[0]


def _inputs(key: Any, data: Data, X: np.ndarray, X_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Training and test rows with another input in place of their images, drawn together."""
    if data.inputs == "images":
        return X, X_test
    both = np.concatenate([X, X_test])
    if data.inputs.startswith("shuffled"):
        both = shuffled_pixels(key, both, each=data.inputs == "shuffled-each")
    else:
        both = gaussian_noise_inputs(key, both, data.inputs.removesuffix("-noise"))
    both = np.asarray(both)
    return both[: len(X)], both[len(X) :]
