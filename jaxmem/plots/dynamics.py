"""Display of how rows are learnt over the epochs: by groups of rows, with bands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from jaxmem.dynamics import LearningDynamics
from jaxmem.inputs import one_of
from jaxmem.plots.panels import COLORS, GREY, MARKERS, Display, axes_for, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LearningDynamicsDisplay"]

_LABELS = {"correct": "share of rows that are right", "margin": "margin (logits)", "loss": "loss (nats)"}


@dataclass(eq=False)
class LearningDynamicsDisplay(Display):
    """What becomes of groups of rows over the epochs: rows with wrong labels and others, say.

    Make one with `from_result`. Of "correct" the line is the share of rows, the mean over networks, and the band spans
    the networks, if there are several. Of "margin" and "loss" the line is the median row, and the band the middle half
    of the rows, of all networks together.

    Attributes:
        epochs: shape (epochs,).
        curves: by group, the line and the ends of the band, shape (epochs, 3).
        quantity: "correct", "margin" or "loss".
        ax_, figure_: the axes that `plot` drew on, and their figure.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.plots import LearningDynamicsDisplay
        >>> logits = np.array([[[0, 1], [1, 0]], [[0, 1], [0, 1]]], float)  # Two epochs, two rows.
        >>> seen = jm.learning_dynamics(logits, np.array([1, 1]))
        >>> display = LearningDynamicsDisplay.from_result(seen, groups=["first", "second"])
        >>> display.curves["second"][:, 0]
        array([0., 1.])
    """

    epochs: np.ndarray
    curves: dict[str, Float[np.ndarray, "epochs 3"]]
    quantity: str

    @classmethod
    def from_result(
        cls,
        result: LearningDynamics,
        *,
        quantity: str = "correct",
        groups: Any = None,
        epochs: Sequence[int] | None = None,
        ax: "Axes | None" = None,
    ) -> "LearningDynamicsDisplay":
        """Draw a result of `jm.learning_dynamics`.

        Args:
            result: of one network or of several.
            quantity: "correct", "margin" or "loss".
            groups: the group of every row, words or numbers, shape (n,); None: all rows are one.
            epochs: the numbers of the epochs, as `jm.learning_dynamics` was told them; None: 1, 2, ...
            ax: Matplotlib axes to draw on; None: those of a new figure.

        Raises:
            ValueError: no such result, an unknown quantity, or groups or epochs of another number.
        """
        if not isinstance(result, LearningDynamics):
            raise ValueError(f"result must be of jm.learning_dynamics, but is a {type(result).__name__}.")
        values = np.asarray(getattr(result, one_of(quantity, _LABELS, "quantity")), float)
        n_epochs, n = values.shape[-2:]
        values = values.reshape(-1, n_epochs, n)
        groups = np.full(n, "all rows") if groups is None else np.asarray(groups).astype(str)
        numbers = np.arange(1, n_epochs + 1) if epochs is None else np.asarray(epochs)
        if groups.shape != (n,) or numbers.shape != (n_epochs,):
            raise ValueError(
                f"the result has {n} rows and {n_epochs} epochs, but groups has shape {groups.shape} and epochs "
                f"{numbers.shape}: give one group per row, and one number per epoch."
            )
        curves = {}
        for group in dict.fromkeys(groups.tolist()):
            own = values[:, :, groups == group]
            if quantity == "correct":
                shares = own.mean(axis=2)
                curve = shares.mean(axis=0), shares.min(axis=0), shares.max(axis=0)
            else:
                curve = np.quantile(own.transpose(1, 0, 2).reshape(n_epochs, -1), [0.5, 0.25, 0.75], axis=1)
            curves[group] = np.stack(list(curve), axis=1)
        return cls(numbers, curves, quantity).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> "LearningDynamicsDisplay":
        """Draw it.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
        """
        ax, colors = axes_for(ax), (*COLORS, GREY)
        for number, (group, curve) in enumerate(self.curves.items()):
            color, marker = colors[number % len(colors)], MARKERS[number % len(MARKERS)]
            middle, low, high = curve.T
            ax.fill_between(self.epochs, low, high, color=color, alpha=0.3, lw=0)
            ax.plot(self.epochs, middle, f"{marker}-", color=color, markersize=4, lw=1.6, label=group)
        if self.quantity == "correct":
            ax.set_ylim(-0.03, 1.03)
        ax.set(xlabel="epoch", ylabel=_LABELS[self.quantity])
        ax.grid(axis="y", alpha=0.25)
        legend_above(ax, n_columns=3)
        return self._on(ax)
