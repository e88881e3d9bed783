"""Networks trained on labels that are random, wholly or in part."""

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
    """Learning and memorization where labels are random.

    Args:
        shares: of the training rows, whose labels are shuffled among them.
    """

    training: Training = Training(epochs=80, keep_epochs=(0, 80))
    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)


def _models(config: Config) -> Mapping[str, Experiment]:
    return {f"{share:g}": replace(config, data=replace(config.data, random_labels=share)) for share in config.shares}


def _claims(data: "xarray.Dataset") -> list[Claim]:
    last = data.isel(layer=-1, epoch=-1)
    true, random = last.isel(model=0), last.isel(model=-1)
    share = data.model.values[-1]
    return [
        all_below(
            f"share {share}: the observed score, on these labels, is above the null, at some strength (adjusted p)",
            random.learning_pvalue_adjusted.min("perturbation"),
            0.05,
        ),
        all_below(
            f"share {share}: every network fits its labels (share of training rows that it does not)",
            1 - random.network_train_accuracy,
            0.1,
        ),
        is_positive(
            f"share {share}: and do worse on test rows than with share {data.model.values[0]}",
            true.network_test_accuracy - random.network_test_accuracy,
        ),
        *(
            is_positive(
                f"features of share {share} give away other labels more than those of share {data.model.values[0]}, as "
                f"{classifier} sees it",
                (random.memorization - true.memorization).sel(classifier=classifier).mean("perturbation"),
            )
            for classifier in data.classifier.values
        ),
    ]


STUDY = Study(
    "random-labels",
    "What do networks do with labels that are random?",
    Config,
    comparison(_models),
    "model",
    _claims,
    varies={"data.random_labels": "shares", "data.confused_labels": "the study label-noise"},
)
