"""Networks trained on Gaussian noise or shuffled pixels under the labels of images: is there anything to learn?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxmem.studies.experiment import Experiment, Training
from jaxmem.studies.study import Study, comparison
from jaxmem.studies.summary import Claim, all_below, is_positive

if TYPE_CHECKING:
    import xarray

__all__ = ["STUDY", "Config"]


@dataclass(frozen=True)
class Config(Experiment):
    """Learning and memorization where the inputs are noise.

    Args:
        kinds: of inputs, "images" among them to compare with.
    """

    training: Training = Training(keep_epochs=(0, 40))
    kinds: tuple[str, ...] = ("images", "standard-noise", "matched-noise", "shuffled-pixels", "shuffled-each")


def _models(config: Config) -> Mapping[str, Experiment]:
    return {kind: replace(config, data=replace(config.data, inputs=kind)) for kind in config.kinds}


def _claims(data: "xarray.Dataset") -> list[Claim]:
    claims = []
    for model in (name for name in data.model.values if name.endswith("noise")):
        own = data.sel(model=model).isel(epoch=-1)
        for classifier in data.classifier.values:
            seen = own.sel(classifier=classifier)
            smallest = seen.learning_pvalue_adjusted.isel(layer=-1).min("perturbation")
            # Not by the index, which is undefined where the null is perfect.
            selectivity = (seen.observed - seen.paired_null.mean("permutation")).mean("perturbation")
            gain = selectivity.isel(layer=-1) - selectivity.sel(layer="input")
            claims += [
                all_below(
                    f"{model}: the score is above the null, as {classifier} sees it (adjusted p)", smallest, 0.05
                ),
                is_positive(f"{model}: features learn beyond the raw noise, as {classifier} sees it", gain),
            ]
        away = abs(own.network_test_accuracy.mean("seed") - own.broken_null.mean())
        claims.append(all_below(f"{model}: and still test accuracy is chance (distance)", away, 0.02))
    return claims


STUDY = Study(
    "noise-inputs",
    "Do networks learn from inputs that are noise?",
    Config,
    comparison(_models),
    "model",
    _claims,
    varies={"data.inputs": "kinds"},
)
