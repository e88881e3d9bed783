"""Networks trained on few rows and on many, for as many epochs, and so for fewer steps and more."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxmem.studies.experiment import Experiment, Training
from jaxmem.studies.study import Study, comparison
from jaxmem.studies.summary import Claim, is_positive

if TYPE_CHECKING:
    import xarray

__all__ = ["STUDY", "Config"]


@dataclass(frozen=True)
class Config(Experiment):
    """Learning and memorization over the number of training rows.

    Args:
        sizes: numbers of training rows.
    """

    training: Training = Training(keep_epochs=(0, 40))
    sizes: tuple[int, ...] = (250, 500, 1_000, 2_000, 4_000)


def _models(config: Config) -> Mapping[str, Experiment]:
    return {f"{n} rows": replace(config, data=replace(config.data, n_train=n)) for n in config.sizes}


def _claims(data: "xarray.Dataset") -> list[Claim]:
    last = data.isel(layer=-1, epoch=-1)
    few, many = last.isel(model=0), last.isel(model=-1)
    names = data.model.values
    return [
        is_positive(
            f"{names[-1]}: test accuracy above that with {names[0]}",
            many.network_test_accuracy - few.network_test_accuracy,
        ),
        *(
            is_positive(
                f"{names[0]}: training adds more memorization than with {names[-1]}, as {classifier} sees it",
                (few.memorization_gain - many.memorization_gain).sel(classifier=classifier).mean("perturbation"),
            )
            for classifier in data.classifier.values
        ),
    ]


STUDY = Study(
    "sample-size",
    "Does memorization depend on the number of rows?",
    Config,
    comparison(_models),
    "model",
    _claims,
    varies={"data.n_train": "sizes"},
)
