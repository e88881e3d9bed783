"""Figures of the study of patterns: what is learnt when, and which of two patterns is followed."""

from typing import TYPE_CHECKING

import numpy as np

from jaxmem.plots.panels import COLORS, MARKERS, finish, grid, legend_below, line
from jaxmem.studies.summary import over_seeds

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["conflicts_figure", "learning_order_figure"]

_COLUMNS = 5


def learning_order_figure(data: "xarray.Dataset") -> "Figure":
    """Accuracies over epochs: on training rows by labels and inputs, on test rows by pattern, and on wrong labels.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import learning_order_figure
        >>> names = ("train_accuracy", "test_accuracy", "wrong_labels_as_true", "wrong_labels_as_given")
        >>> data = xarray.Dataset(
        ...     {name: (("model", "seed", "epoch"), np.full((3, 2, 3), 0.5)) for name in names},
        ...     {
        ...         "model": ["images", "0.5 random labels", "pixel"], "epoch": [0, 1, 5],
        ...         "group": ("model", ["labels and inputs", "labels and inputs", "alone"]),
        ...     },
        ...     {"question": "What is learnt first?"},
        ... )
        >>> learning_order_figure(data).axes[2].get_title()
        '0.5 random labels: wrong labels, predicted'
    """
    figure, panels = grid(1, 3, wide=True)
    groups = {"labels and inputs": "train_accuracy", "alone": "test_accuracy"}
    titles = ("Labels and inputs: training rows", "Patterns alone: test rows")
    for panel, title, (group, name) in zip(panels[0], titles, groups.items(), strict=False):
        models = data.model.values[data.group.values == group]
        if group == "alone":
            models = np.append(models, "images")
        for number, model in enumerate(models):
            style = MARKERS[number % len(MARKERS)] + "-"
            color = COLORS[number % len(COLORS)]
            line(panel, data.epoch.values, over_seeds(data[name].sel(model=model)), style, color, str(model))
        panel.set_title(title, fontsize=10)
    noisy = data.isel(model=1)
    lines = {
        "wrong_labels_as_true": ("as their true class", COLORS[0], "o-"),
        "wrong_labels_as_given": ("as labelled", COLORS[1], "s-"),
        "test_accuracy": ("test rows, right", COLORS[2], "^:"),
    }
    for name, (label, color, style) in lines.items():
        line(panels[0, 2], data.epoch.values, over_seeds(noisy[name]), style, color, label)
    panels[0, 2].set_title(f"{noisy.model.item()}: wrong labels, predicted", fontsize=10)
    for panel in panels[0]:
        panel.set_xlabel("epoch")
        legend_below(panel, n_columns=2)
    panels[0, 0].set_ylabel("share of rows")
    figure.suptitle(data.attrs["question"], fontsize=12)
    return figure


def conflicts_figure(data: "xarray.Dataset") -> "Figure":
    """Test rows on which two patterns disagree: how often each is followed over epochs, a panel per pair.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import conflicts_figure
        >>> cell, shares = ("model", "seed", "epoch"), np.random.default_rng(0).random((1, 2, 3))
        >>> data = xarray.Dataset(
        ...     {"follows_stamp": (cell, shares), "follows_canvas": (cell, 1 - shares)},
        ...     {"model": ["patch against pixel"], "group": ("model", ["in conflict"]), "epoch": [0, 1, 5]},
        ... )
        >>> [panel.get_title() for panel in conflicts_figure(data).axes]
        ['patch against pixel']
    """
    conflicts = data.isel(model=data.group.values == "in conflict")
    n = conflicts.sizes["model"]
    columns = min(n, _COLUMNS)
    figure, panels = grid(-(-n // columns), columns)
    for panel in panels.flat[n:]:
        panel.set_axis_off()
    for panel, model in zip(panels.flat, conflicts.model.values, strict=False):
        own = conflicts.sel(model=model)
        line(panel, data.epoch.values, over_seeds(own.follows_stamp), "o-", COLORS[0], "follows the first named")
        line(panel, data.epoch.values, over_seeds(own.follows_canvas), "s-", COLORS[1], "follows the second named")
        panel.set_title(str(model), fontsize=10)
    # The last panel of every column, which need not be in the last row.
    for panel in panels.flat[max(0, n - columns) : n]:
        panel.set_xlabel("epoch")
        panel.tick_params(labelbottom=True)
    for panel in panels[:, 0]:
        panel.set_ylabel("share of test rows")
    return finish(figure, panels[0, 0], "Two patterns agree in training: which one is followed where they disagree?")
