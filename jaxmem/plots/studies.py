"""Figures of studies, from their labelled numbers alone (`Record.data`, or a results file opened with xarray)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from jaxmem.inputs import one_of
from jaxmem.plots.bridge import bridge_figure
from jaxmem.plots.indices import MemorizationMapDisplay
from jaxmem.plots.panels import COLORS, GREY, finish, grid, line, undefined
from jaxmem.plots.patterns import conflicts_figure, learning_order_figure
from jaxmem.plots.per_example import scores_figure
from jaxmem.plots.similarity import heatmaps_figure, maps_figure, similarity_over_epochs
from jaxmem.studies import STUDIES, Record
from jaxmem.studies.summary import over_seeds, shown

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "epochs_figure",
    "indices_figure",
    "label_noise_figure",
    "layer_maps_figure",
    "retraining_figure",
    "stopping_figure",
    "study_figures",
]

# Told apart by colour-blind readers and in grey.
_OBSERVED, _NULL, _TEST, _LEARNING, _CHANCE = (*COLORS[:4], GREY)

# So many names have room for five points each in a panel of the usual width.
_PLACES = 6


def study_figures(record: Record) -> "dict[str, Figure]":
    """The figures of a study by file name, those that `Study.figures` names; of what its rows do not have, none.

    Raises:
        ValueError: the record is of no study that jaxmem has.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import study_figures
        >>> from jaxmem.studies import Record
        >>> data = xarray.Dataset(
        ...     {
        ...         "value": (("score", "seed", "example"), np.random.default_rng(0).random((2, 1, 30))),
        ...         "rank_correlation": (("score", "other_score", "seed"), np.ones((2, 2, 1))),
        ...         "wrong_label": ("example", np.arange(30) < 5),
        ...     },
        ...     {"score": ["memorization", "margin"]},
        ...     {"question": "Which rows are memorized?"},
        ... )
        >>> list(study_figures(Record("per-example", config={}, data=data)))
        ['scores.png']
    """
    names = list(STUDIES[one_of(record.study, STUDIES, "the study of the record")].figures)
    if "wrong-labels" in names and not _has_wrong_labels(record.data):
        names.remove("wrong-labels")
    return {f"{name}.png": _FIGURES[name](record.data) for name in names}


def epochs_figure(data: "xarray.Dataset", layer: str | None = None, model: str | None = None) -> "Figure":
    """Null distributions and observed scores over epochs: a row of panels per classifier, a column per perturbation.

    Args:
        data: the numbers of a study.
        layer: whose features; None: the last.
        model: of which networks; None: the first.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import epochs_figure
        >>> cell = ("model", "seed", "epoch", "layer", "classifier", "perturbation")
        >>> shares = np.random.default_rng(0).random((1, 2, 3, 2, 1, 1, 9))
        >>> data = xarray.Dataset(
        ...     {
        ...         "observed": (cell, shares[..., 0]),
        ...         "test_observed": (cell[:-1], shares[..., 0, 1]),
        ...         "paired_null": ((*cell, "permutation"), shares),
        ...         "broken_null": ((*cell, "permutation"), shares),
        ...     },
        ...     {
        ...         "model": ["mlp"], "epoch": [0, 1, 5], "layer": ["input", "last"], "classifier": ["ridge"],
        ...         "perturbation": ["shift:2"],
        ...     },
        ... )
        >>> [panel.get_title() for panel in epochs_figure(data).axes]
        ['shift:2']
    """
    data = data.sel(model=model) if model else data.isel(model=0)
    layer = str(data.layer.values[-1]) if layer is None else layer
    figure, panels = grid(data.sizes["classifier"], data.sizes["perturbation"])
    for row, classifier in enumerate(data.classifier.values):
        for column, perturbation in enumerate(data.perturbation.values):
            panel = panels[row, column]
            _dynamics(panel, data.sel(classifier=classifier, perturbation=perturbation), layer)
            if row == 0:
                panel.set_title(str(perturbation), fontsize=10)
            if column == 0:
                panel.set_ylabel(f"{classifier}\naccuracy")
            if row == len(panels) - 1:
                panel.set_xlabel("epoch")
    place = "last hidden layer" if layer == "last" else layer
    return finish(figure, panels[0, 0], f"Learning and memorization in the {place} ({data.sizes['seed']} networks)")


def indices_figure(data: "xarray.Dataset") -> "Figure":
    """Learning and memorization indices along the axis of a study, means over seeds with 95% intervals.

    A row of panels per classifier, for each model unless models are the axis, and a column per perturbation (or kind of
    perturbation, with its strengths as the axis).

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import indices_figure
        >>> cell = ("model", "seed", "epoch", "layer", "classifier", "perturbation")
        >>> names = ("observed", "learning", "memorization", "memorization_gain", "memorization_gain_over_input")
        >>> shares = np.random.default_rng(0).random((1, 2, 3, 2, 1, 1))
        >>> data = xarray.Dataset(
        ...     {name: (cell, shares) for name in names} | {"test_observed": (cell[:-1], shares[..., 0])},
        ...     {
        ...         "model": ["mlp"], "epoch": [0, 1, 5], "layer": ["input", "last"], "classifier": ["ridge"],
        ...         "perturbation": ["shift:2"],
        ...     },
        ...     {"axis": "epoch", "question": "When do networks memorize?"},
        ... )
        >>> [panel.get_title() for panel in indices_figure(data).axes]
        ['shift:2']
    """
    axis = data.attrs["axis"]
    part = shown(data)
    groups: list[tuple[str, xarray.Dataset]] = [("", part)]
    if axis != "model" and part.sizes["model"] > 1:
        one_by_one = ((str(model), part.sel(model=[model])) for model in part.model.values)
        groups = [(name, own.dropna("layer", how="all", subset=["observed"])) for name, own in one_by_one]
    rows = [("", part.classifier.values)] if axis == "classifier" else [(str(c), [c]) for c in part.classifier.values]
    columns = (
        [(kind, (part.kind == kind).values) for kind in dict.fromkeys(part.kind.values.tolist())]
        if axis == "perturbation"
        else [(str(label), (part.perturbation == label).values) for label in part.perturbation.values]
    )
    figure, panels = grid(
        len(rows) * len(groups), len(columns), wide=axis != "epoch", sharex=axis not in ("perturbation", "layer")
    )
    n_places = part.sizes[axis]
    if axis in ("model", "classifier") and n_places > _PLACES:
        figure.set_figwidth(figure.get_figwidth() * min(2, n_places / _PLACES))
    for group, (group_name, of_group) in enumerate(groups):
        for row, (name, which) in enumerate(rows):
            for column, (title, chosen) in enumerate(columns):
                panel = panels[group * len(rows) + row, column]
                own = of_group.sel(classifier=which).isel(perturbation=chosen)
                _indices(panel, own, data.attrs["axis"])
                if group == row == 0:
                    panel.set_title(title, fontsize=10)
                if column == 0:
                    panel.set_ylabel("\n".join(filter(None, [group_name, name, "index"])))
                if group * len(rows) + row == len(panels) - 1:
                    panel.set_xlabel({"perturbation": "strength"}.get(axis, axis))
    return finish(figure, panels[0, 0], data.attrs["question"])


def layer_maps_figure(data: "xarray.Dataset") -> "Figure":
    """Memorization index in every layer at every epoch, means over seeds and perturbations.

    A row of panels per classifier, a column per model, each on a scale of its own.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import layer_maps_figure
        >>> cell = ("model", "seed", "epoch", "layer", "classifier", "perturbation")
        >>> data = xarray.Dataset(
        ...     {"memorization": (cell, np.random.default_rng(0).random((1, 2, 3, 2, 1, 1)))},
        ...     {"model": ["mlp"], "epoch": [0, 1, 5], "layer": ["input", "layer1"], "classifier": ["ridge"]},
        ... )
        >>> [panel.get_title() for panel in layer_maps_figure(data).axes if panel.images]
        ['mlp, ridge']
    """
    figure, panels = grid(data.sizes["classifier"], data.sizes["model"], wide=True, sharex=False, shares=False)
    for row, classifier in enumerate(data.classifier.values):
        for column, model in enumerate(data.model.values):
            own = data.memorization.sel(classifier=classifier, model=model).mean(["seed", "perturbation"])
            own = own.dropna("layer", how="all").transpose("layer", "epoch")
            places = own.layer.values.tolist(), own.epoch.values.tolist()
            panel = MemorizationMapDisplay(*places, own.values, "memorization").plot(panels[row, column]).ax_
            panel.grid(False)
            panel.set_title(f"{model}, {classifier}", fontsize=10)
    figure.suptitle("Memorization in every layer at every epoch", fontsize=12)
    return figure


def label_noise_figure(data: "xarray.Dataset") -> "Figure":
    """What networks make of rows with wrong labels, and of test rows, over epochs: a panel per model.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import label_noise_figure
        >>> names = ("wrong_labels_as_true", "wrong_labels_as_given", "network_test_accuracy")
        >>> data = xarray.Dataset(
        ...     {name: (("model", "seed", "epoch"), np.random.default_rng(0).random((1, 2, 3))) for name in names},
        ...     {"model": ["mlp"], "epoch": [0, 1, 5]},
        ...     {"question": "What becomes of wrong labels?"},
        ... )
        >>> [panel.get_title() for panel in label_noise_figure(data).axes]
        ['mlp']
    """
    models = [m for m in data.model.values if data.sel(model=m).wrong_labels_as_given.notnull().any()]
    figure, panels = grid(1, len(models))
    places = np.arange(data.sizes["epoch"])
    lines = {
        "wrong_labels_as_true": ("wrongly labelled: predicted as true class", _OBSERVED, "o-"),
        "wrong_labels_as_given": ("wrongly labelled: predicted as labelled", _NULL, "s-"),
        "network_test_accuracy": ("test accuracy", _TEST, "^:"),
    }
    for panel, model in zip(panels[0], models, strict=True):
        for name, (label, color, style) in lines.items():
            line(panel, places, over_seeds(data[name].sel(model=model)), style, color, label)
        panel.set_xticks(places, [str(epoch) for epoch in data.epoch.values])
        panel.set(title=str(model), xlabel="epoch")
    panels[0, 0].set_ylabel("share of rows")
    return finish(figure, panels[0, 0], data.attrs["question"])


def retraining_figure(data: "xarray.Dataset") -> "Figure":
    """Test accuracies of networks trained on shuffled labels, and on the labels as they are: a panel per model.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import retraining_figure
        >>> data = xarray.Dataset(
        ...     {
        ...         "retrained_null": (("model", "seed", "retrained"), np.random.default_rng(0).random((1, 2, 9))),
        ...         "retrained_observed": (("model", "seed"), [[0.9, 0.8]]),
        ...         "retrained_pvalue": (("model", "seed"), [[0.1, 0.1]]),
        ...     },
        ...     {"model": ["mlp"], "seed": [0, 1]},
        ...     {"question": "Do networks learn from their labels?"},
        ... )
        >>> [panel.get_title() for panel in retraining_figure(data).axes]
        ['mlp']
    """
    figure, panels = grid(1, data.sizes["model"], wide=True)
    for panel, model in zip(panels[0], data.model.values, strict=True):
        own = data.sel(model=model)
        panel.violinplot(own.retrained_null.transpose("retrained", "seed").values, own.seed.values, widths=0.8)
        for artist in panel.collections:
            artist.set_color(_CHANCE)
        panel.plot([], [], color=_CHANCE, lw=4, alpha=0.5, label="networks trained on shuffled labels")
        panel.plot(own.seed, own.retrained_observed, "o", color=_OBSERVED, label="network trained on its labels")
        panel.set_xticks(own.seed.values, [f"{s}\np = {p:.2g}" for s, p in enumerate(own.retrained_pvalue.values)])
        panel.set(title=str(model), xlabel="seed")
    panels[0, 0].set_ylabel("accuracy on test rows")
    return finish(figure, panels[0, 0], data.attrs["question"])


def stopping_figure(data: "xarray.Dataset") -> "Figure":
    """Test accuracy where each rule stops, a panel per model.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import stopping_figure
        >>> data = xarray.Dataset(
        ...     {
        ...         "stopped_test_accuracy": (("rule", "model", "seed"), np.random.default_rng(0).random((2, 1, 2))),
        ...         "stopped_epoch": (("rule", "model", "seed"), [[[40, 40]], [[7, 9]]]),
        ...     },
        ...     {"rule": ["last epoch", "validation loss"], "model": ["0.2"]},
        ...     {"question": "When should training stop?"},
        ... )
        >>> [label.get_text() for label in stopping_figure(data).axes[0].get_xticklabels()]
        ['last epoch (40)', 'validation loss (8)']
    """
    figure, panels = grid(1, data.sizes["model"], wide=True)
    places = np.arange(data.sizes["rule"])
    for panel, model in zip(panels[0], data.model.values, strict=True):
        own = data.sel(model=model)
        line(panel, places, over_seeds(own.stopped_test_accuracy), "o", _TEST, "accuracy on test rows where it stops")
        epochs = own.stopped_epoch.mean("seed").values
        names = [f"{rule} ({epoch:.0f})" for rule, epoch in zip(data.rule.values, epochs, strict=True)]
        panel.set_xticks(places, names, rotation=35, ha="right", fontsize=8)
        panel.set_title(f"model {model}")
    panels[0, 0].set_xlabel("rule (mean epoch)")
    return finish(figure, panels[0, 0], data.attrs["question"])


def _indices(panel: "Axes", part: "xarray.Dataset", axis: str) -> None:
    """One panel: indices of the trained networks, of the untrained ones, and of the raw inputs."""
    own = part if axis == "layer" else part.isel(layer=[-1])
    if axis == "perturbation":
        own = own.sortby("strength")
        places, ticks = own.strength.values, [f"{s:g}" for s in own.strength.values]
    else:
        names = own[axis].values
        places, ticks = np.arange(len(names)), [str(name) for name in names]
    series = {
        "learning index": (own.learning, "o", _LEARNING, True),
        "memorization index": (own.memorization, "s", _NULL, True),
        "memorization, untrained networks": (own.memorization - own.memorization_gain, "s", _NULL, False),
        "memorization, raw inputs": (own.memorization - own.memorization_gain_over_input, "D", _CHANCE, False),
        "accuracy on independent test rows": (own.test_observed.broadcast_like(own.observed), "^", _TEST, True),
    }
    # Along these axes the baselines are points of the curve itself.
    series.pop({"epoch": "memorization, untrained networks", "layer": "memorization, raw inputs"}.get(axis, ""), None)
    ordered = axis in ("epoch", "layer", "perturbation")
    for number, (label, (values, marker, color, filled)) in enumerate(series.items()):
        # Names have no distances between them: beside each other, nothing is hidden.
        moved = places if ordered else places + 0.12 * (number - (len(series) - 1) / 2)
        style = marker + ("" if not ordered else "-" if filled else ":")
        found = over_seeds(values)
        line(panel, moved, found, style, color, label, markerfacecolor=color if filled else panel.get_facecolor())
        undefined(panel, np.asarray(moved)[np.isnan(found["mean"].values.ravel())], color)
    long = max(map(len, ticks)) > 4
    panel.set_xticks(places, ticks, rotation=35 if long else 0, ha="right" if long else "center", fontsize=8)


def _dynamics(panel: "Axes", data: "xarray.Dataset", layer: str) -> None:
    """One panel: violins of the paired null, lines of the observed score, chance, and the independent test score."""
    own, raw = data.sel(layer=layer), data.sel(layer="input").isel(epoch=0)
    # Epochs are kept at growing distances, so their order is the axis.
    places = np.arange(own.sizes["epoch"])
    null = own.paired_null.transpose("epoch", "seed", "permutation").values.reshape(len(places), -1)
    violins = panel.violinplot(null.T, places, widths=0.8)
    for part in violins.values():
        for artist in part if isinstance(part, list) else [part]:
            artist.set_color(_NULL)  # pyright: ignore[reportAttributeAccessIssue]
    over = ["seed", "permutation"]
    line(panel, places, over_seeds(own.observed), "o-", _OBSERVED, "observed")
    panel.plot(places, own.paired_null.mean(over), "-", color=_NULL, lw=1, label="paired null (memorization)")
    line(panel, places, over_seeds(own.test_observed), "s:", _TEST, "independent test")
    panel.plot(places, own.broken_null.mean(over), "--", color=_CHANCE, lw=1, label="chance (broken null)")
    raw_null = raw.paired_null.mean(over).item()
    panel.axhline(raw_null, color=_NULL, lw=0.8, ls=(0, (1, 2)), label="paired null of raw inputs")
    panel.set_xticks(places, [str(epoch) for epoch in own.epoch.values])


def _has_wrong_labels(data: "xarray.Dataset") -> bool:
    """Whether there are rows with wrong labels, and epochs enough to follow them."""
    return bool(data.wrong_labels_as_given.notnull().any()) and data.sizes["epoch"] > 2


_FIGURES: "dict[str, Callable[[xarray.Dataset], Figure]]" = {
    "bridge": bridge_figure,
    "conflicts": conflicts_figure,
    "epochs": epochs_figure,
    "heatmaps": heatmaps_figure,
    "indices": indices_figure,
    "layer-maps": layer_maps_figure,
    "learning-order": learning_order_figure,
    "map": maps_figure,
    "retraining": retraining_figure,
    "scores": scores_figure,
    "similarity": similarity_over_epochs,
    "stopping": stopping_figure,
    "wrong-labels": label_noise_figure,
}
