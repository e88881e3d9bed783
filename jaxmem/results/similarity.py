"""Results of the tests of similarity."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Integer

from jaxmem.inference import Estimate, difference_of_pairs, of_pairs
from jaxmem.inputs import one_of
from jaxmem.permutations import plan
from jaxmem.results.base import Saved
from jaxmem.results.html import facts, histogram, listing

if TYPE_CHECKING:
    import pandas

__all__ = ["GroupSimilarityTest", "SimilarityTest", "SimilarityTests"]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Permuted(Saved):
    """What tests of one hypothesis have in common.

    Attributes:
        statistic: the observed one.
        pvalue: `(1 + C) / (1 + B)`.
        null_distribution: the statistics under the permutations 1 .. B, shape (B,).
        alternative: "greater", "less" or "two-sided".
        key_data: the raw data of the JAX key beneath the permutations.
        key_impl: the kind of key, as JAX names it.
        n_permutations: how many permutations were asked for.
        exact: whether the null holds every distinct labelling once; there are then no more than `n_permutations`.
    """

    statistic: float
    pvalue: float
    null_distribution: Float[np.ndarray, " B"]
    alternative: str
    key_data: Integer[np.ndarray, " words"]
    key_impl: str
    n_permutations: int
    exact: bool

    @property
    def zscore(self) -> float:
        """Distance of the statistic from the null's mean, in the null's standard deviations; NaN where constant."""
        null = self.null_distribution
        return float((self.statistic - null.mean()) / null.std()) if np.ptp(null) > 0 else float("nan")

    def _tested(self) -> str:
        null = self.null_distribution
        drawn = "every labelling" if self.exact else f"B = {null.size}"
        return f"  null {null.mean():.4f} ± {null.std():.4f} ({drawn})\n  p = {self.pvalue:.4g} ({self.alternative})"

    def _as_html(self, title: str, rows: list[tuple[str, str]]) -> str:
        null = self.null_distribution
        drawn = "every labelling" if self.exact else f"B = {null.size}"
        tested = [
            ("null", f"{null.mean():.4f} ± {null.std():.4f} ({drawn})"),
            ("p-value", f"{self.pvalue:.4g} ({self.alternative})"),
        ]
        return facts(title, [*rows, *tested], histogram(null, self.statistic))


@dataclass(frozen=True, eq=False, kw_only=True)
class SimilarityTest(_Permuted):
    """Result of `similarity_test`: are two networks more alike than with their rows matched at random?

    Attributes:
        measure: what is compared, as it prints. `statistic` is in its range.
        n_rows: on how many rows.

    The statistic, its p-value and null, the key and the number of permutations are as in `PermutationTest`.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> test = jm.similarity_test(X, X[:, ::-1], n_permutations=99)
        >>> test.excess > 0.9, test.permutation(1).shape
        (True, (40,))
    """

    measure: str
    n_rows: int

    @property
    def excess(self) -> float:
        """The similarity with the null's mean taken off: 0 on average for networks that have nothing in common."""
        return self.statistic - float(self.null_distribution.mean())

    def permutation(self, index: int) -> Integer[np.ndarray, " n"]:
        """Which row of the second network stood beside each row of the first under permutation `index`; 0: its own."""
        key = jax.random.wrap_key_data(jnp.asarray(self.key_data), impl=self.key_impl)
        planned = plan(key, np.arange(self.n_rows), n_permutations=self.n_permutations)
        return np.asarray(planned.stream.permutation(index))

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        rows = [("similarity", f"{self.statistic:.4f}"), ("beyond the null's mean", f"{self.excess:.4f}")]
        return self._as_html(f"SimilarityTest: {self.measure}, {self.n_rows} rows", rows)

    def __repr__(self) -> str:
        """The numbers that one looks for, in a short block."""
        return (
            f"SimilarityTest({self.measure}, {self.n_rows} rows)\n"
            f"  similarity {self.statistic:.4f}   beyond the null's mean {self.excess:.4f}\n{self._tested()}"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class GroupSimilarityTest(_Permuted):
    """Result of `group_similarity_test`: are the networks of one group more alike than those of another?

    `statistic` is the mean similarity within the first group minus that within the second.

    Attributes:
        first, second: names of the groups.
        similarities: of the networks of both groups, shape (N, N).
        in_first: which of them belong to the first group, shape (N,).

    The statistic, its p-value and null, the key and the number of permutations are as in `PermutationTest`.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> alike = np.full((10, 10), 0.2)
        >>> alike[:5, :5] = 0.8
        >>> test = jm.group_similarity_test(alike, ["true"] * 5 + ["random"] * 5, "true", "random")
        >>> round(test.within("true").value, 2), round(test.difference().value, 2)
        (0.8, 0.6)
    """

    first: str
    second: str
    similarities: Float[np.ndarray, "N N"]
    in_first: Bool[np.ndarray, " N"]

    def within(self, group: str | int, confidence_level: float = 0.95) -> Estimate:
        """Mean similarity within a group and its interval, by the jackknife over networks.

        Args:
            group: `first` or `second`, as they were given: groups that were numbers may be asked for by number.
            confidence_level: in (0, 1).

        Raises:
            ValueError: no such group, or a level out of (0, 1).
        """
        group = one_of(str(group), (self.first, self.second), "group")
        members = self.in_first if group == self.first else ~self.in_first
        return of_pairs(self.similarities[np.ix_(members, members)], confidence_level)

    def difference(self, confidence_level: float = 0.95) -> Estimate:
        """The statistic and its interval, by the jackknife over the networks of both groups (Welch's t).

        Raises:
            ValueError: a level out of (0, 1).
        """
        return difference_of_pairs(self.similarities, self.in_first, confidence_level)

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        rows = [(f"within {group}", f"{self.within(group):.4f}") for group in (self.first, self.second)]
        title = f"GroupSimilarityTest: {self.first} ({self.in_first.sum()}), {self.second} ({(~self.in_first).sum()})"
        return self._as_html(title, [*rows, ("difference", f"{self.difference():.4f}")])

    def __repr__(self) -> str:
        """The numbers that one looks for, in a short block."""
        groups = [f"  within {group}: {self.within(group):.4f}" for group in (self.first, self.second)]
        head = f"GroupSimilarityTest({self.first}: {self.in_first.sum()}, {self.second}: {(~self.in_first).sum()})"
        return "\n".join([head, *groups, f"  difference {self.difference():.4f}", self._tested()])


@dataclass(frozen=True, eq=False, kw_only=True)
class SimilarityTests(Saved):
    """Result of `similarity_tests` and `group_similarity_tests`: a family under the same permutations.

    Attributes:
        names: the tests' names, shape (T,); all other arrays of that shape are in this order.
        statistic: the observed ones, shape (T,).
        pvalue: of every test on its own, shape (T,).
        pvalue_adjusted: adjusted for there being T of them, shape (T,).
        null_distribution: the statistics under the permutations 1 .. B, shape (B, T).
        what: what the statistic is.
        correction: as asked for.
        alternative: "greater", "less" or "two-sided".
        alpha: the level of `rejected`.
        exact: whether the null holds every distinct labelling once.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> X, Z = np.random.default_rng(0).normal(size=(2, 40, 3))
        >>> jm.similarity_tests({"same": (X, X), "other": (X, Z)}, n_permutations=99).rejected
        array([ True, False])
    """

    names: np.ndarray
    statistic: Float[np.ndarray, " T"]
    pvalue: Float[np.ndarray, " T"]
    pvalue_adjusted: Float[np.ndarray, " T"]
    null_distribution: Float[np.ndarray, "B T"]
    what: str
    correction: str
    alternative: str
    alpha: float
    exact: bool

    @property
    def excess(self) -> Float[np.ndarray, " T"]:
        """The statistics with their null's means taken off."""
        return self.statistic - self.null_distribution.mean(axis=0)

    @property
    def rejected(self) -> np.ndarray:
        """Which hypotheses fall at level `alpha`, shape (T,)."""
        # A product of a p-value may miss the level that it equals by a rounding error.
        return self.pvalue_adjusted <= self.alpha * (1 + 1e-12)

    def to_dataframe(self) -> "pandas.DataFrame":
        """One row per test, by name."""
        import pandas

        names = ("statistic", "excess", "pvalue", "pvalue_adjusted", "rejected")
        columns = {name: getattr(self, name) for name in names}
        return pandas.DataFrame(columns, pandas.Index(self.names, name="test"))

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        drawn = "every labelling" if self.exact else f"B = {len(self.null_distribution)}"
        columns = self.names, self.statistic, self.excess, self.pvalue, self.pvalue_adjusted
        rows = [
            (str(name), f"{statistic:.4f}", f"{excess:.4f}", f"{p:.4g}", f"{adjusted:.4g}")
            for name, statistic, excess, p, adjusted in zip(*columns, strict=True)
        ]
        names = ("test", "statistic", "beyond the null's mean", "p-value", "adjusted")
        title = f"SimilarityTests: {self.what}, {self.correction}, {drawn}"
        return listing(title, names, rows, self.rejected.tolist(), self.alpha)

    def __repr__(self) -> str:
        """One line per test."""
        width = max(map(len, self.names))
        drawn = "every labelling" if self.exact else f"B = {len(self.null_distribution)}"
        lines = [f"SimilarityTests({self.what}, {self.correction}, {drawn})"]
        columns = self.names, self.statistic, self.excess, self.pvalue, self.pvalue_adjusted, self.rejected
        for name, statistic, excess, p, adjusted, rejected in zip(*columns, strict=True):
            mark = " *" if rejected else ""
            lines.append(
                f"  {name:<{width}}  {statistic:.4f}   beyond the null's mean {excess:.4f}   p = {p:.4g}   "
                f"adjusted {adjusted:.4g}{mark}"
            )
        return "\n".join(lines)
