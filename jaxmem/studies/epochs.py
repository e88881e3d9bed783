"""How learning and memorization develop while networks are trained: the study behind `jaxmem run`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxmem.studies.experiment import Experiment, Tests
from jaxmem.studies.study import Study, comparison
from jaxmem.studies.summary import Claim, all_below, is_positive

if TYPE_CHECKING:
    import xarray

__all__ = ["STUDY", "Config"]


@dataclass(frozen=True)
class Config(Experiment):
    """Learning and memorization over the epochs of training."""

    tests: Tests = Tests(perturbations=("gaussian-noise:0.1", "gaussian-noise:0.2", "gaussian-noise:0.4", "shift:2"))


def _models(config: Config) -> Mapping[str, Experiment]:
    return {config.network.architecture: config}


def _claims(data: "xarray.Dataset") -> list[Claim]:
    data = data.isel(model=0)
    own, nulls = data.isel(layer=-1), data.paired_null.mean("permutation").isel(layer=-1)
    off_chance = abs(data.test_null.mean("permutation") - data.broken_null.mean(["permutation", "perturbation"]))
    trained = own.isel(epoch=slice(1, None))
    claims = [
        all_below("on independent test rows the null is centred on chance, at every epoch", off_chance, 0.02),
        all_below(
            "on perturbed copies the null is above chance after training (adjusted p)",
            trained.memorization_pvalue_adjusted,
            0.05,
        ),
        all_below(
            "the observed score is above the null in the end, at some strength at least (adjusted p)",
            trained.learning_pvalue_adjusted.isel(epoch=-1).min("perturbation"),
            0.05,
        ),
    ]
    for classifier in data.classifier.values:
        memorization = trained.memorization.sel(classifier=classifier).mean("perturbation")
        falls = memorization.isel(epoch=0) - memorization.isel(epoch=-1)
        claims.append(
            is_positive(f"memorization falls from the first epoch to the last, as {classifier} sees it", falls)
        )
        for kind in sorted(set(data.kind.values)):
            of_kind = nulls.sel(classifier=classifier).isel(perturbation=(data.kind == kind).values, epoch=-1)
            if of_kind.sizes["perturbation"] > 1:
                by_strength = of_kind.sortby("strength")
                weakest, strongest = by_strength.isel(perturbation=0), by_strength.isel(perturbation=-1)
                text = f"the null falls as {kind} grows, as {classifier} sees it"
                claims.append(is_positive(text, weakest - strongest))
    return claims


STUDY = Study(
    "epochs",
    "How do learning and memorization develop while networks are trained?",
    Config,
    comparison(_models),
    "epoch",
    _claims,
    figures=("epochs", "indices", "wrong-labels"),
)
