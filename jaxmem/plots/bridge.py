"""The figure of the study that sets memorization beside dissimilarity."""

from typing import TYPE_CHECKING

from jaxmem.plots.panels import finish, grid

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["bridge_figure"]


def bridge_figure(data: "xarray.Dataset") -> "Figure":
    """Dissimilarity of networks over their memorization: a panel per measure and classifier, a line of epochs a model.

    Lines run from the first epoch after the untrained network to the last one, which is marked.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.plots import bridge_figure
        >>> memorization = np.random.default_rng(0).random((2, 3, 3, 1, 1, 1))
        >>> data = xarray.Dataset(
        ...     {
        ...         "memorization": (("model", "seed", "epoch", "layer", "classifier", "perturbation"), memorization),
        ...         "dissimilarity": (("model", "epoch", "measure"), memorization[:, 0, :, 0, 0]),
        ...     },
        ...     {"model": ["plain", "random 1"], "epoch": [0, 1, 5], "classifier": ["ridge"], "measure": ["cka"]},
        ...     {"question": "Do networks that memorize differ more?"},
        ... )
        >>> [panel.get_title() for panel in bridge_figure(data).axes]
        ['cka, ridge']
    """
    from matplotlib import colormaps

    figure, panels = grid(data.sizes["measure"], data.sizes["classifier"], wide=True, shares=False)
    kinds = [str(model).split()[0] for model in data.model.values]
    maps = dict(zip(dict.fromkeys(kinds), ("Greys", "Oranges", "Blues", "Greens"), strict=False))
    for row, measure in enumerate(data.measure.values):
        for column, classifier in enumerate(data.classifier.values):
            panel = panels[row, column]
            own = data.sel(measure=measure, classifier=classifier).isel(layer=-1, epoch=slice(1, None))
            for number, (model, kind) in enumerate(zip(data.model.values, kinds, strict=True)):
                of_kind = [place for place, other in enumerate(kinds) if other == kind]
                # Neither end of a map: it would vanish on white, or on black.
                shade = colormaps[maps[kind]](0.35 + 0.45 * (of_kind.index(number) + 1) / len(of_kind))
                memorization = own.sel(model=model).memorization.mean(["seed", "perturbation"]).values
                dissimilarity = own.sel(model=model).dissimilarity.values
                panel.plot(memorization, dissimilarity, "-", color=shade, lw=1)
                marker = {"plain": "*", "random": "o", "dropout": "s"}.get(kind, "^")
                panel.plot(memorization[-1:], dissimilarity[-1:], marker, color=shade, label=str(model))
            panel.set_title(f"{measure}, {classifier}", fontsize=10)
            if column == 0:
                panel.set_ylabel("dissimilarity of networks")
            if row == len(panels) - 1:
                panel.set_xlabel("memorization index")
    return finish(figure, panels[0, 0], data.attrs["question"])
