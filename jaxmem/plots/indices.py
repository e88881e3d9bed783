"""Displays of several tests of memorization: indices along strengths or epochs, and maps of layers x epochs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from jaxmem.inputs import one_of
from jaxmem.plots.panels import COLORS, Display, axes_for, legend_above, numbered, undefined
from jaxmem.results import MemorizationTest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MemorizationCurveDisplay", "MemorizationMapDisplay"]

_QUANTITIES = {"memorization": (COLORS[1], "s"), "learning": (COLORS[3], "o")}


@dataclass(eq=False)
class MemorizationCurveDisplay(Display):
    """Memorization and learning indices along the strength of a perturbation, epochs, or anything that has names.

    Make one with `from_results`. Bands (bars, along names) are the intervals that random permutations leave each index:
    they speak of these features, not of other networks.

    Attributes:
        places: where the tests stand, shape (k,): numbers in increasing order, or names in the order they came.
        indices: by name of the index, its values and the ends of its interval, shape (k, 3).
        ax_, figure_: the axes that `plot` drew on, and their figure.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.plots import MemorizationCurveDisplay
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> noise = np.random.default_rng(1).normal(size=X.shape)
        >>> copies = {sd: jm.SharedStructure(X + sd * noise) for sd in (0.1, 1.0)}
        >>> found = jm.memorization_tests(jm.KNeighbors(1), X, y, copies, n_permutations=99)
        >>> display = MemorizationCurveDisplay.from_results(found, xlabel="standard deviation of the noise")
        >>> display.places
        array([0.1, 1. ])
    """

    places: np.ndarray
    indices: dict[str, Float[np.ndarray, "k 3"]]

    @classmethod
    def from_results(
        cls,
        results: Mapping[Any, MemorizationTest],
        *,
        confidence_level: float = 0.95,
        xlabel: str = "",
        ax: "Axes | None" = None,
    ) -> "MemorizationCurveDisplay":
        """Draw results of `jm.memorization_tests`, or of `jm.memorization_test` put together.

        Args:
            results: by strength, epoch or name.
            confidence_level: of the intervals, in (0, 1).
            xlabel: what the keys are.
            ax: Matplotlib axes to draw on; None: those of a new figure.

        Raises:
            ValueError: no such results, or a level out of range.
        """
        _check(results)
        names = list(results)
        if not any(isinstance(name, str) for name in names):
            names.sort()
        indices = {
            quantity: np.array([results[name].estimate(quantity, confidence_level)[:3] for name in names])
            for quantity in _QUANTITIES
        }
        return cls(np.array(names), indices).plot(ax, xlabel=xlabel)

    def plot(self, ax: "Axes | None" = None, *, xlabel: str = "") -> "MemorizationCurveDisplay":
        """Draw it.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
            xlabel: what the places are.
        """
        ax = axes_for(ax)
        named = self.places.dtype.kind not in "iuf"
        x = np.arange(len(self.places)) if named else self.places
        for quantity, values in self.indices.items():
            color, marker = _QUANTITIES[quantity]
            mean, low, high = values.T
            label = f"{quantity} index"
            if named:
                ax.errorbar(x, mean, [mean - low, high - mean], fmt=marker, color=color, capsize=3, label=label)
            else:
                ax.fill_between(x, low, high, color=color, alpha=0.3, lw=0)
                ax.plot(x, mean, f"{marker}-", color=color, markersize=5, lw=1.6, label=label)
            undefined(ax, x[np.isnan(mean)], color)
        if named:
            long = max(len(str(place)) for place in self.places) * len(self.places) > 40
            turned: dict[str, Any] = {"rotation": 30, "ha": "right"} if long else {}
            ax.set_xticks(x, [str(place) for place in self.places], **turned)
            ax.margins(x=0.1)
        lowest = np.nanmin([np.nanmin(values, initial=0) for values in self.indices.values()])
        ax.set(xlabel=xlabel, ylabel="index", ylim=(lowest - 0.03, 1.03))
        ax.grid(axis="y", alpha=0.25)
        legend_above(ax, n_columns=2)
        return self._on(ax)


@dataclass(eq=False)
class MemorizationMapDisplay(Display):
    """An index in every layer (rows) at every epoch (columns), or along any two things, as numbers on colours.

    Make one with `from_results`. The scale runs from 0, or the smallest value below it, to the largest.

    Attributes:
        rows, columns: what the tests are of, in the order that they came; columns that are numbers increase.
        values: the index, shape (rows, columns); NaN where there was no test.
        quantity: which index.
        ax_, figure_: the axes that `plot` drew on, and their figure.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.plots import MemorizationMapDisplay
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> m = jm.memorization_test(jm.Ridge(), X, y, jm.SharedStructure(X + 0.1), n_permutations=99)
        >>> display = MemorizationMapDisplay.from_results({("layer1", 0): m, ("layer1", 5): m}, quantity="learning")
        >>> display.rows, display.columns
        (['layer1'], [0, 5])
    """

    rows: list[Any]
    columns: list[Any]
    values: Float[np.ndarray, "rows columns"]
    quantity: str

    @classmethod
    def from_results(
        cls,
        results: Mapping[tuple[Any, Any], MemorizationTest],
        *,
        quantity: str = "memorization",
        xlabel: str = "epoch",
        ax: "Axes | None" = None,
    ) -> "MemorizationMapDisplay":
        """Draw results of `jm.memorization_test`, by `(layer, epoch)`.

        Args:
            results: by pairs of anything; not every pair need be there.
            quantity: "memorization" or "learning".
            xlabel: what the second of every pair is.
            ax: Matplotlib axes to draw on; None: those of a new figure.

        Raises:
            ValueError: no such results, keys that are no pairs, or an unknown quantity.
        """
        _check(results)
        if not all(isinstance(key, tuple) and len(key) == 2 for key in results):
            raise ValueError(
                f'results must be by pairs, ("layer1", 5) say, but the keys are {str(list(results))[:80]}.'
            )
        one_of(quantity, _QUANTITIES, "quantity")
        rows, columns = (list(dict.fromkeys(key[side] for key in results)) for side in (0, 1))
        if not any(isinstance(column, str) for column in columns):
            columns.sort()
        values = np.full((len(rows), len(columns)), np.nan)
        for (row, column), result in results.items():
            values[rows.index(row), columns.index(column)] = getattr(result, quantity)
        return cls(rows, columns, values, quantity).plot(ax, xlabel=xlabel)

    def plot(self, ax: "Axes | None" = None, *, xlabel: str = "epoch") -> "MemorizationMapDisplay":
        """Draw it.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
            xlabel: what the columns are.
        """
        ax = axes_for(ax, 2.2 + 0.65 * len(self.columns), 1.3 + 0.42 * len(self.rows))
        low, high = min(0.0, np.nanmin(self.values)), np.nanmax(self.values)
        image = ax.imshow(self.values, cmap="viridis", vmin=low, vmax=max(high, low + 1e-9), aspect="auto")
        numbered(ax, image, "{:.2f}")
        ax.set_xticks(range(len(self.columns)), [str(column) for column in self.columns])
        ax.set_yticks(range(len(self.rows)), [str(row) for row in self.rows])
        ax.tick_params(length=0)
        ax.set_xlabel(xlabel)
        ax.figure.colorbar(image, ax=ax, label=f"{self.quantity} index")
        return self._on(ax)


def _check(results: Any) -> None:
    if not isinstance(results, Mapping) or not results:
        raise ValueError(f"results must map names or numbers to results, but is {str(results)[:80]}.")
    for result in results.values():
        if not isinstance(result, MemorizationTest):
            raise ValueError(f"results must be of jm.memorization_test, but one is a {type(result).__name__}.")
