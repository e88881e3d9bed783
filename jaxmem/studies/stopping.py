"""When to stop training under label noise: by the loss on validation rows, or by what is memorized and learnt.

The indices need no rows to be set apart. The competitor gets validation rows with clean labels, as it would not in
earnest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from jaxmem.studies.experiment import Data, Experiment, Tests, Training
from jaxmem.studies.study import Study, comparison
from jaxmem.studies.summary import Claim, is_positive

if TYPE_CHECKING:
    import xarray

__all__ = ["STUDY", "Config"]

_LAST, _BEST, _VALIDATION = "last epoch", "best on test rows", "validation loss"


@dataclass(frozen=True)
class Config(Experiment):
    """Rules for stopping early, under label noise.

    Args:
        shares: of the training rows, whose labels are shuffled among them.
    """

    data: Data = Data(n_train=2_000, n_validation=500)
    training: Training = Training(epochs=30, keep_epochs=tuple(range(31)))
    tests: Tests = Tests(perturbations=("gaussian-noise:0.2",), n_permutations=20)
    shares: tuple[float, ...] = (0.2, 0.4, 0.6)


def _models(config: Config) -> Mapping[str, Experiment]:
    return {f"{share:g}": replace(config, data=replace(config.data, random_labels=share)) for share in config.shares}


def _with_rules(data: "xarray.Dataset") -> "xarray.Dataset":
    """Add the kept epoch at which each rule would stop, and the test accuracy there."""
    import xarray

    trained = data.isel(layer=-1, epoch=slice(1, None))
    # A null that is perfect leaves nothing to learn: no rule stops there.
    indices = trained[["memorization", "learning"]].fillna({"learning": -np.inf}).mean("perturbation")
    stops = {_LAST: (trained.epoch * xarray.ones_like(trained.network_test_accuracy)).argmax("epoch")}
    if trained.validation_loss.notnull().all():
        stops[_VALIDATION] = trained.validation_loss.argmin("epoch")
    for classifier in data.classifier.values:
        of_classifier = indices.sel(classifier=classifier, drop=True)
        stops[f"least memorization, {classifier}"] = of_classifier.memorization.argmin("epoch")
        stops[f"most learning, {classifier}"] = of_classifier.learning.argmax("epoch")
    stops[_BEST] = trained.network_test_accuracy.argmax("epoch")
    place = xarray.concat(list(stops.values()), xarray.Variable("rule", list(stops)), coords="minimal")
    return data.assign(
        stopped_epoch=trained.epoch[place].drop_vars("epoch"),
        stopped_test_accuracy=trained.network_test_accuracy.isel(epoch=place).drop_vars("epoch"),
    )


def _claims(data: "xarray.Dataset") -> list[Claim]:
    claims = []
    for model in data.model.values:
        accuracy = data.stopped_test_accuracy.sel(model=model)
        for rule in data.rule.values[1:-1]:
            text = f"share {model}: stopping by {rule} beats training to the end"
            claims.append(is_positive(text, accuracy.sel(rule=rule) - accuracy.sel(rule=_LAST)))
            if rule != _VALIDATION and _VALIDATION in data.rule.values:
                text = f"share {model}: stopping by {rule} beats {_VALIDATION}"
                claims.append(is_positive(text, accuracy.sel(rule=rule) - accuracy.sel(rule=_VALIDATION)))
    return claims


STUDY = Study(
    "stopping",
    "Does stopping by what is memorized and learnt help under label noise?",
    Config,
    comparison(_models, _with_rules),
    "epoch",
    _claims,
    figures=("epochs", "indices", "wrong-labels", "stopping"),
    varies={"data.random_labels": "shares", "data.confused_labels": "the study label-noise"},
)
