"""What the figures are built from: a grid of panels, lines of means with intervals, one legend below."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLORS", "GREY", "finish", "grid", "line"]

# Okabe & Ito (2008): told apart by colour-blind readers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#E69F00")
GREY = "#777777"


def grid(n_rows: int, n_columns: int, *, wide: bool = False, sharex: bool = True, shares: bool = True) -> Any:
    """A figure and its panels, (n_rows, n_columns), for shares from 0 to 1 if nothing else is said."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=((3.6 if wide else 2.9) * n_columns + 0.6, 2.6 * n_rows + 1.2), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharex="col" if sharex else False, sharey=shares, squeeze=False)
    for panel in panels.flat:
        if shares:
            panel.set_ylim(-0.03, 1.03)
        panel.grid(axis="y", alpha=0.25)
    return figure, panels


def finish(figure: "Figure", panel: "Axes", title: str) -> "Figure":
    """Put a title above, and the legend of one panel below."""
    handles, labels = panel.get_legend_handles_labels()
    columns = max(1, int(figure.get_figwidth() / 2.4))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=12)
    return figure


def line(panel: "Axes", places: Any, found: "xarray.Dataset", style: str, color: str, label: str, **more: Any) -> None:
    """Means, with error bars where there are several seeds."""
    mean = found["mean"].values.ravel()
    errors = np.nan_to_num(np.stack([mean - found.low.values.ravel(), found.high.values.ravel() - mean]))
    options = {"color": color, "markersize": 4, "lw": 1.2, "capsize": 2, "elinewidth": 1} | more
    panel.errorbar(places, mean, errors if errors.any() else None, fmt=style, label=label, **options)
