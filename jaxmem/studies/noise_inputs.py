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
        kinds: of inputs; see `inputs`.
    """

    training: Training = Training(keep_epochs=(0, 40))
    kinds: tuple[str, ...] = ("images", "standard-noise", "matched-noise", "shuffled-pixels", "shuffled-each")


def _models(config: Config) -> Mapping[str, Experiment]:
    return {kind: replace(config, data=replace(config.data, inputs=kind)) for kind in config.kinds}


def _claims(data: "xarray.Dataset") -> list[Claim]:
    claims = []
    for model in (name for name in data.model.values if name.endswith("noise")):
        own = data.sel(model=model).isel(layer=-1, epoch=-1)
        away = abs(own.network_test_accuracy.mean("seed") - own.broken_null.mean())
        claims += [
            all_below(
                f"{model}: the observed score is above the null, at some strength (adjusted p)",
                own.learning_pvalue_adjusted.min("perturbation"),
                0.05,
            ),
            *(
                is_positive(
                    f"{model}: tuned to the labels more than the raw noise is, as {classifier} sees it",
                    (own.learning - data.sel(model=model).isel(layer=0, epoch=-1).learning)
                    .sel(classifier=classifier)
                    .mean("perturbation"),
                )
                for classifier in data.classifier.values
            ),
            all_below(f"{model}: and still test accuracy is chance (distance)", away, 0.02),
        ]
    return claims


STUDY = Study(
    "noise-inputs", "Do networks learn from inputs that are noise?", Config, comparison(_models), "model", _claims
)
