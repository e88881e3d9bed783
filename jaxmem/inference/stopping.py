"""When to stop drawing permutations: rules that look at every one of them and still give a valid p-value.

Most tests are decided long before their last permutation. Looking at an ordinary p-value until it pleases makes it
worthless; these two are valid although the test ends where they say:

* `BesagClifford` ends once so many permuted statistics were at least as extreme as the observed one. Clear
  non-rejections end at once, rejections take all permutations, and the p-value is as fine as without the rule.
* `Betting` decides at one level alpha, and both ways early. A gambler bets on every next permuted statistic being less
  extreme than the observed one, at odds that are fair if labels and features have nothing to do with each other.
  Whoever multiplies the stake by 1 / alpha, ever, has seen what happens with probability at most alpha.

Rules are checked when a batch is done, but at every single permutation in it: the result does not depend on batches.

References: Besag & Clifford (1991), Sequential Monte Carlo p-values; Fischer & Ramdas (2025), Sequential Monte Carlo
testing by betting; Ville (1939).
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxmem.inference.pvalues import check_defined, check_level, tolerance
from jaxmem.inputs import as_number

__all__ = ["BesagClifford", "Betting", "Course", "Outcome", "Rule"]


@dataclass(frozen=True)
class BesagClifford:
    """Stop once `n_extreme` permuted statistics were at least as extreme as the observed one.

    The p-value is `n_extreme / b` where that happened at permutation b, else `(1 + C) / (1 + B)` after all B. The test
    is exact, as without stopping; where it stops, the p-value's standard error is about itself over `sqrt(n_extreme)`.

    Args:
        n_extreme: h >= 1. With h >= alpha (B + 1), every decision at level alpha is that of all B permutations; a
            smaller h ends sooner and loses a little power.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> y = np.tile([0, 1], 20)  # Nothing to do with the features.
        >>> early = jm.permutation_test(jm.Ridge(), X, y, validation=jm.KFold(4), stopping=jm.BesagClifford(10))
        >>> len(early.null_distribution) < 9_999, early.pvalue > 0.05
        (True, True)
    """

    n_extreme: int = 10

    def __post_init__(self) -> None:
        """Check the hyperparameter."""
        object.__setattr__(self, "n_extreme", as_number(self.n_extreme, "n_extreme"))

    def stops(self, n_extreme: Int[np.ndarray, " b"], n_permutations: Int[np.ndarray, " b"]) -> Bool[np.ndarray, " b"]:
        """Where the rule is satisfied, by how many were extreme of how many so far."""
        del n_permutations
        return n_extreme >= self.n_extreme

    def pvalue(self, n_extreme: Int[np.ndarray, " b"]) -> float:
        """p-value after permutations 1 .. b; `n_extreme` counts up to each of them."""
        b, count = len(n_extreme), int(n_extreme[-1])
        return count / b if count >= self.n_extreme else (1 + count) / (1 + b)

    def min_pvalue(self, n_permutations: int) -> float:
        """The smallest p-value that so many permutations can give."""
        return 1 / (1 + n_permutations)

    def check(self, n_permutations: int) -> None:
        """So many permutations serve the rule; any number does."""

    def for_one_tail(self) -> "BesagClifford":
        """The rule for each tail of a two-sided test."""
        return self


@dataclass(frozen=True)
class Betting:
    """Decide at level alpha by betting, with the binomial mixture strategy of Fischer & Ramdas.

    After b permutations, C of them at least as extreme, a stake of one has become

        wealth(C, b) = P(Binomial(b + 1, c) > C) / c,

    the mixture over p from 0 to c of betting as if the p-value were p. The test rejects where the wealth reaches
    `1 / alpha`, and gives up where it falls below `futility`. The p-value is one over the largest wealth so far: valid
    at any time, at most alpha if and only if the test rejects, and never below c: a decision at alpha, and no more.

    Args:
        alpha: level in (0, 1).
        share: c as a share of alpha, in (0, 1). Close to one, p-values near alpha are decided too, but later.
        futility: wealth below which the test ends without rejecting, in [0, 1); 0: never, but for lack of permutations.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> early = jm.permutation_test(jm.Ridge(), X, y, validation=jm.KFold(4), stopping=jm.Betting(alpha=0.05))
        >>> len(early.null_distribution), early.pvalue <= 0.05
        (50, True)
    """

    alpha: float = 0.05
    share: float = 0.9
    futility: float = 0.01

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        for name in ("alpha", "share", "futility"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
                raise ValueError(f"{name} must be a number, but is {value!r}.")
            object.__setattr__(self, name, float(value))
        check_level(self.alpha, "alpha")
        check_level(self.share, "share")
        if not 0 <= self.futility < 1:
            raise ValueError(f"futility must lie in [0, 1), but is {self.futility!r}.")

    def wealth(
        self, n_extreme: Int[np.ndarray, " b"], n_permutations: Int[np.ndarray, " b"]
    ) -> Float[np.ndarray, " b"]:
        """What a stake of one has become, by how many were extreme of how many so far."""
        from scipy.special import bdtrc

        c = self.share * self.alpha
        return bdtrc(n_extreme.astype(float), n_permutations + 1, c) / c

    def stops(self, n_extreme: Int[np.ndarray, " b"], n_permutations: Int[np.ndarray, " b"]) -> Bool[np.ndarray, " b"]:
        """Where the rule is satisfied, by how many were extreme of how many so far."""
        wealth = self.wealth(n_extreme, n_permutations)
        return (wealth >= 1 / self.alpha) | (wealth < self.futility)

    def pvalue(self, n_extreme: Int[np.ndarray, " b"]) -> float:
        """p-value after permutations 1 .. b; `n_extreme` counts up to each of them."""
        return min(1.0, 1 / float(self.wealth(n_extreme, np.arange(1, len(n_extreme) + 1)).max()))

    def min_pvalue(self, n_permutations: int) -> float:
        """The smallest p-value that so many permutations can give: that of the first rejection, if they suffice."""
        n_permutations = min(n_permutations, self._first_rejection())
        return min(1.0, 1 / float(self.wealth(np.array([0]), np.array([n_permutations]))[0]))

    def check(self, n_permutations: int) -> None:
        """Refuse a number of permutations with which the test could never reject.

        Raises:
            ValueError: too few; the message says how many it takes.
        """
        if n_permutations < (needed := self._first_rejection()):
            raise ValueError(
                f"Betting at level {self.alpha:g} cannot reject with {n_permutations} permutations: it takes at least "
                f"n_permutations={needed}."
            )

    def _first_rejection(self) -> int:
        """Permutation at which the test rejects if none is extreme: where `1 - (1 - c)^(b + 1)` reaches the share."""
        nearly = math.floor(math.log(1 - self.share) / math.log1p(-self.share * self.alpha)) - 2
        around = np.maximum(np.arange(nearly, nearly + 5), 1)
        return int(around[self.wealth(np.zeros_like(around), around) >= 1 / self.alpha][0])

    def for_one_tail(self) -> "Betting":
        """The rule for each tail of a two-sided test."""
        return replace(self, alpha=self.alpha / 2)


Rule = BesagClifford | Betting


class Outcome(NamedTuple):
    """How a test under a rule ended.

    Attributes:
        n_permutations: how many it took.
        pvalue: valid although it was looked at all along.
    """

    n_permutations: int
    pvalue: float


class Course:
    """A test under way: takes the permuted statistics as they come, and says when there are enough.

    Args:
        rule: when to stop. A two-sided test follows each tail by the rule, until both are done.
        alternative: "greater", "less" or "two-sided".
        rounding: up to which relative difference two statistics count as tied.

    Example:
        >>> import numpy as np
        >>> from jaxmem.inference import BesagClifford, Course
        >>> course = Course(BesagClifford(2), "greater", rounding=0.0)
        >>> course.enough(np.array([0.5, 0.6, 0.1]))
        False
        >>> course.enough(np.array([0.7]))
        True
        >>> course.outcome().n_permutations
        3
    """

    def __init__(self, rule: Rule, alternative: str, rounding: float) -> None:
        self._signs = {"greater": (1,), "less": (-1,), "two-sided": (1, -1)}[alternative]
        self._rule = rule.for_one_tail() if len(self._signs) > 1 else rule
        self._rounding = rounding
        self._statistic = np.nan
        # By tail: how many were extreme up to every permutation, in pieces, and where the rule was satisfied.
        self._counts: list[list[Int[np.ndarray, " b"]]] = [[] for _ in self._signs]
        self._done = 0
        self._ends: list[int | None] = [None for _ in self._signs]

    def enough(self, scores: Float[np.ndarray, "b ..."]) -> bool:
        """Take the next statistics, the observed one first of all; whether the test is over.

        Raises:
            ValueError: a statistic is NaN, or there are several per labelling.
        """
        if scores.ndim > 1:
            raise ValueError("a stopping rule follows one score: give the classifier one value per hyperparameter.")
        check_defined(scores)
        if np.isnan(self._statistic):
            self._statistic, scores = scores[0], scores[1:]
        nearby = tolerance(np.asarray(self._statistic), self._rounding)
        for tail, (sign, counts) in enumerate(zip(self._signs, self._counts, strict=True)):
            if self._ends[tail] is None and scores.size:
                extreme = sign * scores >= sign * self._statistic - nearby
                counts.append(np.cumsum(extreme) + (counts[-1][-1] if counts else 0))
                (stops,) = np.nonzero(self._rule.stops(counts[-1], self._done + 1 + np.arange(scores.size)))
                self._ends[tail] = self._done + int(stops[0]) + 1 if stops.size else None
        self._done += scores.size
        return None not in self._ends

    def outcome(self) -> Outcome:
        """Where the test ended and with which p-value."""
        counts = [np.concatenate(counts)[:end] for counts, end in zip(self._counts, self._ends, strict=True)]
        smallest = min(map(self._rule.pvalue, counts))
        return Outcome(max(map(len, counts)), min(1.0, len(counts) * smallest))
