"""Every hidden layer, of several architectures."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxmem.studies.experiment import Experiment, Tests, Training
from jaxmem.studies.study import Study, comparison
from jaxmem.studies.summary import Claim, is_positive

if TYPE_CHECKING:
    import xarray

__all__ = ["STUDY", "Config"]


@dataclass(frozen=True)
class Config(Experiment):
    """Learning and memorization in every layer.

    Args:
        architectures: the networks to look into: "mlp", "cnn", "resnet", "vit".
    """

    training: Training = Training(epochs=20, keep_epochs=(0, 20))
    tests: Tests = Tests(layers=(), pool=True)
    architectures: tuple[str, ...] = ("mlp", "cnn")


def _models(config: Config) -> Mapping[str, Experiment]:
    return {name: replace(config, network=replace(config.network, architecture=name)) for name in config.architectures}


def _claims(data: "xarray.Dataset") -> list[Claim]:
    claims = []
    last = data.isel(epoch=-1)
    for model in data.model.values:
        own = last.sel(model=model).dropna("layer", how="all", subset=["observed"]).isel(layer=slice(1, None))
        for classifier in data.classifier.values:
            seen = own.sel(classifier=classifier)
            # The observed score beyond the null, and not its index, which is undefined where the null is perfect.
            selectivity = (seen.observed - seen.paired_null.mean("permutation")).mean("perturbation")
            added = seen.memorization_gain.mean("perturbation")
            first, deep = own.layer.values[[0, -1]]
            claims += [
                is_positive(
                    f"{model}: {deep} is tuned to the labels more than {first}, as {classifier} sees it",
                    selectivity.isel(layer=-1) - selectivity.isel(layer=0),
                ),
                is_positive(
                    f"{model}: training adds more memorization in {deep} than in {first}, as {classifier} sees it",
                    added.isel(layer=-1) - added.isel(layer=0),
                ),
            ]
    return claims


STUDY = Study(
    "layers",
    "Which layers learn, and which memorize?",
    Config,
    comparison(_models),
    "layer",
    _claims,
    figures=("indices", "layer-maps", "wrong-labels"),
    varies={"network.architecture": "architectures"},
)
