"""Networks trained where some labels are wrong: what becomes of the rows with wrong ones, epoch by epoch."""

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
    """Learning and memorization under label noise.

    Args:
        random_shares: of the training rows, whose labels are shuffled among them.
        confused_shares: of the training rows, whose labels are mistaken for those of the next class.
    """

    training: Training = Training(keep_epochs=(0, 1, 2, 5, 10, 20, 40))
    random_shares: tuple[float, ...] = (0.0, 0.2, 0.5)
    confused_shares: tuple[float, ...] = (0.2,)


def _models(config: Config) -> Mapping[str, Experiment]:
    return {
        **{f"random {s:g}": replace(config, data=replace(config.data, random_labels=s)) for s in config.random_shares},
        **{
            f"confused {s:g}": replace(config, data=replace(config.data, confused_labels=s))
            for s in config.confused_shares
        },
    }


def _claims(data: "xarray.Dataset") -> list[Claim]:
    claims = []
    for model in (name for name in data.model.values if not name.endswith(" 0")):
        own = data.sel(model=model)
        gap = own.wrong_labels_as_true - own.wrong_labels_as_given
        claims += [
            is_positive(
                f"{model}: after the first kept epoch, wrongly labelled rows are predicted as their true class more "
                "often than as labelled",
                gap.isel(epoch=1),
            ),
            is_positive(f"{model}: in the end, more often as labelled", -gap.isel(epoch=-1)),
        ]
        accuracy = own.network_test_accuracy
        if accuracy.sizes["seed"] > 1:
            # The best epoch as the other networks have it: a network's own best would be the best by luck as well.
            others = accuracy.sum("seed") - accuracy
            falls = accuracy.isel(epoch=others.argmax("epoch")) - accuracy.isel(epoch=-1)
            claims.append(is_positive(f"{model}: test accuracy falls from its best epoch to the last", falls))
    return claims


STUDY = Study(
    "label-noise",
    "What becomes of rows with wrong labels?",
    Config,
    comparison(_models),
    "model",
    _claims,
    varies={"data.random_labels": "random_shares", "data.confused_labels": "confused_shares"},
)
