"""Pictures of similarities between networks: heat maps, maps of the networks, and groups over epochs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from jaxmem.inputs import one_of
from jaxmem.plots.panels import COLORS, GREY, MARKERS, Display, axes_for, finish, grid, legend_below
from jaxmem.results import GroupSimilarityTest
from jaxmem.similarity import Facts, Measure, classical_scaling, square_distance
from jaxmem.studies.dissection import FACTS, shown_layer

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "SimilarityDisplay",
    "heatmaps_figure",
    "maps_figure",
    "similarity_heatmap",
    "similarity_map",
    "similarity_over_epochs",
]

_COLORS, _MARKERS = (*COLORS, GREY), MARKERS


@dataclass(eq=False)
class SimilarityDisplay(Display):
    """Similarities of networks as a heat map, or as a map on which networks are the nearer the more alike they are.

    Make one with `from_similarities` or `from_result`.

    Attributes:
        similarities: shape (N, N).
        groups: the group of every network, shape (N,).
        measure: says how similarities become distances.
        ax_, figure_: the axes that `plot` drew on, and their figure.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.plots import SimilarityDisplay
        >>> alike = np.full((10, 10), 0.2)
        >>> alike[:5, :5] = 0.8
        >>> test = jm.group_similarity_test(alike, ["true"] * 5 + ["random"] * 5, "true", "random")
        >>> SimilarityDisplay.from_result(test).groups.count("true")
        5
    """

    similarities: Float[np.ndarray, "N N"]
    groups: list[str]
    measure: str | Measure | Facts = "cka"

    @classmethod
    def from_similarities(
        cls,
        similarities: Any,
        groups: Sequence[Any],
        *,
        measure: str | Measure | Facts = "cka",
        kind: str = "heatmap",
        ax: "Axes | None" = None,
    ) -> "SimilarityDisplay":
        """Draw what `jm.similarities` returns.

        Args:
            similarities: shape (N, N), by `measure`.
            groups: the group of every network, or its name, shape (N,).
            measure: as it was given to `jm.similarities`.
            kind: see `plot`.
            ax: Matplotlib axes to draw on; None: those of a new figure.

        Raises:
            ValueError: no square matrix, groups of another number, or an unknown kind or measure.
        """
        matrix, names = np.asarray(similarities, float), [str(group) for group in groups]
        if matrix.shape != (len(names), len(names)) or len(names) < 2:
            raise ValueError(
                f"similarities must be a matrix of 2 networks or more with one group for each, but has shape "
                f"{matrix.shape}, and there are {len(names)} groups."
            )
        return cls(matrix, names, measure).plot(ax, kind=kind)

    @classmethod
    def from_result(
        cls,
        result: GroupSimilarityTest,
        *,
        measure: str | Measure | Facts = "cka",
        kind: str = "heatmap",
        ax: "Axes | None" = None,
    ) -> "SimilarityDisplay":
        """Draw the similarities behind a result of `jm.group_similarity_test`; see `from_similarities`.

        Raises:
            ValueError: no such result, or an unknown kind or measure.
        """
        if not isinstance(result, GroupSimilarityTest):
            raise ValueError(f"result must be of jm.group_similarity_test, but is a {type(result).__name__}.")
        groups = [result.first if first else result.second for first in result.in_first]
        return cls.from_similarities(result.similarities, groups, measure=measure, kind=kind, ax=ax)

    def plot(self, ax: "Axes | None" = None, *, kind: str = "heatmap") -> "SimilarityDisplay":
        """Draw it.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
            kind: "heatmap" or "map"; see `similarity_heatmap` and `similarity_map`.
        """
        title = self.measure if isinstance(self.measure, str) else ""
        if one_of(kind, ("heatmap", "map"), "kind") == "heatmap":
            return self._on(similarity_heatmap(self.similarities, self.groups, ax=ax, title=title))
        ax = similarity_map(self.similarities, self.groups, measure=self.measure, ax=ax, title=title)
        legend_below(ax, n_columns=3)
        return self._on(ax)


def similarity_heatmap(
    similarities: Float[np.ndarray, "N N"],
    groups: Sequence[str],
    *,
    ax: "Axes | None" = None,
    title: str = "",
    low: float | None = None,
    high: float | None = None,
) -> "Axes":
    """Draw similarities of networks as a matrix of colours, networks ordered by group, with lines between groups.

    Args:
        similarities: shape (N, N); see `jm.similarities`.
        groups: the group of every network, shape (N,); groups are drawn in the order in which they first appear.
        ax: Matplotlib axes to draw on; None: those of a new figure.
        title: above the matrix.
        low, high: similarities of the first and last colour; None: the smallest and largest off the diagonal.

    Example:
        >>> import numpy as np
        >>> from jaxmem.plots import similarity_heatmap
        >>> alike = np.full((10, 10), 0.2)
        >>> alike[:5, :5] = 0.8
        >>> axes = similarity_heatmap(alike, ["true"] * 5 + ["random"] * 5, title="cka")
        >>> [label.get_text() for label in axes.get_yticklabels()]
        ['true', 'random']
    """
    names = list(dict.fromkeys(groups))
    order = np.argsort([names.index(group) for group in groups], kind="stable")
    matrix = np.asarray(similarities, float)[np.ix_(order, order)]
    sizes = [list(groups).count(name) for name in names]
    ax = axes_for(ax, 4.6, 4.2)
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    first, last = float(off.min() if low is None else low), float(off.max() if high is None else high)
    image = ax.imshow(matrix, cmap="viridis", vmin=first, vmax=max(last, first + 1e-9))
    edges = np.cumsum([0, *sizes]) - 0.5
    for edge in edges[1:-1]:
        ax.axhline(edge, color="white", lw=1)
        ax.axvline(edge, color="white", lw=1)
    middles = (edges[1:] + edges[:-1]) / 2
    ax.set_xticks(middles, names, rotation=35, ha="right", fontsize=8)
    ax.set_yticks(middles, names, fontsize=8)
    ax.tick_params(length=0)
    ax.grid(False)
    ax.set_title(title, fontsize=10)
    ax.figure.colorbar(image, ax=ax, shrink=0.8)
    return ax


def similarity_map(
    similarities: Float[np.ndarray, "N N"],
    groups: Sequence[str],
    *,
    measure: str | Measure | Facts = "cka",
    ax: "Axes | None" = None,
    title: str = "",
) -> "Axes":
    """Draw networks as points in the plane, the nearer the more alike, by classical multidimensional scaling.

    Args:
        similarities: shape (N, N), by `measure`.
        groups: the group of every network, shape (N,).
        measure: says how similarities become distances.
        ax: Matplotlib axes to draw on; None: those of a new figure.
        title: above the map; the share of the squared distances that the plane shows is added to it.

    Example:
        >>> import numpy as np
        >>> from jaxmem.plots import similarity_map
        >>> alike = np.full((10, 10), 0.2)
        >>> alike[:5, :5] = 0.8
        >>> similarity_map(alike, ["true"] * 5 + ["random"] * 5, title="cka").get_title()[:4]
        'cka '
    """
    places, share = classical_scaling(square_distance(np.asarray(similarities, float), measure))
    ax = axes_for(ax, 4.4, 4.0)
    for number, name in enumerate(dict.fromkeys(groups)):
        own = places[np.array([group == name for group in groups])]
        color, marker = _COLORS[number % len(_COLORS)], _MARKERS[number % len(_MARKERS)]
        ax.scatter(own[:, 0], own[:, 1], c=color, marker=marker, label=name, s=36, alpha=0.85, linewidths=0)
    ax.set_aspect("equal", adjustable="datalim")
    ax.grid(alpha=0.25)
    ax.set_title(f"{title} ({share:.0%} shown)".strip(), fontsize=10)
    return ax


def similarity_over_epochs(data: "xarray.Dataset") -> "Figure":
    """Mean similarity within groups over the epochs, with 95% intervals over networks.

    Args:
        data: the numbers of the study `dissect`; a row of panels for every set of rows, a column for every measure, at
            the last hidden layer, or at the output for measures of functions.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import similarity_over_epochs
        >>> means = xarray.DataArray(
        ...     np.full((1, 1, 3, 2, 1), 0.8),
        ...     {
        ...         "measure": ["cka"], "rows": ["test"], "epoch": [0, 1, 5], "layer": ["layer1", "output"],
        ...         "group": ["true"],
        ...     },
        ... )
        >>> data = xarray.Dataset({"within_mean": means, "within_low": means - 0.1, "within_high": means + 0.1})
        >>> [panel.get_title() for panel in similarity_over_epochs(data).axes]
        ['cka']
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


def heatmaps_figure(data: "xarray.Dataset") -> "Figure":
    """Similarities of all networks of the study `dissect` on test rows at the last epoch, a heat map per measure.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import heatmaps_figure
        >>> alike = np.full((1, 1, 1, 2, 4, 4), 0.2)
        >>> alike[..., :2, :2] = 0.8
        >>> cell = ("measure", "rows", "epoch", "layer", "network", "other_network")
        >>> data = xarray.Dataset(
        ...     {"similarity": (cell, alike)},
        ...     {
        ...         "measure": ["cka"], "rows": ["test"], "epoch": [5], "layer": ["layer1", "output"],
        ...         "group_of_network": ("network", ["true", "true", "random", "random"]),
        ...     },
        ... )
        >>> [panel.get_title() for panel in heatmaps_figure(data).axes if panel.images]
        ['cka, layer1']
    """
    figure, panels, groups = _per_measure(data)
    for panel, (measure, layer, matrix) in zip(panels.flat, _last(data), strict=False):
        title = f"{measure}, {layer}" + ("" if FACTS[measure].larger_is_similar else " (0: alike)")
        similarity_heatmap(matrix, groups, ax=panel, title=title)
    figure.suptitle(f"Similarity of networks on test rows, epoch {int(data.epoch.values[-1])}", fontsize=12)
    return figure


def maps_figure(data: "xarray.Dataset") -> "Figure":
    """The networks of the study `dissect` as points in the plane, the nearer the more alike, a map per measure.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import maps_figure
        >>> alike = np.full((1, 1, 1, 2, 4, 4), 0.2)
        >>> alike[..., :2, :2] = 0.8
        >>> cell = ("measure", "rows", "epoch", "layer", "network", "other_network")
        >>> data = xarray.Dataset(
        ...     {"similarity": (cell, alike)},
        ...     {
        ...         "measure": ["cka"], "rows": ["test"], "epoch": [5], "layer": ["layer1", "output"],
        ...         "group_of_network": ("network", ["true", "true", "random", "random"]),
        ...     },
        ... )
        >>> len(maps_figure(data).axes)
        1
    """
    figure, panels, groups = _per_measure(data)
    for panel, (measure, _, matrix) in zip(panels.flat, _last(data), strict=False):
        similarity_map(matrix, groups, measure=FACTS[measure], ax=panel, title=measure)
    return finish(
        figure, panels[0, 0], f"Networks by their similarity on test rows, epoch {int(data.epoch.values[-1])}"
    )


def _per_measure(data: "xarray.Dataset") -> "tuple[Figure, Any, list[str]]":
    """A figure with a panel for every measure, and the group of every network."""
    n = data.sizes["measure"]
    columns = min(3, n)
    figure, panels = grid(-(-n // columns), columns, wide=True, sharex=False, shares=False)
    for empty in panels.flat[n:]:
        empty.set_visible(False)
    return figure, panels, [str(group) for group in data.group_of_network.values]


def _last(data: "xarray.Dataset") -> Iterator[tuple[str, str, np.ndarray]]:
    """By measure, the layer that is shown and the similarities on test rows at the last epoch."""
    last = data.isel(epoch=-1).sel(rows="test")
    for measure in map(str, data.measure.values):
        layer = shown_layer(data, measure)
        yield measure, layer, last.similarity.sel(measure=measure, layer=layer).values
