"""What the study `dissect` compares by, and what tables and figures show of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmem.similarity import GRADIENT_FACTS, MEASURES, Facts

if TYPE_CHECKING:
    import xarray

__all__ = ["FACTS", "GRADIENTS", "shown_layer", "similarity_table"]

GRADIENTS = "input-gradient"
# The library's measures, which take what networks make of rows, and one that takes the networks themselves.
FACTS: Mapping[str, Facts] = {
    **{name: measure.facts for name, measure in MEASURES.items()},
    GRADIENTS: GRADIENT_FACTS["gradient_cosines"],
}


def shown_layer(data: "xarray.Dataset", measure: Any) -> str:
    """The last hidden layer, or the output for measures of functions."""
    return str(data.layer.values[-2 if FACTS[str(measure)].takes == "features" else -1])


def similarity_table(data: "xarray.Dataset") -> list[str]:
    """Lines of text: mean similarities within groups at the last epoch, and half the width of their 95% intervals."""
    import pandas

    last = data.isel(epoch=-1)
    columns: dict[str, list[str]] = {str(group): [] for group in data.group.values}
    index = []
    for measure in data.measure.values:
        layer = shown_layer(data, measure)
        for rows in data.rows.values:
            own = last.sel(measure=measure, rows=rows, layer=layer)
            if np.isnan(own.within_mean).all():
                continue
            index.append((f"{measure} ({layer})", str(rows)))
            for group in data.group.values:
                mean, high = (float(own.sel(group=group)[f"within_{end}"]) for end in ("mean", "high"))
                columns[str(group)].append(f"{mean:.3f} ±{high - mean:.3f}")
    frame = pandas.DataFrame(columns, pandas.MultiIndex.from_tuples(index, names=["measure", "rows"]))
    title = f"{data.attrs['question']} (similarity within groups, epoch {data.epoch.values[-1]})"
    return [title, frame.to_string()]
