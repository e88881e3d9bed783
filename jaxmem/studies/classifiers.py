"""The same features before every shallow classifier: what each of them can see."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxmem.studies.experiment import CLASSIFIERS, Experiment, Tests, Training
from jaxmem.studies.study import Study, comparison
from jaxmem.studies.summary import Claim, is_positive

if TYPE_CHECKING:
    import xarray

__all__ = ["STUDY", "Config"]


@dataclass(frozen=True)
class Config(Experiment):
    """Learning and memorization as each shallow classifier sees it."""

    training: Training = Training(keep_epochs=(0, 40))
    tests: Tests = Tests(classifiers=tuple(CLASSIFIERS))


def _models(config: Config) -> Mapping[str, Experiment]:
    return {config.network.architecture: config}


def _claims(data: "xarray.Dataset") -> list[Claim]:
    memorization = data.memorization.isel(model=0, layer=-1, epoch=-1).mean("perturbation")
    nearest = "knn"
    if nearest not in data.classifier.values:
        return []
    return [
        is_positive(
            f"one nearest neighbour sees more memorization than {other}",
            memorization.sel(classifier=nearest) - memorization.sel(classifier=other),
        )
        for other in data.classifier.values
        if other != nearest
    ]


STUDY = Study(
    "classifiers", "What does each shallow classifier see?", Config, comparison(_models), "classifier", _claims
)
