"""The null distribution of a test, and where the observed score lies in it."""

from typing import TYPE_CHECKING

import numpy as np

from jaxmem.plots.panels import COLORS, GREY, finish, grid
from jaxmem.results import MemorizationTest, PermutationTest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["null_figure"]

_OBSERVED, _NULL, _TEST = COLORS[:3]


def null_figure(test: PermutationTest | MemorizationTest) -> "Figure":
    """Histograms of the scores under permutations, with the observed score; a panel for every hyperparameter.

    Args:
        test: the result; of a memorization test, the broken null and the scores of independent rows stand beside.
    """
    null = test.null_distribution.reshape(len(test.null_distribution), -1)
    figure, panels = grid(1, null.shape[1], wide=True, shares=False)
    statistics, pvalues = np.atleast_1d(test.statistic), np.atleast_1d(_pvalue(test))
    beside = {}
    if isinstance(test, MemorizationTest):
        beside["broken null (chance)"] = test.chance_distribution, GREY
        if test.test_null_distribution is not None:
            beside["independent test rows"] = test.test_null_distribution, _TEST
    what = "accuracy" if isinstance(test, MemorizationTest) else test.metric
    for panel, statistic, p, values in zip(panels.flat, statistics, pvalues, null.T, strict=True):
        every = np.concatenate([values, *(others for others, _ in beside.values())])
        bins = np.linspace(every.min(), every.max() + (np.ptp(every) == 0), min(60, 4 + int(np.sqrt(len(values)))))
        panel.hist(values, bins, color=_NULL, alpha=0.7, label="null (shuffled labels)")
        for name, (others, color) in beside.items():
            panel.hist(others, bins, color=color, alpha=0.5, label=name)
        panel.axvline(statistic, color=_OBSERVED, lw=2, label="observed")
        panel.set_title(f"{statistic:.4g}, p = {p:.3g}", fontsize=10)
        panel.set_xlabel(what)
    panels[0, 0].set_ylabel("permutations")
    return finish(figure, panels[0, 0], str(test.classifier))


def _pvalue(test: PermutationTest | MemorizationTest) -> float | np.ndarray:
    return test.learning_pvalue if isinstance(test, MemorizationTest) else test.pvalue
