"""Networks of growing width and depth."""

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
    """Learning and memorization over the size of networks.

    Args:
        sizes: units of every hidden layer, at a depth of two.
        depths: numbers of hidden layers, of 64 units each.
    """

    training: Training = Training(keep_epochs=(0, 40))
    sizes: tuple[int, ...] = (8, 32, 128, 512)
    depths: tuple[int, ...] = (1, 2, 4)


def _models(config: Config) -> Mapping[str, Experiment]:
    def of(*widths: int) -> Experiment:
        return replace(config, network=replace(config.network, widths=widths))

    return {
        **{f"width {size}": of(size, size) for size in config.sizes},
        **{f"depth {depth}": of(*[64] * depth) for depth in config.depths},
    }


def _claims(data: "xarray.Dataset") -> list[Claim]:
    last = data.isel(layer=-1, epoch=-1)
    claims = []
    for which in ("width", "depth"):
        models = [name for name in data.model.values if name.startswith(which)]
        if len(models) > 1:
            large, small = (last.sel(model=model) for model in (models[-1], models[0]))
            for classifier in data.classifier.values:
                # Untrained, networks of more units give away more already: what counts is what training adds.
                more = large.memorization_gain - small.memorization_gain
                more = more.sel(classifier=classifier).mean("perturbation")
                text = f"training adds more memorization in {models[-1]} than in {models[0]}, as {classifier} sees it"
                claims.append(is_positive(text, more))
    return claims


STUDY = Study(
    "capacity",
    "Does training add more memorization in larger networks?",
    Config,
    comparison(_models),
    "model",
    _claims,
    varies={"network.widths": "sizes and depths"},
)
