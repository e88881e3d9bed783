"""Pictures of similarities between networks: heat maps, maps of the networks, and groups over epochs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from jaxmem.plots.panels import COLORS, GREY, finish, grid
from jaxmem.similarity import Facts, Measure, classical_scaling, square_distance
from jaxmem.studies.dissection import FACTS, shown_layer

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["dissection_figures", "similarity_heatmap", "similarity_map", "similarity_over_epochs"]

# Each colour with a marker of its own, for print in grey.
_COLORS, _MARKERS = (*COLORS, GREY), ("o", "s", "^", "D", "v", "P", "X")


def similarity_heatmap(
    similarities: Float[np.ndarray, "N N"],
    groups: Sequence[str],
    *,
    axes: "Axes | None" = None,
    title: str = "",
    low: float | None = None,
    high: float | None = None,
) -> "Axes":
    """Draw similarities of networks as a matrix of colours, networks ordered by group, with lines between groups.

    Args:
        similarities: shape (N, N); see `jm.similarities`.
        groups: the group of every network, shape (N,); groups are drawn in the order in which they first appear.
        axes: Matplotlib axes to draw on; None: those of a new figure (`axes.figure`).
        title: above the matrix.
        low, high: similarities of the first and last colour; None: the smallest and largest off the diagonal.
    """
    names = list(dict.fromkeys(groups))
    order = np.argsort([names.index(group) for group in groups], kind="stable")
    matrix = np.asarray(similarities, float)[np.ix_(order, order)]
    sizes = [list(groups).count(name) for name in names]
    axes = _new_axes(4.6, 4.2) if axes is None else axes
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    first, last = float(off.min() if low is None else low), float(off.max() if high is None else high)
    image = axes.imshow(matrix, cmap="viridis", vmin=first, vmax=max(last, first + 1e-9))
    edges = np.cumsum([0, *sizes]) - 0.5
    for edge in edges[1:-1]:
        axes.axhline(edge, color="white", lw=1)
        axes.axvline(edge, color="white", lw=1)
    middles = (edges[1:] + edges[:-1]) / 2
    axes.set_xticks(middles, names, rotation=35, ha="right", fontsize=8)
    axes.set_yticks(middles, names, fontsize=8)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.set_title(title, fontsize=10)
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
    return axes


def similarity_map(
    similarities: Float[np.ndarray, "N N"],
    groups: Sequence[str],
    *,
    measure: str | Measure | Facts = "cka",
    axes: "Axes | None" = None,
    title: str = "",
) -> "Axes":
    """Draw networks as points in the plane, the nearer the more alike, by classical multidimensional scaling.

    Args:
        similarities: shape (N, N), by `measure`.
        groups: the group of every network, shape (N,).
        measure: says how similarities become distances.
        axes: Matplotlib axes to draw on; None: those of a new figure.
        title: above the map; the share of the squared distances that the plane shows is added to it.
    """
    places, share = classical_scaling(square_distance(np.asarray(similarities, float), measure))
    axes = _new_axes(4.4, 4.0) if axes is None else axes
    for number, name in enumerate(dict.fromkeys(groups)):
        own = places[np.array([group == name for group in groups])]
        color, marker = _COLORS[number % len(_COLORS)], _MARKERS[number % len(_MARKERS)]
        axes.scatter(own[:, 0], own[:, 1], c=color, marker=marker, label=name, s=36, alpha=0.85, linewidths=0)
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(alpha=0.25)
    axes.set_title(f"{title} ({share:.0%} shown)".strip(), fontsize=10)
    return axes


def similarity_over_epochs(data: "xarray.Dataset") -> "Figure":
    """Mean similarity within groups over the epochs, with 95% intervals over networks.

    Args:
        data: the numbers of the study `dissect`; a row of panels for every set of rows, a column for every measure, at
            the last hidden layer, or at the output for measures of functions.
    """
    figure, panels = grid(data.sizes["rows"], data.sizes["measure"], sharex=False, shares=False)
    places = np.arange(data.sizes["epoch"])
    for row, rows in enumerate(data.rows.values):
        for column, measure in enumerate(data.measure.values):
            panel, own = panels[row, column], data.sel(rows=rows, measure=measure, layer=shown_layer(data, measure))
            for number, group in enumerate(data.group.values):
                of_group = own.sel(group=group)
                mean, low, high = (of_group[f"within_{end}"].values for end in ("mean", "low", "high"))
                if np.isnan(mean).all():
                    continue
                errors = np.nan_to_num(np.stack([mean - low, high - mean]), posinf=0)
                style = f"{_MARKERS[number % len(_MARKERS)]}-"
                options: dict[str, Any] = {"color": _COLORS[number % len(_COLORS)], "markersize": 4, "lw": 1.2}
                panel.errorbar(places, mean, errors, fmt=style, label=str(group), capsize=2, elinewidth=1, **options)
            panel.set_visible(bool(own.within_mean.notnull().any()))
            panel.set_xticks(places, [str(epoch) for epoch in data.epoch.values], fontsize=8)
            # Intervals of four networks can be wider than the range of the measure.
            facts = FACTS[str(measure)]
            panel.set_ylim(max(facts.low, -0.25) - 0.03, facts.high + 0.03)
            if row == 0:
                panel.set_title(str(measure), fontsize=10)
            if row == len(panels) - 1:
                panel.set_xlabel("epoch")
        panels[row, 0].set_ylabel(f"{rows} rows")
    return finish(figure, panels[0, -1], "Similarity within groups of networks")


def dissection_figures(data: "xarray.Dataset") -> "dict[str, Figure]":
    """The figures of the study `dissect` by file name: over epochs, heat maps, and maps of the networks."""
    last, groups = data.isel(epoch=-1).sel(rows="test"), [str(group) for group in data.group_of_network.values]
    measures = [str(measure) for measure in data.measure.values]
    columns = min(3, len(measures))
    rows = -(-len(measures) // columns)
    (heat, cells), (maps, places) = (grid(rows, columns, wide=True, sharex=False, shares=False) for _ in range(2))
    for number, measure in enumerate(measures):
        at = divmod(number, columns)
        matrix = last.similarity.sel(measure=measure, layer=shown_layer(data, measure)).values
        title = f"{measure}, {shown_layer(data, measure)}"
        title += "" if FACTS[measure].larger_is_similar else " (0: alike)"
        similarity_heatmap(matrix, groups, axes=cells[at], title=title)
        similarity_map(matrix, groups, measure=FACTS[measure], axes=places[at], title=measure)
    for empty in [*cells.flat[len(measures) :], *places.flat[len(measures) :]]:
        empty.set_visible(False)
    epoch = int(data.epoch.values[-1])
    heat.suptitle(f"Similarity of networks on test rows, epoch {epoch}", fontsize=12)
    finish(maps, places[0, 0], f"Networks by their similarity on test rows, epoch {epoch}")
    return {"similarity.png": similarity_over_epochs(data), "heatmaps.png": heat, "map.png": maps}


def _new_axes(width: float, height: float) -> "Axes":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()
