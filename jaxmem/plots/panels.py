"""What the figures are built from: a grid of panels, lines of means with intervals, one legend below."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLORS",
    "GREY",
    "MARKERS",
    "Display",
    "axes_for",
    "finish",
    "grid",
    "legend_above",
    "legend_below",
    "line",
    "numbered",
    "undefined",
]

# Okabe & Ito (2008): told apart by colour-blind readers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#E69F00")
GREY = "#777777"
# One for each colour, for print in grey.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


class Display:
    """What displays have in common: as in scikit-learn, they keep what they drew on.

    Attributes:
        ax_, figure_: the axes that `plot` drew on, and their figure.
    """

    ax_: "Axes"
    figure_: "Figure"

    def _on(self, ax: "Axes") -> Any:
        self.ax_, self.figure_ = ax, ax.figure  # pyright: ignore[reportAttributeAccessIssue]
        return self


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


def axes_for(ax: "Axes | None", width: float = 5.2, height: float = 3.6) -> "Axes":
    """The axes to draw on: those given, or those of a new figure that a notebook shows, as with scikit-learn."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def legend_above(ax: "Axes", n_columns: int = 1) -> None:
    """Put a legend above the axes, where it hides nothing."""
    options: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    ax.legend(ncols=n_columns, frameon=False, fontsize=9, handlelength=1.6, **options)


def legend_below(panel: "Axes", n_columns: int) -> None:
    """Put a legend below a panel and the name of its axis, where it hides nothing."""
    options: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "borderaxespad": 0}
    panel.legend(ncols=n_columns, frameon=False, fontsize=9, handlelength=1.6, columnspacing=1.2, **options)


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


def numbered(ax: "Axes", image: Any, form: str, fontsize: int = 8) -> None:
    """Write the numbers of an image into its cells, dark on light colours and light on dark ones."""
    values = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
    for place, value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            color = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
            ax.text(place[1], place[0], form.format(value), ha="center", va="center", fontsize=fontsize, color=color)


def undefined(ax: "Axes", places: Any, color: str) -> None:
    """Say where a quantity is undefined, as learning is where the null is perfect: a gap would look like a slip."""
    for place in np.asarray(places, float):
        options: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "center", "fontsize": 7}
        ax.text(place, 0.5, "undefined", color=color, transform=ax.get_xaxis_transform(), **options)
