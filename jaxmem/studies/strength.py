"""Curves over the strength of perturbations: p-values depend on it, so one strength says little."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jaxmem.studies.experiment import Experiment, Tests, Training
from jaxmem.studies.study import Study, comparison
from jaxmem.studies.summary import Claim, is_positive

if TYPE_CHECKING:
    import xarray

__all__ = ["STUDY", "Config"]

_STRENGTHS = {
    "gaussian-noise": (0.1, 0.2, 0.4, 0.8),
    "pixel-dropout": (0.1, 0.3, 0.5, 0.7),
    "shift": (1, 2, 3, 4),
    "rotation": (5, 15, 30, 60),
    "blur": (0.5, 1, 2, 3),
}


@dataclass(frozen=True)
class Config(Experiment):
    """Learning and memorization over the strength of perturbations, trained networks beside untrained ones."""

    training: Training = Training(keep_epochs=(0, 40))
    tests: Tests = Tests(perturbations=tuple(f"{kind}:{s:g}" for kind, all in _STRENGTHS.items() for s in all))


def _models(config: Config) -> Mapping[str, Experiment]:
    return {config.network.architecture: config}


def _areas(data: "xarray.Dataset") -> "xarray.Dataset":
    """Add the memorization index's mean height over the strengths of each kind: area under the curve over its width."""
    import xarray

    areas = {}
    for kind in dict.fromkeys(data.kind.values.tolist()):
        curve = data.memorization.isel(perturbation=(data.kind == kind).values).sortby("strength")
        strengths = curve.strength.values
        if len(strengths) > 1:
            heights = curve.transpose(..., "perturbation")
            area = np.trapezoid(heights.values, strengths, axis=-1) / np.ptp(strengths)
            areas[kind] = xarray.DataArray(area, dims=heights.dims[:-1])
    if not areas:
        return data
    area = xarray.concat(list(areas.values()), xarray.Variable("area_kind", list(areas)))
    return data.assign(memorization_area=area)


def _claims(data: "xarray.Dataset") -> list[Claim]:
    own = data.isel(model=0, layer=-1, epoch=-1)
    null = own.paired_null.mean("permutation")
    claims = []
    for classifier in data.classifier.values:
        for kind in dict.fromkeys(data.kind.values.tolist()):
            curve = null.sel(classifier=classifier).isel(perturbation=(data.kind == kind).values).sortby("strength")
            if curve.sizes["perturbation"] > 1:
                falls = curve.isel(perturbation=0) - curve.isel(perturbation=-1)
                claims.append(is_positive(f"the null falls from weak to strong {kind}, as {classifier} sees it", falls))
    return claims


STUDY = Study(
    "strength",
    "How do learning and memorization depend on the strength of the perturbation?",
    Config,
    comparison(_models, _areas),
    "perturbation",
    _claims,
)
