"""Result of `memorization_test`: three scorings of the same fits, and what follows from them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from jaxmem.inference import Estimate, adjusted, binomial_pvalue, check_level, of_means
from jaxmem.inputs import one_of
from jaxmem.results.base import Result
from jaxmem.results.html import facts, histogram

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = ["MATCHINGS", "MemorizationTest", "Verdict", "learning_index", "memorization_index"]

# Copies are matched with other rows so many times, fewer where there are fewer rows: the smallest p-value is 0.01.
MATCHINGS = 99


def memorization_index(paired: Any, broken: Any) -> Any:
    """`(m - c) / (1 - c)`, of the mean accuracies on paired and broken labels.

    Example:
        >>> from jaxmem.results import memorization_index
        >>> round(memorization_index(0.55, 0.1), 3)
        0.5
    """
    return (paired - broken) / (1 - broken)


def learning_index(statistic: float, paired: Any) -> Any:
    """`(s - m) / (1 - m)`, of the observed accuracy and the mean one on paired labels.

    Example:
        >>> from jaxmem.results import learning_index
        >>> round(learning_index(0.91, 0.55), 3)
        0.8
    """
    return (statistic - paired) / (1 - paired)


@dataclass(frozen=True)
class Verdict:
    """Which of learning and memorization a test shows.

    Attributes:
        learning: whether the observed score lies above the paired null.
        memorization: whether copies give away the shuffled labels of their sources.
        alpha: the probability at most of finding either wrongly; both p-values are adjusted for there being two (Holm).
        text: the same in words, with what it does not say.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> m = jm.memorization_test(jm.KNeighbors(1), X, y, jm.SharedStructure(X), n_permutations=99)
        >>> verdict = m.verdict()
        >>> verdict.learning, verdict.memorization
        (False, True)
    """

    learning: bool
    memorization: bool
    alpha: float
    text: str

    def __str__(self) -> str:
        """The words."""
        return self.text


@dataclass(frozen=True, eq=False, kw_only=True)
class MemorizationTest(Result):
    """Result of `memorization_test`: one fit per permutation, scored three ways (accuracy).

    Attributes:
        statistic: accuracy of the observed fit on the perturbed copies, with the labels of their sources.
        null_distribution: the paired null: permutation b fitted, and scored with the same permutation; shape (B,).
        chance_distribution: the broken null: the same fits scored with an independent shuffle; shape (B,).
        test_statistic: accuracy of the observed fit on the independent test rows; None without them.
        test_null_distribution: the shuffled fits on the true labels of the test rows; shape (B,) or None.
        example_scores: share of the permutations in which a copy's shuffled label was recovered, per row; shape (m,).
        learning_pvalue: p-value of the observed score within the paired null.
        memorization_pvalue: p-value of the hypothesis that copies have nothing to do with the rows that they were made
            from: of how many shuffled labels are recovered where copies and rows are matched as they belong, among
            random matchings (99, or one less than there are rows). Exact, given that rows are exchangeable.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> m = jm.memorization_test(jm.KNeighbors(1), X, y, jm.SharedStructure(X), n_permutations=99)
        >>> m.memorization, m.memorized_examples().sum().item()
        (1.0, 40)
    """

    statistic: float
    null_distribution: Float[np.ndarray, " B"]
    chance_distribution: Float[np.ndarray, " B"]
    test_statistic: float | None
    test_null_distribution: Float[np.ndarray, " B"] | None
    example_scores: Float[np.ndarray, " m"]
    learning_pvalue: float
    memorization_pvalue: float

    @property
    def chance(self) -> float:
        """Chance as measured: mean of the broken null."""
        return float(self.chance_distribution.mean())

    @property
    def memorization(self) -> float:
        """Memorization index `(m - c) / (1 - c)`: how far the paired null's mean m lies from chance c towards perfect.

        An untrained network and the raw inputs have one above zero too: compare with theirs. NaN where chance is
        perfect, which takes very few rows and permutations.
        """
        chance = self.chance
        return float(memorization_index(self.null_distribution.mean(), chance)) if chance < 1 else float("nan")

    @property
    def learning(self) -> float:
        """Learning index `(s - m) / (1 - m)`: how far the score s lies from the paired null's mean m to perfect.

        NaN where the paired null is perfect: nothing is left to learn beyond what is memorized.
        """
        null = float(self.null_distribution.mean())
        return learning_index(self.statistic, null) if null < 1 else float("nan")

    @property
    def selectivity(self) -> float:
        """The score minus the paired null's mean: the mean control task of Hewitt & Liang (2019)."""
        return self.statistic - float(self.null_distribution.mean())

    def estimate(self, quantity: str, confidence_level: float = 0.95) -> Estimate:
        """A number with the interval that the random permutations leave it, for these very features and copies.

        Where all labellings were taken, only chance is still random.

        Args:
            quantity: "memorization", "learning", "chance", "null" (the paired null's mean) or "selectivity" (the
                observed score minus that mean; Hewitt & Liang 2019).
            confidence_level: in (0, 1).

        Raises:
            ValueError: an unknown quantity, fewer than two permutations, or a level out of range.
        """
        quantities = {
            "memorization": memorization_index,
            "learning": lambda paired, broken: learning_index(self.statistic, paired),
            "chance": lambda paired, broken: broken,
            "null": lambda paired, broken: paired,
            "selectivity": lambda paired, broken: self.statistic - paired,
        }
        one_of(quantity, quantities, "quantity")
        scores = np.stack([self.null_distribution, self.chance_distribution], axis=1)
        estimate = of_means(quantities[quantity], scores, confidence_level)
        # The broken labels are random even where all labellings were taken.
        if self.exact and quantity in ("learning", "null", "selectivity"):
            return Estimate(estimate.value, estimate.value, estimate.value, 0.0)
        return estimate

    def verdict(self, alpha: float = 0.05) -> Verdict:
        """Which of learning, memorization, both or neither holds at level `alpha`, in words, with its caveats.

        Raises:
            ValueError: alpha outside (0, 1).
        """
        check_level(alpha, "alpha")
        learns, memorizes = (
            bool(p <= alpha) for p in adjusted(np.array([self.learning_pvalue, self.memorization_pvalue]), "holm")
        )
        what = {
            (True, True): "Both learning and memorization",
            (True, False): "Learning, and no memorization that shows",
            (False, True): "Memorization, and no learning that shows",
            (False, False): "Neither learning nor memorization that shows",
        }[learns, memorizes]
        shown = {name: f"{getattr(self, name):.3f}" for name in ("learning", "memorization")}
        if self.null_distribution.size > 1:
            shown = {name: f"{self.estimate(name):.3f}" for name in shown}
        lines = [
            f"{what}, as {self.classifier} sees it, at level {alpha:g} for the two together.",
            f"Learning index {shown['learning']}, p = {self.learning_pvalue:.2g}; memorization index "
            f"{shown['memorization']}, p = {self.memorization_pvalue:.2g}.",
        ]
        if learns:
            beyond = "not measured" if self.test_statistic is None else f"{self.test_statistic:.3f}"
            lines.append(
                "Learning means that the features are tuned to the labels that they were tested with; it is not "
                f"generalization (accuracy on independent test rows: {beyond})."
            )
        if memorizes:
            lines.append(
                "An untrained network and the raw inputs have a memorization index above zero, too: compare with "
                "theirs (jm.compare_memorization) before saying that the network memorized."
            )
        if not (learns and memorizes):
            lines.append(
                "What does not show may be there all the same: another classifier, a weaker perturbation, more rows or "
                "more permutations see more."
            )
        smallest = 1 / min(1 + MATCHINGS, len(self.y))
        if not memorizes and smallest > (alpha if learns else alpha / 2):
            lines.append(
                f"Of {len(self.y)} rows, memorization cannot show at this level: its p-value is {smallest:.2g} or more."
            )
        if np.isnan(self.learning):
            lines.append("The paired null is perfect: nothing is left that learning could add.")
        return Verdict(learns, memorizes, alpha, "\n".join(lines))

    @property
    def example_pvalues(self) -> Float[np.ndarray, " m"]:
        """Per copy, p-value of the hypothesis that its shuffled label is recovered no more often than by chance.

        A prediction that does not depend on the row's own label is right at most as often as the largest class is
        drawn; so much is allowed to chance in the binomial test over permutations. Conservative where classes differ in
        size. (The labels of all the other rows say a little of the one that is left: nothing to speak of beyond some
        dozen rows, and it makes predictions worse.)

        Raises:
            ValueError: every labelling was taken once: then the shares are no estimates.
        """
        if self.exact:
            raise ValueError("every labelling was taken once: example_scores are exact, and there is nothing to test.")
        B = self.null_distribution.size
        chance = np.bincount(self.y).max() / self.y.size
        return binomial_pvalue(np.rint(self.example_scores * B), B, chance)

    def memorized_examples(self, alpha: float = 0.05, correction: str = "fdr_bh") -> Bool[np.ndarray, " m"]:
        """Which copies give away the label of their source, beyond chance.

        Args:
            alpha: the false discovery rate among them ("fdr_bh"; "fdr_by" whatever the rows have in common), or the
                probability of any false one ("holm", "bonferroni").
            correction: see `jaxmem.inference.adjusted`.

        Raises:
            ValueError: as `example_pvalues`; an unknown correction, or alpha outside (0, 1).
        """
        check_level(alpha, "alpha")
        return adjusted(self.example_pvalues, correction) <= alpha

    def examples(self, correction: str = "fdr_bh") -> "pandas.DataFrame":
        """One row per copy, the most memorized first: its number, score, rank from 1, p-value and adjusted p-value."""
        import pandas

        pvalues = self.example_pvalues
        order = np.argsort(-self.example_scores, kind="stable")
        columns = {
            "rank": np.arange(1, order.size + 1),
            "example_score": self.example_scores[order],
            "pvalue": pvalues[order],
            "pvalue_adjusted": adjusted(pvalues, correction)[order],
        }
        return pandas.DataFrame(columns, pandas.Index(order, name="example"))

    def __repr__(self) -> str:
        """The numbers that one looks for, in a short block."""
        null, test = self.null_distribution, ""
        if self.test_statistic is not None:
            test = f"   independent test {self.test_statistic:.4f}"
        return (
            f"MemorizationTest({self.classifier}, accuracy)\n"
            f"  observed {self.statistic:.4f}   paired null {null.mean():.4f} ± {null.std():.4f} (B = {null.size})   "
            f"chance {self.chance:.4f}{test}\n"
            f"  learning index {self.learning:.3f} (p = {self.learning_pvalue:.4g})   "
            f"memorization index {self.memorization:.3f} (p = {self.memorization_pvalue:.4g})"
        )

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        null = self.null_distribution
        rows = [
            ("observed", f"{self.statistic:.4f}"),
            ("paired null", f"{null.mean():.4f} ± {null.std():.4f} (B = {null.size})"),
            ("chance", f"{self.chance:.4f}"),
            ("learning index", f"{self.learning:.3f} (p = {self.learning_pvalue:.4g})"),
            ("memorization index", f"{self.memorization:.3f} (p = {self.memorization_pvalue:.4g})"),
        ]
        if self.test_statistic is not None:
            rows.insert(3, ("independent test", f"{self.test_statistic:.4f}"))
        return facts(f"MemorizationTest: {self.classifier}, accuracy", rows, histogram(null, self.statistic))

    def to_dataset(self) -> "xarray.Dataset":
        """The numbers as an `xarray.Dataset`; dimensions: permutation (1 .. B), example (rows of copies)."""
        import xarray

        values = {
            "observed": ((), self.statistic),
            "paired_null": ("permutation", self.null_distribution),
            "broken_null": ("permutation", self.chance_distribution),
            "learning": ((), self.learning),
            "memorization": ((), self.memorization),
            "learning_pvalue": ((), self.learning_pvalue),
            "memorization_pvalue": ((), self.memorization_pvalue),
            "example_scores": ("example", self.example_scores),
        }
        if self.test_statistic is not None:
            values["test_observed"] = ((), self.test_statistic)
            values["test_null"] = ("permutation", self.test_null_distribution)
        return xarray.Dataset(values, {"permutation": np.arange(1, self.null_distribution.size + 1)})
