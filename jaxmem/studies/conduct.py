"""Conduct experiments: train networks, and put their features through the memorization tests.

Pieces of the work go through a `Store` under what decides them, so that experiments with the same rows share the
baseline of the raw inputs, and those with the same rows and structure the one of the untrained networks.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmem.data import parse
from jaxmem.memorization import memorization_tests
from jaxmem.results import MemorizationTest
from jaxmem.studies.experiment import CLASSIFIERS, Experiment
from jaxmem.studies.networks import check_networks, layers_asked_for, train_networks
from jaxmem.studies.rows import NETWORK, PERMUTATIONS, Rows, check_rows, digest, draw_rows, key_for
from jaxmem.studies.store import Piece, Store, Work
from jaxmem.validation import Holdout, SharedStructure

if TYPE_CHECKING:
    import xarray

    from jaxmem.nets import TrainedEnsemble

__all__ = ["INPUT", "Together", "labelled", "pieces"]

INPUT = "input"


class Together(NamedTuple):
    """What is measured of all trained networks of an experiment together.

    Attributes:
        what: all that decides it beside the experiment.
        dims: the dimensions of every array that comes out, by name.
        measure: from the experiment, its trained networks, and the rows of the first of them.
    """

    what: Any
    dims: Mapping[str, tuple[str, ...]]
    measure: Callable[[Experiment, "TrainedEnsemble", Rows], Piece]


class _Keys(NamedTuple):
    """What decides the pieces of an experiment; equal keys of two experiments are one piece."""

    inputs: Any
    history: Any
    cells: dict[tuple[int, int], Any]
    together: Any

    @classmethod
    def of(cls, experiment: Experiment, together: Together | None) -> "_Keys":
        common = experiment.seed, experiment.tests, experiment.data, digest(experiment)
        networks = replace(experiment.network, dropout=0.0)  # An untrained network knows nothing of dropout.

        def cell(seed: int, epoch: int) -> Any:
            return common, seed, (networks, 0) if epoch == 0 else (experiment.network, experiment.training, epoch)

        seeds, epochs = range(experiment.seeds), experiment.training.keep_epochs
        history = common, experiment.network, experiment.training, experiment.seeds
        return cls(
            (common, experiment.seeds, INPUT),
            history,
            {(seed, epoch): cell(seed, epoch) for seed in seeds for epoch in epochs},
            (history, together and together.what),
        )


def pieces(
    models: Mapping[str, Experiment], store: Store, *, progress: bool = True, together: Together | None = None
) -> Iterator[Work]:
    """Everything that has to be computed of some experiments, one after the other.

    Networks are trained when the first piece that needs them is computed, and forgotten with the last.

    Args:
        models: experiments by name, with the same kept epochs, perturbations, classifiers and permutations.
        store: where trainings may keep what is half done.
        progress: show a bar on a terminal while networks are trained.
        together: what to measure of an experiment's networks beside testing each of them.

    Raises:
        ValueError: an experiment that cannot be conducted, before the first piece; while it is computed, training that
            blows up, with the epoch.
    """
    for experiment in models.values():  # Before the first is trained, what would fail at the last.
        check_rows(experiment)
        check_networks(experiment)
    for number, (name, experiment) in enumerate(models.items(), start=1):
        title = f"{name} ({number} of {len(models)})" if len(models) > 1 else name
        yield from _pieces(experiment, store, title, progress, together)


def _pieces(
    experiment: Experiment, store: Store, title: str, progress: bool, together: Together | None
) -> Iterator[Work]:
    keys, seeds = _Keys.of(experiment, together), range(experiment.seeds)
    rows = cache(partial(draw_rows, experiment))
    trained = cache(lambda: _trained(experiment, rows, store.folder_for(keys.history), progress))

    def history() -> Piece:
        return {"loss": trained().history.loss, "accuracy": trained().history.accuracy}

    def cell(seed: int, epoch: int) -> Piece:
        return _of_network(experiment, rows(seed), trained().member(seed).at(epoch))

    yield Work(keys.inputs, lambda: _of_inputs(experiment, [rows(seed) for seed in seeds]), title)
    yield Work(keys.history, history, title)
    for place, key in keys.cells.items():
        yield Work(key, partial(cell, *place), title)
    if together is not None:
        yield Work(keys.together, lambda: together.measure(experiment, trained(), rows(0)), title)


def _trained(experiment: Experiment, rows: Callable[[int], Rows], checkpoint: Path | None, progress: bool) -> Any:
    from tqdm import tqdm

    seeds = range(experiment.seeds)
    with tqdm(total=experiment.training.epochs, desc="training", leave=False, disable=not progress or None) as bar:
        X, y = (np.stack([getattr(rows(seed), name) for seed in seeds]) for name in ("X", "y"))
        if not experiment.data.differs_by_seed:
            X, y = X[0], y[0]
        keys = jnp.stack([key_for(experiment, NETWORK, seed) for seed in seeds])
        return train_networks(experiment, X, y, keys, checkpoint, lambda *_: bar.update())


def labelled(models: Mapping[str, Experiment], store: Store, *, together: Together | None = None) -> "xarray.Dataset":
    """The pieces of some experiments as one labelled set of numbers; see `jaxmem.studies.records.Record`.

    Raises:
        KeyError: a piece is not in the store.
    """
    parts = {}
    for name, experiment in models.items():
        keys = _Keys.of(experiment, together)
        cells = {place: store[key] for place, key in keys.cells.items()}
        parts[name] = _label(experiment, store[keys.inputs], cells, store[keys.history])
        if together is not None:
            extra = {part: (together.dims[part], values) for part, values in store[keys.together].items()}
            parts[name] = parts[name].assign(extra)
    return _join("model", parts)


def _of_inputs(experiment: Experiment, rows: list[Rows]) -> Piece:
    """Tests of the raw inputs, of all seeds: one fit for all of them where rows and labels are the same."""

    def flat(X: np.ndarray) -> np.ndarray:
        return X.reshape(len(X), -1)

    together = not experiment.data.differs_by_seed
    pieces = []
    for group in [rows] if together else [[one] for one in rows]:
        first = group[0]
        copies = {(seed, label): flat(X) for seed, one in enumerate(group) for label, X in one.copies.items()}
        piece = _tested(experiment, flat(first.X), first.y, copies, flat(first.X_test), first.y_test)
        pieces += [_of_seed(piece, seed, len(group)) for seed in range(len(group))]
    return {name: np.stack([piece[name] for piece in pieces]) for name in pieces[0]}


def _of_seed(piece: Piece, seed: int, n_seeds: int) -> Piece:
    """What belongs to one seed's copies of what was tested for all of them at once."""

    def own(name: str, values: np.ndarray) -> np.ndarray:
        return values if name in _OF_TEST_ROWS else np.split(values, n_seeds, axis=1)[seed]

    return {name: own(name, values) for name, values in piece.items()}


def _of_network(experiment: Experiment, rows: Rows, model: Any) -> Piece:
    """Tests of the features of every layer asked for, and how well the network itself does."""
    from jaxmem.nets import features

    layers = layers_asked_for(experiment, model, rows.X)
    read = partial(features, model, layers=layers, pool="mean" if experiment.tests.pool else None)
    train, test = read(rows.X), read(rows.X_test)
    copies = {label: read(X) for label, X in rows.copies.items()}
    piece = _own_accuracies(model, rows)
    for layer, shown in zip(layers, experiment.tests.layers or layers, strict=True):
        of_layer = {label: values[layer] for label, values in copies.items()}
        tested = _tested(experiment, train[layer], rows.y, of_layer, test[layer], rows.y_test)
        piece |= {f"{shown}/{name}": values for name, values in tested.items()}
    return piece


def _own_accuracies(model: Any, rows: Rows) -> Piece:
    """Accuracies of the network's own predictions; NaN where there are no such rows."""
    from jaxmem.nets import logits

    predicted = np.asarray(logits(model, rows.X)).argmax(axis=1)
    wrong = rows.y != rows.y_true

    def share(right: np.ndarray) -> np.ndarray:
        return np.array(right.mean() if right.size else np.nan)

    loss = np.array(np.nan)
    if len(rows.X_validation):
        scores = jax.nn.log_softmax(logits(model, rows.X_validation))
        loss = np.array(-np.asarray(scores)[np.arange(len(rows.y_validation)), rows.y_validation].mean())
    return {
        "network_train_accuracy": share(predicted == rows.y),
        "network_test_accuracy": share(np.asarray(logits(model, rows.X_test)).argmax(axis=1) == rows.y_test),
        "wrong_labels_as_given": share((predicted == rows.y)[wrong]),
        "wrong_labels_as_true": share((predicted == rows.y_true)[wrong]),
        "validation_loss": loss,
    }


_OF_TEST_ROWS = ("test_observed", "test_null")


def _tested(
    experiment: Experiment, X: Any, y: np.ndarray, copies: Mapping[Any, Any], X_test: Any, y_test: np.ndarray
) -> Piece:
    """Memorization tests of one set of features; arrays of (classifier, perturbation, ...)."""
    designs = {label: SharedStructure(values) for label, values in copies.items()}
    by_classifier = [
        memorization_tests(
            CLASSIFIERS[name],
            X,
            y,
            designs,
            test=Holdout(X_test, y_test),
            n_permutations=experiment.tests.n_permutations,
            key=key_for(experiment, PERMUTATIONS),
            progress=False,
        )
        for name in experiment.tests.classifiers
    ]
    results = [list(tests.values()) for tests in by_classifier]

    def table(value: Callable[[MemorizationTest], Any]) -> np.ndarray:
        return np.array([[value(test) for test in tests] for tests in results])

    return {
        "observed": table(lambda test: test.statistic),
        "paired_null": table(lambda test: test.null_distribution),
        "broken_null": table(lambda test: test.chance_distribution),
        "learning": table(lambda test: test.learning),
        "memorization": table(lambda test: test.memorization),
        "learning_pvalue": table(lambda test: test.learning_pvalue),
        "memorization_pvalue": table(lambda test: test.memorization_pvalue),
        "example_scores": table(lambda test: test.example_scores).astype(np.float32),
        "test_observed": np.array([tests[0].test_statistic for tests in results]),
        "test_null": np.array([tests[0].test_null_distribution for tests in results]),
    }


_LAST_DIMENSION = {
    "paired_null": "permutation",
    "broken_null": "permutation",
    "test_null": "permutation",
    "example_scores": "example",
}


def _label(
    experiment: Experiment, inputs: Piece, cells: Mapping[tuple[int, int], Piece], history: Piece
) -> "xarray.Dataset":
    """The pieces as one labelled set; the raw inputs are a layer, the same at every epoch."""
    import xarray

    tests, epochs = experiment.tests, experiment.training.keep_epochs
    seeds = range(experiment.seeds)
    a_cell = cells[0, 0]
    layers = list(dict.fromkeys(name.split("/")[0] for name in a_cell if "/" in name))
    variables: dict[str, Any] = {}
    for name, values in inputs.items():
        more = (_LAST_DIMENSION[name],) if name in _LAST_DIMENSION else ()
        dims = ("classifier", *more) if name in _OF_TEST_ROWS else ("classifier", "perturbation", *more)
        table = [
            [np.stack([values[seed], *(cells[seed, epoch][f"{layer}/{name}"] for layer in layers)]) for epoch in epochs]
            for seed in seeds
        ]
        variables[name] = (("seed", "epoch", "layer", *dims), np.array(table))
    for name in (name for name in a_cell if "/" not in name):
        variables[name] = (("seed", "epoch"), [[cells[seed, epoch][name] for epoch in epochs] for seed in seeds])
    for name, values in history.items():
        variables[f"training_{name}"] = (("seed", "training_epoch"), values)
    perturbations = [parse(label) for label in tests.perturbations]
    coordinates = {
        "seed": list(seeds),
        "epoch": list(epochs),
        "layer": [INPUT, *layers],
        "classifier": list(tests.classifiers),
        "perturbation": list(tests.perturbations),
        "kind": ("perturbation", [one.name for one in perturbations]),
        "strength": ("perturbation", [float(one.amount) for one in perturbations]),
        "permutation": np.arange(1, variables["paired_null"][1].shape[-1] + 1),
        "example": np.arange(variables["example_scores"][1].shape[-1]),
        "training_epoch": np.arange(1, experiment.training.epochs + 1),
    }
    data = xarray.Dataset(variables, coordinates)
    memorization = data.memorization
    return data.assign(
        memorization_gain=memorization - memorization.sel(epoch=0, drop=True),
        memorization_gain_over_input=memorization - memorization.sel(layer=INPUT, drop=True),
    )


def _join(dimension: str, parts: "Mapping[str, xarray.Dataset]") -> "xarray.Dataset":
    """Stack along a new dimension, the mapping's keys its coordinate; what only some have is NaN in the others."""
    import xarray

    # In the order in which they come, where xarray would sort.
    layers = list(dict.fromkeys(layer for part in parts.values() for layer in part.layer.values))
    index = xarray.Variable(dimension, list(parts))
    data = [part.reindex(layer=layers) for part in parts.values()]
    return xarray.concat(data, index, join="outer", coords="minimal", compat="override")
