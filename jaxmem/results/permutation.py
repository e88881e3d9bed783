"""Results of `permutation_test` and `permutation_tests`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from jaxmem.inference import (
    Rule,
    TailFit,
    confidence_interval,
    mid_pvalue,
    of_means,
    pvalue,
    quantile_interval,
    tail_pvalue,
)
from jaxmem.inputs import as_number
from jaxmem.results.base import Result, decimals
from jaxmem.results.html import facts, histogram, listing

if TYPE_CHECKING:
    import pandas

__all__ = ["PermutationTest", "PermutationTests"]


_BLIND = "the same for all labels: the classifier tells nothing from these features, or recovers whatever labels"


@dataclass(frozen=True, eq=False, kw_only=True)
class PermutationTest(Result):
    """Result of `permutation_test`.

    Attributes:
        statistic: the score on the observed labels; shape (k,) where a hyperparameter has k values.
        pvalue: `(1 + C) / (1 + B)`; see `jaxmem.inference.pvalue`. One per value of a hyperparameter, unadjusted
            for there being several.
        null_distribution: the scores under the permutations 1 .. B, shape (B,) or (B, k).
        alternative: "greater", "less" or "two-sided".
        metric: what is scored.
        example_scores: share of the permutations in which a row's shuffled label was predicted, shape (m,), the rows in
            the order in which the design scores them; None unless asked for.
        rounding: up to which relative difference two scores counted as tied.
        stopping: the rule that ended the test, if there was one; the null then has as many permutations as it took.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> test = jm.permutation_test(jm.Ridge(), X, y, validation=jm.KFold(4), n_permutations=99)
        >>> low, high = test.confidence_interval()
        >>> low < test.pvalue < high, test.extend(100).pvalue < test.pvalue
        (True, True)
    """

    statistic: float | Float[np.ndarray, " k"]
    pvalue: float | Float[np.ndarray, " k"]
    null_distribution: Float[np.ndarray, "B ..."]
    alternative: str
    metric: str
    rounding: float = 0.0
    stopping: Rule | None = None
    example_scores: Float[np.ndarray, " m"] | None = None
    # The test itself, features and all, for `extend`; neither saved nor pickled.
    up_to: Callable[..., "PermutationTest"] | None = field(default=None, repr=False)

    def extend(self, n_permutations: int) -> "PermutationTest":
        """The same test with so many more permutations, the next ones by index: as if all had been asked for at once.

        The result keeps the features for that, until it is garbage; `save` leaves them out. The arrays of the design
        are the caller's own: do not change them in place. A null that grows until its p-value pleases gives no valid
        p-value: decide on the number before looking, or report the interval.

        Raises:
            ValueError: a stopping rule ended the test, every labelling has been taken already, the result was loaded
                from a file, or the number is no integer >= 1.
        """
        total = self.n_permutations + as_number(n_permutations, "n_permutations")
        if self.stopping is not None:
            raise ValueError(
                f"the test ended by its rule, {self.stopping!r}: permutations added after that look would make its "
                "p-value invalid. Ask for more from the beginning, or leave out stopping."
            )
        if self.exact:
            raise ValueError("the null holds every distinct labelling already: there is none to add.")
        if self.up_to is None:
            raise ValueError(
                "a result that was loaded, pickled or copied has no features: call jm.permutation_test again with "
                f"n_permutations={total} and all else the same; its first {self.n_permutations} permutations are these."
            )
        return self.up_to(total)

    def __getstate__(self) -> dict[str, Any]:
        """All but the features."""
        return {**vars(self), "up_to": None}

    @property
    def pvalue_method(self) -> str:
        """How `pvalue` came about."""
        if self.stopping is not None:
            return (
                f"{self.stopping!r}, {len(self.null_distribution)} of at most {self.n_permutations} random "
                "permutations, ties counted; valid although looked at all along"
            )
        what = "every labelling once" if self.exact else "random permutations"
        return f"(1 + C) / (1 + B), {what}, ties counted; Phipson & Smyth (2010)"

    @property
    def min_pvalue(self) -> float:
        """The smallest p-value that so many permutations can give."""
        sides, rule = 2 if self.alternative == "two-sided" else 1, self.stopping
        if rule is not None:
            rule = rule if sides == 1 else rule.for_one_tail()
            return min(1.0, sides * rule.min_pvalue(self.n_permutations))
        return min(1.0, sides / (1 + len(self.null_distribution)))

    @property
    def mid_pvalue(self) -> float | Float[np.ndarray, " k"]:
        """p-value with ties counted half (Lancaster 1961): less conservative, and NOT exact.

        Raises:
            ValueError: a stopping rule chose the number of permutations.
        """
        self._check_fixed("mid_pvalue")
        return self._each(lambda s, null: mid_pvalue(s, null, self.alternative, rounding=self.rounding))

    @property
    def zscore(self) -> float | Float[np.ndarray, " k"]:
        """Effect size: the statistic's distance from the null's mean, in the null's standard deviations.

        NaN where the null does not vary. Biased where a stopping rule ended the test: it ends on extreme permutations.
        """
        return self._each(_zscore)

    @property
    def selectivity(self) -> float | Float[np.ndarray, " k"]:
        """Effect size: the statistic minus the mean on random labels, the control task of Hewitt & Liang (2019).

        Biased where a stopping rule ended the test, as `zscore` is.
        """
        return self._each(lambda s, null: s - null.mean())

    def null_interval(self, q: float | None = None, confidence_level: float = 0.95) -> tuple[Any, Any]:
        """Interval for the mean, or the q-quantile, of the null that all permutations would give.

        Args:
            q: in (0, 1); None: the mean.
            confidence_level: in (0, 1).

        Raises:
            ValueError: a stopping rule chose the number of permutations, or an argument is out of range.
        """
        self._check_fixed("null_interval")

        def interval(null: np.ndarray) -> tuple[float, float]:
            if self.exact:
                point = float(null.mean() if q is None else np.quantile(null, q))
                return point, point
            if q is not None:
                return quantile_interval(null, q, confidence_level)
            mean = of_means(lambda m: m, null[:, None], confidence_level)
            return mean.low, mean.high

        return self._each(lambda _, null: interval(null)[0]), self._each(lambda _, null: interval(null)[1])

    def tail_pvalue(self) -> TailFit:
        """p-value from a generalised Pareto distribution fitted to the null's tail: for p-values below 1 / (B + 1).

        An estimate, and not exact; see `jaxmem.inference.tail_pvalue` for when it is the counted p-value instead.

        Raises:
            ValueError: a stopping rule chose the number of permutations, or there are several scores.
        """
        self._check_fixed("tail_pvalue")
        if np.ndim(self.statistic):
            raise ValueError("tail_pvalue is of one score: give the classifier one value per hyperparameter.")
        return tail_pvalue(float(self.statistic), self.null_distribution, self.alternative, rounding=self.rounding)

    def confidence_interval(
        self, confidence_level: float = 0.95, method: str = "clopper-pearson"
    ) -> tuple[float, float] | tuple[np.ndarray, np.ndarray]:
        """Interval for the p-value that all permutations would give; a point where they were all taken.

        Args:
            confidence_level: in (0, 1).
            method: "clopper-pearson" or "wilson"; see `jaxmem.inference.confidence_interval`.

        Raises:
            ValueError: a stopping rule chose the number of permutations, or an argument is out of range.
        """
        self._check_fixed("confidence_interval")
        B, sides = len(self.null_distribution), 2 if self.alternative == "two-sided" else 1

        def interval(statistic: float, null: np.ndarray) -> tuple[float, float]:
            tails = ("greater", "less") if sides == 2 else (self.alternative,)
            p = min(pvalue(statistic, null, tail, rounding=self.rounding) for tail in tails)
            if self.exact:
                return min(1.0, sides * p), min(1.0, sides * p)
            low, high = confidence_interval(round(p * (1 + B)) - 1, B, confidence_level, method)
            return min(1.0, sides * low), min(1.0, sides * high)

        return self._each(lambda s, null: interval(s, null)[0]), self._each(lambda s, null: interval(s, null)[1])

    def _check_fixed(self, what: str) -> None:
        if self.stopping is not None:
            raise ValueError(
                f"{what} is for a number of permutations fixed beforehand, but {self.stopping!r} chose it."
            )

    def _each(self, function: Any) -> Any:
        """A function of the statistic and its null, for every value of a hyperparameter."""
        nulls = np.atleast_2d(self.null_distribution.T)
        values = [function(s, null) for s, null in zip(np.ravel(self.statistic), nulls, strict=True)]
        return np.array(values) if np.ndim(self.statistic) else float(values[0])

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        null = np.atleast_2d(self.null_distribution.T)
        rows = []
        for observed, permuted, p in zip(np.ravel(self.statistic), null, np.ravel(self.pvalue), strict=True):
            score, mean, spread = decimals(observed, permuted.mean(), permuted.std())
            rows += [
                ("statistic", score),
                ("null", f"{mean} ± {spread} (B = {permuted.size})"),
                *([("no power", _BLIND)] if (permuted == observed).all() else []),
                ("p-value", f"{p:.4g} ({self.alternative}{', every labelling' if self.exact else ''})"),
            ]
        if self.stopping is not None:
            rows.append(("stopped by", f"{self.stopping!r}, of {self.n_permutations} permutations"))
        picture = histogram(null[0], float(np.ravel(self.statistic)[0])) if len(null) == 1 else ""
        return facts(f"PermutationTest: {self.classifier}, {self.metric}", rows, picture)

    def __repr__(self) -> str:
        """The numbers that one looks for, in a short block."""
        null = np.atleast_2d(self.null_distribution.T)
        lines = [f"PermutationTest({self.classifier}, {self.metric})"]
        for observed, permuted, p in zip(np.ravel(self.statistic), null, np.ravel(self.pvalue), strict=True):
            score, mean, spread = decimals(observed, permuted.mean(), permuted.std())
            lines.append(f"  statistic {score}   null {mean} ± {spread} (B = {permuted.size})")
            if (permuted == observed).all():
                lines.append(f"  {_BLIND}")
            lines.append(f"  p = {p:.4g} ({self.alternative}{', every labelling' if self.exact else ''})")
        if self.stopping is not None:
            lines.append(f"  {self.stopping!r}: {len(self.null_distribution)} of {self.n_permutations} permutations")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False, kw_only=True)
class PermutationTests(Result):
    """Result of `permutation_tests`: a family of tests of the same labels under the same permutations.

    Attributes:
        names: the tests' names, shape (T,); all other arrays of that shape are in this order.
        statistic: scores on the observed labels, shape (T,).
        pvalue: of every test on its own, shape (T,).
        pvalue_adjusted: adjusted for there being T of them, shape (T,).
        null_mean: means of the null distributions, shape (T,).
        null_std: their standard deviations, shape (T,); 0 where constant.
        null_distribution: scores under the permutations 1 .. B, shape (B, T); None with `keep_null=False`.
        null_max: largest statistic of the family under permutations 1 .. B, shape (B,), on the scale that was compared
            (studentised, or minus a p-value); None for corrections that use p-values alone.
        correction: as asked for.
        studentize: whether scores were studentised before they were compared.
        alternative: "greater", "less" or "two-sided".
        metric: what is scored.
        alpha: the level of `rejected`.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> layers = {"all": (X, X + 0.1), "first": (X[:, :1], X[:, :1] + 0.1)}
        >>> many = jm.permutation_tests(layers, y, n_permutations=99)
        >>> many.rejected
        array([ True,  True])
        >>> list(many.to_dataframe().index)
        ['all', 'first']
    """

    names: np.ndarray
    statistic: Float[np.ndarray, " T"]
    pvalue: Float[np.ndarray, " T"]
    pvalue_adjusted: Float[np.ndarray, " T"]
    null_mean: Float[np.ndarray, " T"]
    null_std: Float[np.ndarray, " T"]
    null_distribution: Float[np.ndarray, "B T"] | None
    null_max: Float[np.ndarray, " B"] | None
    correction: str
    studentize: bool
    alternative: str
    metric: str
    alpha: float

    @property
    def zscore(self) -> Float[np.ndarray, " T"]:
        """Distance of every statistic from its null's mean, in the null's standard deviations; NaN where constant."""
        varies = self.null_std > 0
        return np.where(varies, (self.statistic - self.null_mean) / np.where(varies, self.null_std, 1), np.nan)

    @property
    def rejected(self) -> np.ndarray:
        """Which hypotheses fall at level `alpha`, shape (T,)."""
        # A product of a p-value may miss the level that it equals by a rounding error.
        return self.pvalue_adjusted <= self.alpha * (1 + 1e-12)

    def to_dataframe(self) -> "pandas.DataFrame":
        """One row per test, by name."""
        import pandas

        names = ("statistic", "null_mean", "null_std", "zscore", "pvalue", "pvalue_adjusted", "rejected")
        columns = {name: getattr(self, name) for name in names}
        return pandas.DataFrame(columns, pandas.Index(self.names, name="test"))

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        drawn = "every labelling" if self.exact else f"B = {self.n_permutations}"
        columns = self.names, self.statistic, self.null_mean, self.pvalue, self.pvalue_adjusted
        rows = [
            (str(name), *decimals(statistic, mean), f"{p:.4g}", f"{adjusted:.4g}")
            for name, statistic, mean, p, adjusted in zip(*columns, strict=True)
        ]
        title = f"PermutationTests: {self.classifier}, {self.metric}, {self.correction}, {drawn}"
        return listing(
            title, ("test", "statistic", "null", "p-value", "adjusted"), rows, self.rejected.tolist(), self.alpha
        )

    def __repr__(self) -> str:
        """One line per test."""
        width = max(map(len, self.names))
        drawn = "every labelling" if self.exact else f"B = {self.n_permutations}"
        lines = [
            f"PermutationTests({self.classifier}, {self.metric}, {self.correction}"
            f"{', studentized' if self.studentize else ''}, {drawn})"
        ]
        columns = self.names, self.statistic, self.null_mean, self.pvalue, self.pvalue_adjusted, self.rejected
        for name, statistic, mean, p, adjusted, rejected in zip(*columns, strict=True):
            score, of_null = decimals(statistic, mean)
            scores = f"statistic {score}   null {of_null}"
            mark = " *" if rejected else ""
            lines.append(f"  {name:<{width}}  {scores}   p = {p:.4g}   adjusted {adjusted:.4g}{mark}")
        return "\n".join(lines)


def _zscore(statistic: float, null: Float[np.ndarray, " B"]) -> float:
    # A constant null may have a standard deviation of rounding errors.
    return float((statistic - null.mean()) / null.std()) if np.ptp(null) > 0 else float("nan")
