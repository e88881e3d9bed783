"""The two papers side by side: are networks that memorize more less alike?

Memorization is one network's: how well its features give any labelling of its training rows away. Similarity is two
networks': what they make of the same test rows. Both are measured of the same networks, under labels that are random
for a growing share of rows, other labellings for every network; under dropout; over widths; and over epochs. The rank
correlation of the one with the other, over all of these and along each, has an interval by the jackknife over networks,
for pairs of networks that share one are not independent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmem.inputs import one_of
from jaxmem.similarity import MEASURES, similarities
from jaxmem.studies.conduct import Together, conduct
from jaxmem.studies.experiment import Data, Experiment, Tests, Training
from jaxmem.studies.rows import Rows
from jaxmem.studies.store import Piece, Store
from jaxmem.studies.study import Study
from jaxmem.studies.summary import Claim, is_positive

if TYPE_CHECKING:
    import xarray

    from jaxmem.nets import TrainedEnsemble

__all__ = ["STUDY", "Config"]

_PLAIN = "plain"
# Among which points: all of them, or those of trained networks at the end.
_CLAIMED = _EVERYTHING, _AT_THE_END = "all models and epochs", "models at the last epoch"


@dataclass(frozen=True)
class Config(Experiment):
    """Memorization beside the dissimilarity of networks.

    Args:
        shares: of the training rows whose labels are shuffled; see `random_labels`.
        dropouts: rates to try.
        sizes: units of every hidden layer, at a depth of two.
        measures: of similarity; see `jaxmem.similarity.MEASURES`.
    """

    data: Data = Data(n_train=1_000)
    training: Training = Training(keep_epochs=(0, 1, 5, 20, 40))
    tests: Tests = Tests(n_permutations=50)
    shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    dropouts: tuple[float, ...] = (0.25, 0.5)
    sizes: tuple[int, ...] = (16, 64, 256)
    measures: tuple[str, ...] = ("cka", "procrustes", "agreement")

    def __post_init__(self) -> None:
        """Check the measures, and that there are pairs of networks, and more than one pair."""
        super().__post_init__()
        for name in self.measures:
            one_of(name, MEASURES, "each of measures")
        if self.seeds < 3:
            raise ValueError(f"seeds is {self.seeds}; networks are compared in pairs, with one left out: choose >= 3.")


def _models(config: Config) -> Mapping[str, Experiment]:
    def of(**changes: Any) -> Experiment:
        return replace(config, network=replace(config.network, **changes))

    return {
        _PLAIN: config,
        **{f"random {s:g}": replace(config, data=replace(config.data, random_labels=s)) for s in config.shares},
        **{f"dropout {rate:g}": of(dropout=rate) for rate in config.dropouts},
        **{f"width {size}": of(widths=(size, size)) for size in config.sizes},
    }


def _measure(config: Config, store: Store, progress: bool) -> "xarray.Dataset":
    dims = {"pair_similarity": ("epoch", "measure", "seed", "other_seed")}
    together = Together(("similarity", config.measures), dims, _similarities)
    data = conduct(_models(config), store, progress=progress, together=together)
    data = data.assign_coords(measure=list(config.measures), other_seed=data.seed.values)
    data = data.assign(dissimilarity=_mean_over_pairs(1 - data.pair_similarity))
    return data.assign(rank_correlation=_jackknifed(data))


def _similarities(experiment: Experiment, trained: "TrainedEnsemble", rows: Rows) -> Piece:
    """Of all pairs of networks on the test rows, by features of the last hidden layer, or by what they predict."""
    from jaxmem.nets import features, logits

    config = experiment
    assert isinstance(config, Config)
    found = []
    for epoch in config.training.keep_epochs:
        models = [member.at(epoch) for member in trained]
        layers = [list(features(model, rows.X_test).values())[-1] for model in models]
        predicted = [logits(model, rows.X_test) for model in models]
        taken = {"features": layers}
        found.append([similarities(taken.get(MEASURES[m].facts.takes, predicted), m) for m in config.measures])
    return {"pair_similarity": np.array(found)}


def _mean_over_pairs(values: "xarray.DataArray") -> "xarray.DataArray":
    """Mean over pairs of different networks."""
    different = values.seed != values.other_seed
    return values.where(different).mean(["seed", "other_seed"])


def _axes(data: "xarray.Dataset") -> dict[str, "xarray.Dataset"]:
    """The points along each of the axes: models at the last epoch, or the epochs of the plain networks."""
    last = data.isel(epoch=[-1])
    axes = {_EVERYTHING: data.isel(epoch=slice(1, None)), _AT_THE_END: last}
    for axis in ("random", "dropout", "width"):
        names = [name for name in data.model.values if name.startswith(axis)]
        names = names if axis == "width" else [_PLAIN, *names]
        if len(names) > 2:
            axes[axis] = last.sel(model=names)
    if data.sizes["epoch"] > 3:
        axes["epoch"] = data.sel(model=[_PLAIN]).isel(epoch=slice(1, None))
    return axes


def _jackknifed(data: "xarray.Dataset") -> "xarray.DataArray":
    """Rank correlations along every axis: the jackknife's value for each network left out."""
    import xarray

    seeds = data.seed.values
    n = len(seeds)

    def correlations(kept: Any) -> "xarray.DataArray":
        part = data.sel(seed=kept, other_seed=kept)
        part = part.assign(dissimilarity=_mean_over_pairs(1 - part.pair_similarity))
        return xarray.concat(
            [_correlation(points) for points in _axes(part).values()], xarray.Variable("along", list(_axes(part)))
        )

    whole = correlations(seeds)
    each = [n * whole - (n - 1) * correlations(seeds[seeds != seed]) for seed in seeds]
    return xarray.concat(each, xarray.Variable("seed", seeds))


def _correlation(points: "xarray.Dataset") -> "xarray.DataArray":
    """Spearman's, over models and epochs, of the mean memorization index and the mean dissimilarity."""
    import xarray
    from scipy import stats

    def ranks(values: "xarray.DataArray") -> "xarray.DataArray":
        stacked = values.stack(point=("model", "epoch"), create_index=False)
        along = {"input_core_dims": [["point"]], "output_core_dims": [["point"]], "kwargs": {"axis": -1}}
        return xarray.apply_ufunc(stats.rankdata, stacked, **along)

    memorization = points.memorization.isel(layer=-1).mean(["seed", "perturbation"])
    return xarray.corr(ranks(memorization), ranks(points.dissimilarity), dim="point")


def _claims(data: "xarray.Dataset") -> list[Claim]:
    return [
        is_positive(
            f"{along}: those that memorize more, as {classifier} sees it, are less alike by {measure} (rank corr.)",
            data.rank_correlation.sel(along=along, classifier=classifier, measure=measure),
        )
        for along in _CLAIMED
        for classifier in data.classifier.values
        for measure in data.measure.values
    ]


STUDY = Study(
    "bridge",
    "Are networks that memorize more less alike?",
    Config,
    _measure,
    "model",
    _claims,
    varies={
        "data.random_labels": "shares",
        "data.confused_labels": "shares",
        "network.dropout": "dropouts",
        "network.widths": "sizes",
    },
)
