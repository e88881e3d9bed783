"""Displays of one test: its null with the observed score, memorization's three scorings, and the p-value so far."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from jaxmem.inference import pvalue
from jaxmem.plots.panels import COLORS, GREY, Display, axes_for, legend_above
from jaxmem.results import GroupSimilarityTest, MemorizationTest, PermutationTest, SimilarityTest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MemorizationTestDisplay", "PValueConvergenceDisplay", "PermutationTestDisplay"]

_OBSERVED, _NULL, _TEST = COLORS[:3]
_MOST_BARS = 30


@dataclass(eq=False)
class PermutationTestDisplay(Display):
    """The null distribution of a test as bars, its middle 95% shaded, and the observed statistic as a line.

    Make one with `from_result`.

    Attributes:
        statistic: the observed one.
        null_distribution: the statistics under the permutations, shape (B,).
        pvalue: of the test.
        interval: for the p-value that all permutations would give; None where there is none.
        quantity: what the statistic is, below the axes.
        ax_, figure_: the axes that `plot` drew on, and their figure.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.plots import PermutationTestDisplay
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> test = jm.permutation_test(jm.Ridge(), X, y, validation=jm.KFold(4), n_permutations=99)
        >>> PermutationTestDisplay.from_result(test).ax_.get_xlabel()
        'accuracy'
    """

    statistic: float
    null_distribution: Float[np.ndarray, " B"]
    pvalue: float
    interval: tuple[float, float] | None
    quantity: str

    @classmethod
    def from_result(
        cls, result: PermutationTest | SimilarityTest | GroupSimilarityTest, *, ax: "Axes | None" = None
    ) -> "PermutationTestDisplay":
        """Draw a result of `jm.permutation_test`, `jm.similarity_test` or `jm.group_similarity_test`.

        Args:
            result: of one score.
            ax: Matplotlib axes to draw on; None: those of a new figure.

        Raises:
            ValueError: no such result, or one of several scores.
        """
        interval, fixed = None, isinstance(result, PermutationTest) and result.stopping is None
        if isinstance(result, PermutationTest):
            _of_one_score(result)
            quantity = result.metric.replace("_", " ")
            if fixed and not result.exact:
                interval = result.confidence_interval()
        elif isinstance(result, (SimilarityTest, GroupSimilarityTest)):
            quantity = result.measure if isinstance(result, SimilarityTest) else "difference in mean similarity"
        else:
            raise ValueError(
                "result must be of jm.permutation_test, jm.similarity_test or jm.group_similarity_test, but is a "
                f"{type(result).__name__}."
            )
        statistic, p = float(result.statistic), float(result.pvalue)
        return cls(statistic, result.null_distribution, p, interval, quantity).plot(ax)  # pyright: ignore[reportArgumentType]

    def plot(self, ax: "Axes | None" = None) -> "PermutationTestDisplay":
        """Draw it.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
        """
        ax = axes_for(ax)
        low, high = np.quantile(self.null_distribution, [0.025, 0.975])
        ax.axvspan(low, high, color=_NULL, alpha=0.2, lw=0, label="middle 95% of the null")
        _bars(ax, self.null_distribution, _NULL, f"null, {self.null_distribution.size:,} permutations")
        p = f"p = {self.pvalue:.3g}" + (f" [{self.interval[0]:.2g}, {self.interval[1]:.2g}]" if self.interval else "")
        ax.axvline(self.statistic, color=_OBSERVED, lw=2, label=f"observed {self.statistic:.3g}, {p}")
        ax.set(xlabel=self.quantity, ylabel="permutations")
        legend_above(ax)
        return self._on(ax)


@dataclass(eq=False)
class MemorizationTestDisplay(Display):
    """The three scorings of `jm.memorization_test` on one axis: what lies between them is memorization and learning.

    Make one with `from_result`.

    Attributes:
        result: what is drawn.
        ax_, figure_: the axes that `plot` drew on, and their figure.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.plots import MemorizationTestDisplay
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> m = jm.memorization_test(jm.Ridge(), X, y, jm.SharedStructure(X + 0.1), n_permutations=99)
        >>> MemorizationTestDisplay.from_result(m).ax_.get_xlabel()
        'accuracy'
    """

    result: MemorizationTest

    @classmethod
    def from_result(cls, result: MemorizationTest, *, ax: "Axes | None" = None) -> "MemorizationTestDisplay":
        """Draw a result of `jm.memorization_test`.

        Args:
            result: what to draw.
            ax: Matplotlib axes to draw on; None: those of a new figure.

        Raises:
            ValueError: no such result.
        """
        if not isinstance(result, MemorizationTest):
            raise ValueError(f"result must be of jm.memorization_test, but is a {type(result).__name__}.")
        return cls(result).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> "MemorizationTestDisplay":
        """Draw it.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
        """
        ax, result = axes_for(ax, height=3.9), self.result
        _bars(ax, result.chance_distribution, GREY, f"chance (broken null), mean {result.chance:.3f}")
        paired = result.null_distribution
        _bars(ax, paired, _NULL, f"paired null, mean {paired.mean():.3f}: memorization {result.memorization:.3f}")
        observed = f"observed {result.statistic:.3f}: learning {result.learning:.3f}"
        ax.axvline(result.statistic, color=_OBSERVED, lw=2, label=observed)
        if result.test_statistic is not None:
            label = f"independent test {result.test_statistic:.3f}"
            ax.axvline(result.test_statistic, color=_TEST, lw=2, ls=":", label=label)
        ax.set(xlabel="accuracy", ylabel="permutations")
        legend_above(ax)
        return self._on(ax)


@dataclass(eq=False)
class PValueConvergenceDisplay(Display):
    """The p-value and its interval against the number of permutations so far: whether there were enough of them.

    Make one with `from_result`. To go on until it looks right makes the p-value invalid; see `PermutationTest.extend`.

    Attributes:
        n_permutations: after how many, shape (k,).
        pvalue: of the first so many, shape (k,).
        low, high: ends of the interval for the p-value that all permutations would give, shape (k,).
        ax_, figure_: the axes that `plot` drew on, and their figure.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.plots import PValueConvergenceDisplay
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> test = jm.permutation_test(jm.Ridge(), X, y, validation=jm.KFold(4), n_permutations=99)
        >>> display = PValueConvergenceDisplay.from_result(test)
        >>> display.pvalue[-1].item()
        0.01
    """

    n_permutations: Int[np.ndarray, " k"]
    pvalue: Float[np.ndarray, " k"]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]

    @classmethod
    def from_result(
        cls,
        result: PermutationTest,
        *,
        confidence_level: float = 0.95,
        alpha: float | None = 0.05,
        ax: "Axes | None" = None,
    ) -> "PValueConvergenceDisplay":
        """Draw a result of `jm.permutation_test`.

        Args:
            result: of one score.
            confidence_level: of the interval, in (0, 1).
            alpha: see `plot`.
            ax: Matplotlib axes to draw on; None: those of a new figure.

        Raises:
            ValueError: no such result, one of several scores, a stopping rule ended the test, or every labelling was
                taken, so that nothing converges.
        """
        if not isinstance(result, PermutationTest):
            raise ValueError(f"result must be of jm.permutation_test, but is a {type(result).__name__}.")
        _of_one_score(result)
        if result.exact:
            raise ValueError(
                "the null holds every labelling once, in order: its p-value is exact and converges to none."
            )
        null = result.null_distribution
        so_far = np.unique(np.geomspace(1, null.size, 120).round().astype(int))
        parts = [replace(result, null_distribution=null[:b]) for b in so_far]
        low, high = np.array([part.confidence_interval(confidence_level) for part in parts]).T
        statistic = float(result.statistic)  # pyright: ignore[reportArgumentType]
        p = [pvalue(statistic, null[:b], result.alternative, rounding=result.rounding) for b in so_far]
        return cls(so_far, np.array(p), low, high).plot(ax, alpha=alpha)

    def plot(self, ax: "Axes | None" = None, *, alpha: float | None = 0.05) -> "PValueConvergenceDisplay":
        """Draw it.

        Args:
            ax: Matplotlib axes to draw on; None: those of a new figure.
            alpha: a level to draw a line at; None: no line.
        """
        ax = axes_for(ax)
        ax.fill_between(
            self.n_permutations, self.low, self.high, color=_OBSERVED, alpha=0.3, lw=0, label="its interval"
        )
        ax.plot(
            self.n_permutations, self.pvalue, color=_OBSERVED, lw=1.8, label=f"p-value, {self.pvalue[-1]:.3g} at last"
        )
        if alpha is not None:
            ax.axhline(alpha, color=GREY, lw=1, ls="--", label=f"level {alpha:g}")
        # The interval reaches down to 0 where no permutation was as extreme; the axis, below the smallest p-value.
        ax.set(xscale="log", yscale="log", ylim=(0.5 / (1 + self.n_permutations[-1]), 1.2))
        ax.set(xlabel="permutations so far", ylabel="p-value")
        ax.grid(alpha=0.25)
        legend_above(ax, n_columns=3)
        return self._on(ax)


def _of_one_score(result: PermutationTest) -> None:
    if np.ndim(result.statistic):
        raise ValueError("result has several scores: give the classifier one value per hyperparameter.")


def _bars(ax: "Axes", values: Float[np.ndarray, " B"], color: str, label: str) -> None:
    """A histogram. Of accuracies few values are possible: every bar then covers as many of them as any other."""
    different = np.unique(values.round(12))
    step = float(np.diff(different).min()) if different.size > 1 else 0.0
    bins: Any = min(_MOST_BARS, max(10, int(2 * values.size ** (1 / 3))))
    n_steps = round((different[-1] - different[0]) / step) + 1 if step else 0
    if 0 < n_steps <= 20 * _MOST_BARS:
        width = step * -(-n_steps // _MOST_BARS)
        bins = np.arange(different[0] - step / 2, different[-1] + width, width)
    ax.hist(values, bins, color=color, alpha=0.6, label=label)
    if ax.get_yscale() == "linear":
        ax.locator_params(axis="y", integer=True)
