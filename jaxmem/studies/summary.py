"""From the numbers of all seeds to statements: means with intervals, p-values adjusted over all tests of a study."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxmem.inference import adjusted, family_statistics, single_step
from jaxmem.studies.dissection import similarity_numbers, similarity_table

if TYPE_CHECKING:
    import xarray

__all__ = [
    "Claim",
    "all_below",
    "decided",
    "is_positive",
    "numbers",
    "over_seeds",
    "rank_correlation",
    "shown",
    "table",
    "with_adjusted_pvalues",
]


class Claim(NamedTuple):
    """A sentence, and what this study has to say of it.

    Attributes:
        text: the sentence.
        holds: whether the numbers bear it out.
        seen: the figures that say so.
        opposite: whether they bear out its opposite. Neither: they leave it open.
        pvalue: two-sided, where the sentence is judged by a test over seeds.
        pvalue_adjusted: the same, corrected for there being several in a study; see `decided`.

    Example:
        >>> from jaxmem.studies import Claim
        >>> Claim("the null falls as the perturbation grows", holds=True, seen="0.24 to 0.17").outcome
        'holds'
    """

    text: str
    holds: bool
    seen: str
    opposite: bool = False
    pvalue: float | None = None
    pvalue_adjusted: float | None = None

    @property
    def outcome(self) -> str:
        """ "holds", "opposite" or "not shown"."""
        return "holds" if self.holds else "opposite" if self.opposite else "not shown"

    def __str__(self) -> str:
        return f"[{self.outcome}] {self.text}: {self.seen}"


def is_positive(text: str, values: "xarray.DataArray") -> Claim:
    """The claim that a quantity is above zero on average over networks, by Student's test over seeds."""
    from scipy import stats

    missing = int(values.isnull().sum())
    if missing:
        return Claim(text, False, f"undefined for {missing} of {values.size} networks")
    mean, low, high = (float(value) for value in over_seeds(values)[["mean", "low", "high"]].values())
    error = values.std("seed", ddof=1).item() / np.sqrt(values.size)
    seen = f"{mean:.3f} [{low:.3f}, {high:.3f}]"
    if not error > 0:
        # Networks that do not differ tell nothing of how much others would; n of one sign have this chance.
        alike = 2.0 ** (1 - values.size) if mean else 1.0
        return Claim(text, mean > 0, f"{seen}, all networks alike" if values.size > 1 else seen, mean < 0, alike)
    pvalue = float(2 * stats.t.sf(abs(mean) / error, values.size - 1))
    return Claim(text, low > 0, seen, high < 0, pvalue)


def decided(claims: Sequence[Claim], alpha: float = 0.05) -> list[Claim]:
    """The claims with those open again that do not stand Holm's correction for all tests over seeds among them."""
    tested = [number for number, claim in enumerate(claims) if claim.pvalue is not None]
    pvalues = np.array([claims[number].pvalue for number in tested], float)
    found = list(claims)
    for number, pvalue in zip(tested, adjusted(pvalues, "holm"), strict=True):
        claim = found[number]
        stands = bool(pvalue <= alpha)
        found[number] = claim._replace(
            holds=claim.holds and stands, opposite=claim.opposite and stands, pvalue_adjusted=float(pvalue)
        )
    return found


def all_below(text: str, values: "xarray.DataArray", limit: float) -> Claim:
    """The claim that the largest of many numbers is no larger than a limit; not shown where one is missing."""
    largest = float(values.max(skipna=False))
    return Claim(text, largest <= limit, f"largest {largest:.3g}, limit {limit:g}")


def over_seeds(values: "xarray.DataArray", confidence_level: float = 0.95) -> "xarray.Dataset":
    """Mean over seeds, with the ends `low` and `high` of Student's interval; NaN where there is one seed alone.

    It speaks of networks of other seeds, trained on the same rows (or rows drawn from the same data set).

    Example:
        >>> import xarray
        >>> from jaxmem.studies import over_seeds
        >>> gains = xarray.DataArray([0.18, 0.20, 0.22], dims="seed")
        >>> float(over_seeds(gains)["low"].round(2))
        0.15
    """
    import xarray
    from scipy import stats

    n = values.notnull().sum("seed")
    mean = values.mean("seed")
    error = values.std("seed", ddof=1) / np.sqrt(n)
    reach = error * stats.t.ppf((1 + confidence_level) / 2, np.maximum(n - 1, 1))
    return xarray.Dataset({"mean": mean, "low": mean - reach, "high": mean + reach})


def rank_correlation(first: "xarray.DataArray", second: "xarray.DataArray") -> "xarray.DataArray":
    """Spearman's correlation over examples, equal values sharing their mean rank; NaN where all are equal."""
    import xarray
    from scipy import stats

    def ranks(values: "xarray.DataArray") -> "xarray.DataArray":
        ranked = xarray.apply_ufunc(
            lambda array: stats.rankdata(array, axis=-1), values, input_core_dims=[["example"]],
            output_core_dims=[["example"]],
        )  # fmt: skip
        centred = ranked - ranked.mean("example")
        length = np.sqrt((centred**2).sum("example"))
        return centred / length.where(length > 0)

    return (ranks(first) * ranks(second)).sum("example", skipna=False)


def with_adjusted_pvalues(data: "xarray.Dataset") -> "xarray.Dataset":
    """The data with p-values adjusted for there being so many tests.

    `learning_pvalue_adjusted`: by the largest studentised statistic of all tests under each permutation (Westfall &
    Young's single-step maxT), which all of them went through together: the probability that any is wrongly found is at
    most the level; only nearly so where seeds or models have rows of their own, whose permutations are not the same.
    `memorization_pvalue_adjusted`: by Benjamini and Hochberg's procedure, which bounds the expected
    share of wrong findings.
    """
    import xarray

    stacked = data[["observed", "paired_null", "memorization_pvalue"]].stack(
        test=[dim for dim in data.observed.dims], create_index=False
    )
    there = stacked.observed.notnull().values
    scores = np.column_stack([stacked.observed.values, stacked.paired_null.transpose("test", "permutation").values])
    statistics = family_statistics(scores[there], "greater", "maxT", studentize=True)
    found = {
        "learning_pvalue_adjusted": single_step(statistics[:, 0], statistics.max(axis=0), "maxT", rounding=1e-9),
        "memorization_pvalue_adjusted": _once_each(scores[there], stacked.memorization_pvalue.values[there]),
    }
    shape = data.observed.shape
    variables = {}
    for name, pvalues in found.items():
        everywhere = np.full(there.size, np.nan)
        everywhere[there] = pvalues
        variables[name] = xarray.Variable(data.observed.dims, everywhere.reshape(shape))
    return data.assign(variables)


def _once_each(scores: np.ndarray, pvalues: np.ndarray) -> np.ndarray:
    """Adjusted by Benjamini and Hochberg, tests that stand in several places, as raw inputs do, counted once.

    Many copies of a sure finding would let the others through.
    """
    both = np.column_stack([scores, pvalues])
    _, first, back = np.unique(both, axis=0, return_index=True, return_inverse=True)
    return adjusted(pvalues[first], "fdr_bh")[back.ravel()]


def shown(data: "xarray.Dataset") -> "xarray.Dataset":
    """The part of the numbers that tables and figures show: the last epoch and layer, but along the study's axis."""
    axis = data.attrs["axis"]
    if axis != "epoch":
        data = data.isel(epoch=[-1])
    return data if axis == "layer" else data.sel(layer=["input", data.layer.values[-1]])


def _cell(mean: float, half: float, missing: int, seeds: int) -> str:
    if missing == seeds:
        return "n/a"
    return f"{mean:.3f}" + (f" ±{half:.3f}" if np.isfinite(half) else "") + (f" ({missing} n/a)" * bool(missing))


def numbers(data: "xarray.Dataset") -> list[dict[str, Any]]:
    """What `table` shows, as plain values: a dict a line, of each quantity the mean and the ends of its interval."""
    if "similarity" in data:
        return similarity_numbers(data)
    axes, quantities = _quantities(data)
    found = {name: over_seeds(values) for name, values in quantities.items()}
    if "observed" in data:
        found["p"] = _largest_pvalue(data)
    lines = []
    for place in product(*(next(iter(quantities.values()))[axis].values.tolist() for axis in axes)):
        at = dict(zip(axes, place, strict=True))
        own = {name: of.sel(at).squeeze(drop=True) for name, of in found.items()}
        lines.append(at | {name: {str(end): value.item() for end, value in of.items()} for name, of in own.items()})
    return lines


def table(data: "xarray.Dataset") -> list[str]:
    """Lines of text: means over seeds and half the width of their 95% intervals.

    What there is not is "n/a", with the number of networks: a learning index is undefined where the null is perfect,
    for nothing is left to be learnt.

    Of a study that tests no features: of every quantity that has one value for each network along the study's axis.
    """
    import pandas

    if "similarity" in data:
        return similarity_table(data)
    axes, quantities = _quantities(data)
    columns = {name: _cells(values, axes) for name, values in quantities.items()}
    if "observed" not in data:
        (axis,) = axes
        frame = pandas.DataFrame(columns, index=pandas.Index(data[axis].values, name=axis))
        return [f"{data.attrs['question']} (means over seeds)", frame.to_string()]
    part = _in_table(data)
    largest = _largest_pvalue(data).largest.squeeze(drop=True).transpose(*axes)
    columns["largest p"] = [f"{p:.3f}" for p in largest.values.ravel()]
    places = [part[axis].values for axis in axes]
    index = pandas.MultiIndex.from_product(places, names=axes) if axes else [""]
    frame = pandas.DataFrame(columns, index=index)
    title = f"{data.attrs['question']} (layer {part.layer.values[-1]}, epoch {part.epoch.values[-1]}; means over seeds)"
    return [title, frame.to_string()]


def _quantities(data: "xarray.Dataset") -> "tuple[list[str], dict[str, xarray.DataArray]]":
    """The axes of a table, and what it shows of every network."""
    if "observed" not in data:
        axis = data.attrs["axis"]
        own = {str(name): values for name, values in data.items() if set(values.dims) == {axis, "seed"}}
        return [axis], {name.replace("_", " "): values for name, values in own.items()}
    part = _in_table(data)
    axes = [axis for axis in ("model", "epoch", "layer", "perturbation", "classifier") if part.sizes[axis] > 1]
    return axes, {
        "observed": part.observed,
        "null": part.paired_null.mean("permutation"),
        "chance": part.broken_null.mean("permutation"),
        "test": part.test_observed.broadcast_like(part.observed),
        "learning": part.learning,
        "memorization": part.memorization,
        "gain": part.memorization_gain,
        "gain over input": part.memorization_gain_over_input,
    }


def _largest_pvalue(data: "xarray.Dataset") -> "xarray.Dataset":
    """The largest adjusted p-value of learning of all networks."""
    return _in_table(data)[["learning_pvalue_adjusted"]].max("seed").rename(learning_pvalue_adjusted="largest")


def _in_table(data: "xarray.Dataset") -> "xarray.Dataset":
    part = shown(data)
    return part if data.attrs["axis"] == "layer" else part.isel(layer=[-1])


def _cells(values: "xarray.DataArray", axes: Sequence[str]) -> list[str]:
    """Means over seeds along the axes, each with half the width of its interval if it has one."""
    found = over_seeds(values)
    order = [axis for axis in axes if values.sizes[axis] > 1]
    columns = (found["mean"], found.high - found["mean"], values.isnull().sum("seed"))
    flat = (column.squeeze(drop=True).transpose(*order).values.ravel() for column in columns)
    return [_cell(float(mean), float(half), int(n), values.sizes["seed"]) for mean, half, n in zip(*flat, strict=True)]
