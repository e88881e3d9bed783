"""Dropout, weight decay, augmentation and early stopping: which of them lowers memorization, and at what price?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxmem.studies.experiment import Data, Experiment, Training
from jaxmem.studies.study import Study, comparison
from jaxmem.studies.summary import Claim, is_positive

if TYPE_CHECKING:
    import xarray

__all__ = ["STUDY", "Config"]

_NONE, _STOPPED = "none", "early stopping"


@dataclass(frozen=True)
class Config(Experiment):
    """Learning and memorization under regularization.

    Args:
        dropouts: rates to try.
        weight_decays: decays to try.
        augmentations: perturbations of minibatches to try.
    """

    data: Data = Data(n_validation=500)
    training: Training = Training()
    dropouts: tuple[float, ...] = (0.25, 0.5)
    weight_decays: tuple[float, ...] = (1.0,)
    augmentations: tuple[str, ...] = ("shift:2",)


def _models(config: Config) -> Mapping[str, Experiment]:
    plain = replace(
        config,
        network=replace(config.network, dropout=0.0),
        training=replace(config.training, weight_decay=0.0, augment=None),
    )

    def trained(**changes: object) -> Experiment:
        return replace(plain, training=replace(plain.training, **changes))  # pyright: ignore[reportArgumentType]

    return {
        _NONE: plain,
        **{
            f"dropout {rate:g}": replace(plain, network=replace(plain.network, dropout=rate))
            for rate in config.dropouts
        },
        **{f"weight decay {decay:g}": trained(weight_decay=decay) for decay in config.weight_decays},
        **{f"augmentation {name}": trained(augment=name) for name in config.augmentations},
    }


def _with_early_stopping(data: "xarray.Dataset") -> "xarray.Dataset":
    """Add, as one more model, the unregularized networks at the kept epoch of the lowest loss on validation rows.

    They stand there at every epoch but the first, which remains the untrained network.
    """
    import xarray

    plain = data.sel(model=_NONE)
    if plain.validation_loss.isnull().any():
        return data
    best = plain.validation_loss.isel(epoch=slice(1, None)).argmin("epoch") + 1
    kept = xarray.DataArray(range(data.sizes["epoch"]), dims="epoch")
    stopped = xarray.where(kept == 0, 0, best).rename("place")
    stopped = plain.isel(epoch=stopped).assign_coords(epoch=data.epoch)
    joined = xarray.concat([data, stopped.assign_coords(model=_STOPPED).expand_dims("model")], "model")
    joined = joined.transpose(*data.observed.dims, ...)
    return joined.assign(stopped_epoch=data.epoch[best].reset_coords(drop=True))


def _claims(data: "xarray.Dataset") -> list[Claim]:
    last = data.isel(layer=-1, epoch=-1)
    plain = last.sel(model=_NONE)
    claims = []
    for model in data.model.values[1:]:
        other = last.sel(model=model)
        for classifier in data.classifier.values:
            less = (plain.memorization - other.memorization).sel(classifier=classifier).mean("perturbation")
            claims.append(is_positive(f"{model} lowers memorization, as {classifier} sees it", less))
        loses = (plain.observed - other.observed).max(["perturbation", "classifier"])
        claims.append(is_positive(f"{model} lowers no observed score by 0.02 (what is left of that)", 0.02 - loses))
        better = other.network_test_accuracy - plain.network_test_accuracy
        claims.append(is_positive(f"{model} raises test accuracy", better))
    return claims


STUDY = Study(
    "regularization",
    "Which regularization lowers memorization, and at what price?",
    Config,
    comparison(_models, _with_early_stopping),
    "model",
    _claims,
    varies={
        "network.dropout": "dropouts",
        "training.weight_decay": "weight_decays",
        "training.augment": "augmentations",
    },
)
