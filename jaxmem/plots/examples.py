"""Display of the rows that are memorized most, as the images that they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from jaxmem.inputs import as_number
from jaxmem.results import MemorizationTest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MemorizedExamplesDisplay"]

_COLUMNS = 8


@dataclass(eq=False)
class MemorizedExamplesDisplay:
    """The training images whose shuffled labels are recovered most often, with their labels and scores.

    Make one with `from_result`.

    Attributes:
        examples: which copies, the most memorized first, shape (k,).
        images: of the training rows that they were made from, shape (k, height, width) or (k, height, width, channels).
        labels: of those rows, shape (k,).
        scores: share of the permutations in which the shuffled label was recovered, shape (k,).
        axes_, figure_: the panels that `plot` drew on, shape (rows, columns), and their figure.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.plots import MemorizedExamplesDisplay
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> m = jm.memorization_test(jm.Ridge(), X, y, jm.SharedStructure(X + 0.1), n_permutations=99)
        >>> display = MemorizedExamplesDisplay.from_result(m, X.reshape(40, 1, 3), n_examples=5)
        >>> display.images.shape, display.axes_.shape
        ((5, 1, 3), (1, 5))
    """

    examples: Int[np.ndarray, " k"]
    images: np.ndarray
    labels: np.ndarray
    scores: Float[np.ndarray, " k"]

    @classmethod
    def from_result(
        cls, result: MemorizationTest, images: Any, *, source: Any = None, n_examples: int = 24
    ) -> "MemorizedExamplesDisplay":
        """Draw the most memorized rows of a result of `jm.memorization_test`.

        Args:
            result: whose `example_scores` order the rows.
            images: of the training rows, shape (n, height, width) or (n, height, width, channels), one or three
                channels; numbers, each image drawn from its smallest to its largest.
            source: the training row that each copy was made from, as `jm.SharedStructure` was told it; None: the same.
            n_examples: how many to show at most.

        Raises:
            ValueError: no such result, images of another number or shape, or a source that does not fit.
        """
        if not isinstance(result, MemorizationTest):
            raise ValueError(f"result must be of jm.memorization_test, but is a {type(result).__name__}.")
        images, n, m = np.asarray(images), result.y.size, result.example_scores.size
        if images.ndim not in (3, 4) or len(images) != n or (images.ndim == 4 and images.shape[-1] not in (1, 3)):
            raise ValueError(
                f"images must hold the {n} training images, shape (n, height, width) or (n, height, width, channels) "
                f"with one or three channels, but has shape {images.shape}."
            )
        rows = np.arange(n) if source is None else np.asarray(source)
        if rows.shape != (m,):
            raise ValueError(f"the test has {m} copies: pass source=, the training row that each was made from.")
        chosen = np.argsort(-result.example_scores, kind="stable")[: as_number(n_examples, "n_examples")]
        labels = result.classes[result.y[rows[chosen]]]
        return cls(chosen, images[rows[chosen]], labels, result.example_scores[chosen]).plot()

    def plot(self, figure: "Figure | None" = None) -> "MemorizedExamplesDisplay":
        """Draw it.

        Args:
            figure: an empty Matplotlib figure or subfigure to draw on; None: a new one.
        """
        columns = min(_COLUMNS, len(self.images))
        rows = -(-len(self.images) // columns)
        if figure is None:
            import matplotlib.pyplot as plt

            figure = plt.figure(figsize=(1.05 * columns + 0.3, 1.27 * rows + 0.35), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for panel in panels.flat:
            panel.set_axis_off()
        for panel, image, label, score in zip(panels.flat, self.images, self.labels, self.scores, strict=False):
            low, high = float(image.min()), float(image.max())
            panel.imshow((image - low) / ((high - low) or 1.0), cmap="gray", vmin=0, vmax=1)
            panel.set_title(f"{label}: {score:.0%}", fontsize=9)
        figure.suptitle("Label, and how often a shuffled one is recovered", fontsize=10)
        self.axes_, self.figure_ = panels, figure
        return self
