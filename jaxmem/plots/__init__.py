"""Pictures of results: labelled numbers in, a Matplotlib figure out. Nothing here computes a statistic but means."""

from jaxmem.plots.studies import (
    epochs_figure,
    indices_figure,
    label_noise_figure,
    retraining_figure,
    stopping_figure,
    study_figures,
)

__all__ = [
    "epochs_figure",
    "indices_figure",
    "label_noise_figure",
    "retraining_figure",
    "stopping_figure",
    "study_figures",
]
