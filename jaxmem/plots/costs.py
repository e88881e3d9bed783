"""Display of what tests cost before they are run: the seconds of every stage, plan by plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from jaxmem.costs import Plan
from jaxmem.plots.panels import COLORS, Display, axes_for, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PlanDisplay"]


@dataclass(eq=False)
class PlanDisplay(Display):
    """What the stages of tests take, one bar a plan: of several devices, precisions or sizes, say.

    Make one with `from_plans`. A plan that does not fit into its devices is drawn pale, and its name says so.

    Attributes:
        names: of the plans.
        stages: names of the stages.
        seconds: shape (plans, stages).
        fits: whether every device holds what its plan asks of it, shape (plans,).
        ax_, figure_: the axes that `plot` drew on, and their figure.

    Example:
        >>> from jaxmem.costs import plan
        >>> from jaxmem.plots import PlanDisplay
        >>> plans = {f"{devices} H100": plan(60_000, 512, 10, 9_999, devices=devices) for devices in (1, 8)}
        >>> PlanDisplay.from_plans(plans).stages
        ('prepare', 'draw', 'fit', 'score')
    """

    names: tuple[str, ...]
    stages: tuple[str, ...]
    seconds: Float[np.ndarray, "plans stages"]
    fits: tuple[bool, ...]

    @classmethod
    def from_plans(cls, plans: Mapping[str, Plan], *, ax: "Axes | None" = None) -> "PlanDisplay":
        """Draw plans by name.

        Args:
            plans: what `jaxmem.costs.plan` returned, by name; at least one.
            ax: Matplotlib axes to draw on; None: those of a new figure.

        Raises:
            ValueError: no plans.
        """
        if not plans or not all(isinstance(each, Plan) for each in plans.values()):
            raise ValueError(f"plans must be a dict of what jaxmem.costs.plan returns, by name, but is {plans!r}.")
        stages = tuple(stage.name for stage in next(iter(plans.values())).stages)
        seconds = np.array([[stage.seconds for stage in each.stages] for each in plans.values()])
        return cls(tuple(plans), stages, seconds, tuple(each.needs == 1 for each in plans.values())).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> "PlanDisplay":
        """Draw it.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
        """
        ax = axes_for(ax, height=1.4 + 0.45 * len(self.names))
        places, ends = np.arange(len(self.names)), self.seconds.cumsum(axis=1)
        for number, stage in enumerate(self.stages):
            bars = ax.barh(
                places,
                self.seconds[:, number],
                left=ends[:, number] - self.seconds[:, number],
                height=0.7,
                color=COLORS[number % len(COLORS)],
                label=stage,
            )
            for bar, fits in zip(bars, self.fits, strict=True):
                bar.set_alpha(1 if fits else 0.4)
        for place, total in zip(places, ends[:, -1], strict=True):
            said = f"{total:,.0f} s" if total >= 100 else f"{total:.3g} s"
            ax.annotate(said, (total, place), (4, 0), textcoords="offset points", va="center", fontsize=9)
        names = [name if fits else f"{name}\n(does not fit)" for name, fits in zip(self.names, self.fits, strict=True)]
        ax.set_yticks(places, names)
        ax.invert_yaxis()
        ax.set(xlabel="predicted seconds", xlim=(0, 1.2 * ends[:, -1].max()))
        ax.grid(axis="x", alpha=0.25)
        ax.set_axisbelow(True)
        legend_above(ax, n_columns=len(self.stages))
        return self._on(ax)
