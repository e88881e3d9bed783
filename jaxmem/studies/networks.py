"""The networks of an experiment, of one structure, trained together."""

from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxmem.data import parse
from jaxmem.inputs import one_of
from jaxmem.studies.experiment import LAST, Experiment, Network, Setting
from jaxmem.studies.rows import dataset_of

__all__ = ["check_networks", "layers_asked_for", "train_networks", "widths_of_layers"]


def check_networks(experiment: Experiment) -> None:
    """Make a network of the experiment's structure, and look for the layers that are asked for; check the training.

    Raises:
        ValueError: there is no such network, no such layer, or no such training.
    """
    layers_asked_for(experiment, *_untrained(experiment))
    _config(experiment)


def widths_of_layers(experiment: Setting, *, pool: Literal["mean"] | None = None) -> dict[str, int]:
    """How many features the hidden layers of an experiment's networks have, before any is trained."""
    from jaxmem.nets import layer_widths

    return layer_widths(*_untrained(experiment), pool=pool)


def _untrained(experiment: Setting) -> tuple[Any, np.ndarray]:
    """A network of the experiment's structure, and a row of its inputs."""
    from flax import nnx

    dataset = dataset_of(experiment)
    a_row = dataset.X_train[:1]
    make = _maker(experiment.network, a_row.shape[1:], len(dataset.class_names))
    return make(nnx.Rngs(0)), a_row


def train_networks(
    experiment: Setting,
    X: np.ndarray,
    y: np.ndarray,
    keys: Any,
    checkpoint: Path | None = None,
    progress: Callable[..., object] | None = None,
) -> Any:
    """Networks of an experiment's structure and training, one a key, on rows and labels of all or of each.

    Returns:
        See `jaxmem.nets.train_ensemble`.
    """
    from jaxmem.nets import train_ensemble

    n_classes = len(dataset_of(experiment).class_names)
    make = _maker(experiment.network, X.shape[-3:], n_classes)
    return train_ensemble(make, X, y, _config(experiment), keys, checkpoint=checkpoint, progress=progress)


def _config(experiment: Setting) -> Any:
    from jaxmem.nets import TrainConfig

    training = experiment.training
    return TrainConfig(
        epochs=training.epochs,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        keep_epochs=training.keep_epochs,
        augment=None if training.augment is None else parse(training.augment),
    )


@cache
def _maker(structure: Network, image_shape: tuple[int, ...], n_classes: int) -> Callable[[Any], Any]:
    """What makes a network of that structure: always the same function, for which one program is compiled."""
    from jaxmem.nets import network

    options = asdict(structure)
    architecture = options.pop("architecture")
    return lambda rngs: network(architecture, image_shape, n_classes, **options, rngs=rngs)


def layers_asked_for(experiment: Experiment, model: Any, X: np.ndarray) -> list[str]:
    """The layers asked for, by the names that the network has for them."""
    from jaxmem.nets import layer_names

    names = layer_names(model, X)
    for layer in experiment.tests.layers:
        one_of(layer, (LAST, *names), "each of layers")
    return [names[-1] if layer == LAST else layer for layer in experiment.tests.layers] or names
