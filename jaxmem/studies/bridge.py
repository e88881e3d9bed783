"""The two papers side by side: are networks that memorize more less alike?

Memorization is one network's: how well its features give any labelling of its training rows away. Similarity is two
networks': what they make of the same test rows. Both are measured of the same networks, under labels that are random
for a growing share of rows, other labellings for every network; under dropout; over widths; and over epochs. If
training rows are drawn from more, each network of a model has rows of its own, and so has its labelling: what is
compared is then learnt from other rows too. The networks of one seed have the same rows in every model, which differ in
nothing but what they are named after.

The rank correlation of the one with the other is over these models and epochs, which are no sample of any: its interval
is about other networks of the same models, by the jackknife over seeds, for pairs that share a network are not
independent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmem.inputs import one_of
from jaxmem.similarity import MEASURES, fewest_rows, similarities
from jaxmem.studies.conduct import Together, labelled, pieces
from jaxmem.studies.experiment import Data, Experiment, Tests, Training
from jaxmem.studies.networks import widths_of_layers
from jaxmem.studies.rows import Rows, dataset_of
from jaxmem.studies.store import Piece, Store, Work
from jaxmem.studies.study import Measure, Study
from jaxmem.studies.summary import Claim

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
        shares: of the training rows, whose labels are shuffled among them.
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
        """Check the measures, and that there are pairs of networks with one left out."""
        super().__post_init__()
        if not self.measures:
            raise ValueError("measures must name at least one.")
        for name in self.measures:
            if MEASURES[one_of(name, MEASURES, "each of measures")].facts.takes == "errors":
                raise ValueError(f"{name} compares errors, which grow with memorization: choose another measure.")
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


def _together(config: Config) -> Together:
    dims = {"pair_similarity": ("epoch", "measure", "seed", "other_seed")}
    return Together(("similarity", config.measures), dims, _similarities)


def _pieces(config: Config, store: Store, progress: bool) -> Iterator[Work]:
    _check_widths(config)
    return pieces(_models(config), store, progress=progress, together=_together(config))


def _label(config: Config, store: Store) -> "xarray.Dataset":
    data = labelled(_models(config), store, together=_together(config))
    data = data.assign_coords(measure=list(config.measures), other_seed=data.seed.values)
    data = data.assign(dissimilarity=_dissimilarity(data))
    correlation, error = _jackknifed(data)
    return data.assign(rank_correlation=correlation, rank_correlation_error=error)


def _check_widths(config: Config) -> None:
    """Refuse networks too wide for a measure on so few test rows before any is trained, and not after."""
    demanding = [name for name in config.measures if MEASURES[name].facts.more_rows_than_features]
    n = len(dataset_of(config).X_test) - config.data.n_validation
    # Of one model for each structure: dropout and labels change no width.
    models = {model.network.widths: (name, model) for name, model in reversed([*_models(config).items()])}
    for name, model in models.values() if demanding else ():
        *_, width = widths_of_layers(model).values()
        for measure in demanding:
            if n < (needed := fewest_rows(MEASURES[measure], width, width)):
                raise ValueError(
                    f"the networks of model {name!r} have {width} features in their last layer, for which measure "
                    f"{measure!r} takes {needed} test rows, but there are {n}. Take narrower networks (--sizes), or "
                    "other measures (--measures cka agreement)."
                )


def _similarities(experiment: Experiment, trained: "TrainedEnsemble", rows: Rows) -> Piece:
    """Of all pairs of networks on the test rows, by features of the last hidden layer, or by what they predict."""
    from jaxmem.nets import features, logits

    assert isinstance(experiment, Config)
    found = []
    for epoch in experiment.training.keep_epochs:
        models = [member.at(epoch) for member in trained]
        layers = [list(features(model, rows.X_test).values())[-1] for model in models]
        predicted = [logits(model, rows.X_test) for model in models]
        taken = {"features": layers}
        found.append([similarities(taken.get(MEASURES[m].facts.takes, predicted), m) for m in experiment.measures])
    return {"pair_similarity": np.array(found)}


def _dissimilarity(data: "xarray.Dataset") -> "xarray.DataArray":
    """How far pairs of different networks are from being alike, on average, whichever end of a measure that is."""
    import xarray

    facts = [MEASURES[str(name)].facts for name in data.measure.values]
    alike, sign = (
        xarray.DataArray(values, {"measure": data.measure}, ["measure"])
        for values in (
            [one.high if one.larger_is_similar else one.low for one in facts],
            [1.0 if one.larger_is_similar else -1.0 for one in facts],
        )
    )
    values = sign * (alike - data.pair_similarity)
    return values.where(data.seed != data.other_seed).mean(["seed", "other_seed"])


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


def _jackknifed(data: "xarray.Dataset") -> "tuple[xarray.DataArray, xarray.DataArray]":
    """Rank correlations along every axis, and the jackknife's standard errors, of leaving out each network in turn."""
    import xarray

    seeds = data.seed.values
    n = len(seeds)

    def correlations(kept: Any) -> "xarray.DataArray":
        part = data.sel(seed=kept, other_seed=kept)
        axes = _axes(part.assign(dissimilarity=_dissimilarity(part)))
        return xarray.concat([_correlation(points) for points in axes.values()], xarray.Variable("along", list(axes)))

    each = xarray.concat([correlations(seeds[seeds != seed]) for seed in seeds], "left_out")
    return correlations(seeds), ((n - 1) * each.var("left_out")) ** 0.5


def _correlation(points: "xarray.Dataset") -> "xarray.DataArray":
    """Spearman's, over models and epochs, of the mean memorization index and the mean dissimilarity."""
    import xarray
    from scipy import stats

    def ranks(values: "xarray.DataArray") -> "xarray.DataArray":
        stacked = values.stack(point=("model", "epoch"), create_index=False)
        along = {"input_core_dims": [["point"]], "output_core_dims": [["point"]], "kwargs": {"axis": -1}}
        return xarray.apply_ufunc(stats.rankdata, stacked, **along)

    memorization = points.memorization.isel(layer=-1).mean(["seed", "perturbation"], skipna=False)
    return xarray.corr(ranks(memorization), ranks(points.dissimilarity), dim="point")


def _claims(data: "xarray.Dataset") -> list[Claim]:
    return [
        _claim(
            f"{along}: those that memorize more, as {classifier} sees it, are less alike by {measure} (rank corr.)",
            data.rank_correlation.sel(along=along, classifier=classifier, measure=measure).item(),
            data.rank_correlation_error.sel(along=along, classifier=classifier, measure=measure).item(),
            data.sizes["seed"],
        )
        for along in _CLAIMED
        for classifier in data.classifier.values
        for measure in data.measure.values
    ]


def _claim(text: str, correlation: float, error: float, n: int) -> Claim:
    """That a rank correlation of these models is positive, for other networks of theirs as well."""
    from scipy import stats

    if not error > 0:  # No network changes the order of the models: how much others would, nothing tells.
        return Claim(text, False, f"{correlation:.3f}, whichever network is left out")
    reach = error * float(stats.t.ppf(0.975, n - 1))
    low, high = max(-1.0, correlation - reach), min(1.0, correlation + reach)
    pvalue = float(2 * stats.t.sf(abs(correlation) / error, n - 1))
    return Claim(text, low > 0, f"{correlation:.3f} [{low:.3f}, {high:.3f}]", high < 0, pvalue)


STUDY = Study(
    "bridge",
    "Are networks that memorize more less alike?",
    Config,
    Measure(_pieces, _label),
    "model",
    _claims,
    figures=("indices", "wrong-labels", "bridge"),
    varies={
        "data.inputs": "the study noise-inputs",
        "tests.layers": "the study dissect",
        "data.random_labels": "shares",
        "data.confused_labels": "shares",
        "network.dropout": "dropouts",
        "network.widths": "sizes",
    },
)
