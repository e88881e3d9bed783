"""Figure of the study of single examples: how its measures are correlated, and memorization beside each of them."""

from typing import TYPE_CHECKING

import numpy as np

from jaxmem.plots.panels import COLORS, GREY, numbered

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["scores_figure"]

_COLUMNS = 4


def scores_figure(data: "xarray.Dataset") -> "Figure":
    """Rank correlations of all measures, means over networks, and the memorization of rows along each of them.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import scores_figure
        >>> data = xarray.Dataset(
        ...     {
        ...         "value": (("score", "seed", "example"), np.random.default_rng(0).random((2, 1, 30))),
        ...         "rank_correlation": (("score", "other_score", "seed"), np.ones((2, 2, 1))),
        ...         "wrong_label": ("example", np.arange(30) < 5),
        ...     },
        ...     {"score": ["memorization", "margin"]},
        ...     {"question": "Which rows are memorized?"},
        ... )
        >>> [panel.get_title() for panel in scores_figure(data).axes if panel.get_title()]
        ['margin']
    """
    from matplotlib.figure import Figure

    names = [str(name) for name in data.score.values]
    others = names[1:]
    rows = -(-len(others) // _COLUMNS)
    figure = Figure(figsize=(16, max(5.5, 2.2 * rows + 1)), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.15))[0]
    panel = left.subplots()
    correlations = data.rank_correlation.mean("seed").transpose("score", "other_score").values
    image = panel.imshow(correlations, cmap="RdBu_r", vmin=-1, vmax=1)
    numbered(panel, image, "{:.2f}", fontsize=7)
    panel.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.set_anchor("N")  # Below its headline: the map is square, and its half of the figure is higher.
    left.suptitle("Rank correlation over rows", fontsize=11)

    panels = right.subplots(rows, _COLUMNS, sharey=True, squeeze=False)
    wrong, memorization = data.wrong_label.values == 1, data.value.isel(score=0, seed=0).values
    jitter = np.random.default_rng(0).uniform(-0.015, 0.015, len(memorization))
    for panel in panels.flat[len(others) :]:
        panel.set_axis_off()
    for panel, name in zip(panels.flat, others, strict=False):
        values = data.value.sel(score=name).median("seed").values
        values = np.where(np.isfinite(values), values, np.nan)
        for chosen, color, label in ((~wrong, GREY, "label as it was"), (wrong, COLORS[1], "wrong label")):
            panel.plot(values[chosen], (memorization + jitter)[chosen], ".", ms=3, color=color, label=label)
        if name in ("curvature", "loss sensitivity"):
            panel.set_xscale("log")
        else:
            panel.locator_params(axis="x", nbins=4)
        panel.set_title(name, fontsize=9)
        panel.tick_params(labelsize=7)
    for panel in panels[:, 0]:
        panel.set_ylabel("memorization", fontsize=8)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    right.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9, markerscale=3)
    right.suptitle("Memorization of each row beside the other measures (medians over networks)", fontsize=11)
    figure.suptitle(data.attrs["question"], fontsize=12)
    return figure
