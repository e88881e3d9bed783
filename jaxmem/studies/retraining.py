"""The whole-pipeline null: networks trained anew on shuffled labels, beside the tests of one network's features.

Hidden features of a network trained on labels are functions of these labels, so tests of features speak of what a probe
finds there, and not of whether inputs and labels are independent. That takes shuffling before training: the network is
trained on B shuffled labellings, everything else being equal, and the test accuracies compared. Where inputs are noise
or labels are random the features are tuned to the labels all the same, and retraining finds nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmem.inference import adjusted, pvalue
from jaxmem.permutations import random_stream
from jaxmem.studies.conduct import labelled, pieces
from jaxmem.studies.experiment import Data, Experiment, Training
from jaxmem.studies.networks import train_networks
from jaxmem.studies.rows import NETWORK, PERMUTATIONS, digest, draw_rows, key_for
from jaxmem.studies.store import Piece, Store, Work
from jaxmem.studies.study import Measure, Study
from jaxmem.studies.summary import Claim, all_below

if TYPE_CHECKING:
    import xarray

__all__ = ["STUDY", "Config"]

_DEPENDENT = "images"


@dataclass(frozen=True)
class Config(Experiment):
    """Tests of features beside networks trained anew on shuffled labels.

    Args:
        n_retrained: networks trained on shuffled labels, for every model and seed.
    """

    data: Data = Data(n_train=500)
    training: Training = Training(epochs=20, keep_epochs=(0, 20))
    n_retrained: int = 99

    def __post_init__(self) -> None:
        """Check that there is something to compare with."""
        super().__post_init__()
        if self.n_retrained < 19:
            raise ValueError(f"n_retrained is {self.n_retrained}; with fewer than 19 no p-value could reach 0.05.")


def _models(config: Config) -> Mapping[str, Experiment]:
    return {
        _DEPENDENT: config,
        "noise inputs": replace(config, data=replace(config.data, inputs="standard-noise")),
        "random labels": replace(config, data=replace(config.data, random_labels=1.0)),
    }


def _key(config: Config, experiment: Experiment, seed: int) -> Any:
    return "retrained", replace(experiment, seeds=1), digest(experiment), config.n_retrained, seed


def _pieces(config: Config, store: Store, progress: bool) -> Iterator[Work]:
    yield from pieces(_models(config), store, progress=progress)
    for name, experiment in _models(config).items():
        for seed in range(config.seeds):
            retrain = partial(_retrained, experiment, seed, config.n_retrained)
            yield Work(_key(config, experiment, seed), retrain, f"{name}, retrained")


def _label(config: Config, store: Store) -> "xarray.Dataset":
    models = _models(config)
    data = labelled(models, store)
    accuracies = np.stack(
        [
            [store[_key(config, experiment, seed)]["accuracy"] for seed in range(config.seeds)]
            for experiment in models.values()
        ]
    )
    pvalues = [[pvalue(float(of_seed[0]), of_seed[1:], rounding=1e-12) for of_seed in rows] for rows in accuracies]
    return data.assign(
        retrained_observed=(("model", "seed"), accuracies[..., 0]),
        retrained_null=(("model", "seed", "retrained"), accuracies[..., 1:]),
        retrained_pvalue=(("model", "seed"), pvalues),
    )


def _retrained(experiment: Experiment, seed: int, n_retrained: int) -> Piece:
    """Test accuracies of networks trained on labellings 0, the observed one, .. B, everything else being equal."""
    from jaxmem.nets import logits

    rows = draw_rows(experiment, seed)
    codes = jnp.asarray(rows.y)
    stream = random_stream(key_for(experiment, PERMUTATIONS), codes)
    labellings = jax.vmap(lambda index: stream.labels(codes, index))(jnp.arange(n_retrained + 1))
    keys = jnp.stack([key_for(experiment, NETWORK, seed)] * (n_retrained + 1))
    last = experiment.training.keep_epochs[-1]
    only_last = replace(experiment, training=replace(experiment.training, epochs=last, keep_epochs=(0, last)))
    trained = train_networks(only_last, rows.X, np.asarray(labellings), keys)
    predicted = [np.asarray(logits(trained.member(i).at(last), rows.X_test)).argmax(axis=1) for i in range(len(keys))]
    return {"accuracy": (np.stack(predicted) == rows.y_test).mean(axis=1)}


def _claims(data: "xarray.Dataset") -> list[Claim]:
    last = data.isel(layer=-1, epoch=-1)
    claims = [
        all_below(
            f"{_DEPENDENT}: retraining finds that labels depend on inputs (p, every seed)",
            data.retrained_pvalue.sel(model=_DEPENDENT),
            0.05,
        )
    ]
    for model in data.model.values[1:]:
        smallest = float(adjusted(data.retrained_pvalue.sel(model=model).values, "holm").min())
        claims += [
            all_below(
                f"{model}: features are tuned to the labels, as some classifier sees it (adjusted p, every seed)",
                last.learning_pvalue_adjusted.sel(model=model).min(["perturbation", "classifier"]),
                0.05,
            ),
            Claim(
                f"{model}: and retraining gives no evidence of dependence (smallest p, adjusted over seeds)",
                smallest > 0.05,
                f"{smallest:.3g}",
            ),
        ]
    return claims


STUDY = Study(
    "retraining",
    "Do tests of features say what retraining on shuffled labels says?",
    Config,
    Measure(_pieces, _label),
    "model",
    _claims,
    figures=("indices", "wrong-labels", "retraining"),
    varies={"data.inputs": "the study noise-inputs", "data.random_labels": "the study random-labels"},
)
