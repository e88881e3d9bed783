"""Pictures of results: labelled numbers in, a Matplotlib figure out. Nothing here computes a statistic but means."""

from jaxmem.plots.bridge import bridge_figure
from jaxmem.plots.null import null_figure
from jaxmem.plots.patterns import conflicts_figure, learning_order_figure
from jaxmem.plots.per_example import scores_figure
from jaxmem.plots.similarity import (
    dissection_figures,
    similarity_heatmap,
    similarity_map,
    similarity_over_epochs,
)
from jaxmem.plots.studies import (
    epochs_figure,
    indices_figure,
    label_noise_figure,
    retraining_figure,
    stopping_figure,
    study_figures,
)

__all__ = [
    "bridge_figure",
    "conflicts_figure",
    "dissection_figures",
    "epochs_figure",
    "indices_figure",
    "label_noise_figure",
    "learning_order_figure",
    "null_figure",
    "retraining_figure",
    "scores_figure",
    "similarity_heatmap",
    "similarity_map",
    "similarity_over_epochs",
    "stopping_figure",
    "study_figures",
]
