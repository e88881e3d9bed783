"""Pictures of results: displays as scikit-learn has them, of single results, and the figures of studies.

Nothing here computes a statistic that results do not have. Colours are those of Okabe & Ito and viridis, with a marker
or a line style beside each; all else is left to Matplotlib's styles, `plt.style.use("dark_background")` say.

Figures of studies take the numbers of a record, `load_record("jaxmem-run").data` say; their examples make up the few
that each of them needs.
"""

from jaxmem.plots.bridge import bridge_figure
from jaxmem.plots.costs import PlanDisplay
from jaxmem.plots.dynamics import LearningDynamicsDisplay
from jaxmem.plots.examples import MemorizedExamplesDisplay
from jaxmem.plots.indices import MemorizationCurveDisplay, MemorizationMapDisplay
from jaxmem.plots.nulls import MemorizationTestDisplay, PermutationTestDisplay, PValueConvergenceDisplay
from jaxmem.plots.patterns import conflicts_figure, learning_order_figure
from jaxmem.plots.per_example import scores_figure
from jaxmem.plots.similarity import (
    SimilarityDisplay,
    heatmaps_figure,
    maps_figure,
    similarity_heatmap,
    similarity_map,
    similarity_over_epochs,
)
from jaxmem.plots.studies import (
    epochs_figure,
    indices_figure,
    label_noise_figure,
    layer_maps_figure,
    retraining_figure,
    stopping_figure,
    study_figures,
)

__all__ = [
    "LearningDynamicsDisplay",
    "MemorizationCurveDisplay",
    "MemorizationMapDisplay",
    "MemorizationTestDisplay",
    "MemorizedExamplesDisplay",
    "PValueConvergenceDisplay",
    "PermutationTestDisplay",
    "PlanDisplay",
    "SimilarityDisplay",
    "bridge_figure",
    "conflicts_figure",
    "epochs_figure",
    "heatmaps_figure",
    "indices_figure",
    "label_noise_figure",
    "layer_maps_figure",
    "learning_order_figure",
    "maps_figure",
    "retraining_figure",
    "scores_figure",
    "similarity_heatmap",
    "similarity_map",
    "similarity_over_epochs",
    "stopping_figure",
    "study_figures",
]
