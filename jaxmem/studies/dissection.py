"""What the study `dissect` compares by, and what tables and figures show of it."""

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmem.similarity import GRADIENT_FACTS, MEASURES, Facts

if TYPE_CHECKING:
    import xarray

__all__ = ["FACTS", "GRADIENTS", "shown_layer", "similarity_numbers", "similarity_table"]

GRADIENTS = "input-gradient"
# The library's measures, which take what networks make of rows, and one that takes the networks themselves.
FACTS: Mapping[str, Facts] = {
    **{name: measure.facts for name, measure in MEASURES.items()},
    GRADIENTS: GRADIENT_FACTS["gradient_cosines"],
}


def shown_layer(data: "xarray.Dataset", measure: Any) -> str:
    """The last hidden layer, or the output for measures of functions."""
    return str(data.layer.values[-2 if FACTS[str(measure)].takes == "features" else -1])


def similarity_numbers(data: "xarray.Dataset") -> list[dict[str, Any]]:
    """Mean similarities within groups at the last epoch with the ends of their 95% intervals, a dict a line."""
    last, lines = data.isel(epoch=-1), []
    for measure, rows in product(data.measure.values.tolist(), data.rows.values.tolist()):
        layer = shown_layer(data, measure)
        own = last.sel(measure=measure, rows=rows, layer=layer)
        if not np.isnan(own.within_mean).all():
            ends = {end: own[f"within_{end}"] for end in ("mean", "low", "high")}
            groups = {
                group: {end: values.sel(group=group).item() for end, values in ends.items()}
                for group in data.group.values.tolist()
            }
            lines.append({"measure": measure, "layer": layer, "rows": rows, **groups})
    return lines


def similarity_table(data: "xarray.Dataset") -> list[str]:
    """Lines of text: the same numbers, with half the width of the intervals."""
    import pandas

    lines, groups = similarity_numbers(data), data.group.values.tolist()
    index = [(f"{line['measure']} ({line['layer']})", line["rows"]) for line in lines]
    columns = {
        group: [f"{line[group]['mean']:.3f} ±{line[group]['high'] - line[group]['mean']:.3f}" for line in lines]
        for group in groups
    }
    frame = pandas.DataFrame(columns, pandas.MultiIndex.from_tuples(index, names=["measure", "rows"]))
    title = f"{data.attrs['question']} (similarity within groups, epoch {data.epoch.values[-1]})"
    return [title, frame.to_string()]
