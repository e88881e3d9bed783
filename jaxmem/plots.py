"""Pictures of results: labelled numbers in, a Matplotlib figure out. Nothing here computes a statistic."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["epochs_figure"]

# Okabe & Ito (2008): told apart by colour-blind readers and in grey.
_OBSERVED, _NULL, _TEST, _CHANCE = "#0072B2", "#D55E00", "#009E73", "#777777"


def epochs_figure(data: "xarray.Dataset", layer: str | None = None) -> "Figure":
    """Null distributions and observed scores over epochs: a row of panels per classifier, a column per perturbation.

    Args:
        data: the numbers of the study `epochs` (`Record.data`).
        layer: whose features; None: the last.
    """
    from matplotlib.figure import Figure

    layer = str(data.layer.values[-1]) if layer is None else layer
    n_rows, n_columns = data.sizes["classifier"], data.sizes["perturbation"]
    figure = Figure(figsize=(2.9 * n_columns + 0.6, 2.6 * n_rows + 1.0), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for row, classifier in enumerate(data.classifier.values):
        for column, perturbation in enumerate(data.perturbation.values):
            panel = panels[row, column]
            _dynamics(panel, data.sel(classifier=classifier, perturbation=perturbation), layer)
            if row == 0:
                panel.set_title(str(perturbation), fontsize=10)
            if column == 0:
                panel.set_ylabel(f"{classifier}\naccuracy")
            if row == n_rows - 1:
                panel.set_xlabel("epoch")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    figure.suptitle(f"Learning and memorization in {layer}", fontsize=12)
    return figure


def _dynamics(panel: "Axes", data: "xarray.Dataset", layer: str) -> None:
    """One panel: violins of the paired null, lines of the observed score, chance, and the independent test score."""
    own, raw = data.sel(layer=layer), data.sel(layer="input").isel(epoch=0)
    # Epochs are kept at growing distances, so their order is the axis.
    places = np.arange(own.sizes["epoch"])
    violins = panel.violinplot(own.paired_null.transpose("epoch", "permutation").values.T, places, widths=0.8)
    for part in violins.values():
        for artist in part if isinstance(part, list) else [part]:
            artist.set_color(_NULL)  # pyright: ignore[reportAttributeAccessIssue]
    panel.plot(places, own.observed, "o-", color=_OBSERVED, markersize=4, label="observed")
    panel.plot(places, own.paired_null.mean("permutation"), "-", color=_NULL, lw=1, label="paired null (memorization)")
    panel.plot(places, own.test_observed, "s:", color=_TEST, markersize=3, label="independent test")
    panel.plot(places, own.broken_null.mean("permutation"), "--", color=_CHANCE, lw=1, label="chance (broken null)")
    panel.axhline(
        raw.paired_null.mean("permutation").item(),
        color=_NULL,
        lw=0.8,
        ls=(0, (1, 2)),
        label="paired null of raw input",
    )
    panel.set_xticks(places, [str(epoch) for epoch in own.epoch.values])
    panel.set_ylim(0, 1.03)
    panel.grid(axis="y", alpha=0.25)
