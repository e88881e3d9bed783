"""What the tests return: plain frozen records of arrays, which save to one file and load without running any code."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Key

from jaxmem.inference import BesagClifford, Betting, Rule, confidence_interval, mid_pvalue, pvalue
from jaxmem.inputs import as_number
from jaxmem.permutations import Stream, plan

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = ["MemorizationTest", "PermutationTest", "PermutationTests", "as_saved", "key_fields", "load"]

FORMAT = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class _Result:
    """What every result knows of how it came about.

    Attributes:
        classifier: the shallow classifier, as it prints.
        y: codes of the observed labels, shape (n,): positions in `classes`.
        classes: the sorted classes, shape (C,).
        key_data: the raw data of the JAX key beneath the permutations.
        key_impl: the kind of key, as JAX names it.
        scheme: "free", "within" or "whole".
        blocks: the block of each row, shape (n,); None for the free scheme.
        n_permutations: how many permutations were asked for.
        exact: whether the null holds every distinct labelling once; there are then no more than `n_permutations`.
        diagnostics: what an iterative classifier says of its fits, by name ("converged", ...); shape (B + 1,), the
            observed fit first. Empty for classifiers in closed form.
    """

    classifier: str
    y: Integer[np.ndarray, " n"]
    classes: np.ndarray
    key_data: Integer[np.ndarray, " words"]
    key_impl: str
    n_permutations: int
    scheme: str = "free"
    blocks: np.ndarray | None = None
    exact: bool = False
    diagnostics: dict[str, np.ndarray] = field(default_factory=dict)

    def labels(self, index: int) -> np.ndarray:
        """Labels under permutation number `index`, shape (n,); index 0 is the observed labelling.

        `null_distribution[b - 1]` belongs to `labels(b)`.
        """
        if index < 0:
            raise ValueError(f"index must be >= 0 (0 is the observed labelling), but is {index}.")
        key = jax.random.wrap_key_data(jnp.asarray(self.key_data), impl=self.key_impl)
        stream, _, _ = plan(key, self.y, scheme=self.scheme, blocks=self.blocks, n_permutations=self.n_permutations)
        return self.classes[np.asarray(_labels(stream, jnp.asarray(self.y), index))]

    def save(self, path: str | os.PathLike) -> None:
        """Write the result to `path` as an .npz archive; all of it or nothing."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "up_to"}
        diagnostics = values.pop("diagnostics")
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        arrays |= {_DIAGNOSTIC + name: value for name, value in diagnostics.items()}
        rest = {name: value for name, value in values.items() if name not in arrays}
        if (rule := rest.get("stopping")) is not None:
            rest["stopping"] = {"rule": type(rule).__name__, **asdict(rule)}
        header = json.dumps({"jaxmem": FORMAT, "type": type(self).__name__, **rest})
        path = Path(path)
        # Under a name of its own until it is whole; opened plainly, for a file as readable as any other.
        workshop = path.with_name(f".{path.name}-{os.getpid()}")
        try:
            with open(workshop, "xb") as file:
                np.savez(file, **{_HEADER: np.array(header)}, **arrays)  # pyright: ignore[reportArgumentType]
                file.flush()
                os.fsync(file.fileno())
            workshop.replace(path)
        except BaseException:
            workshop.unlink(missing_ok=True)
            raise


@jax.jit
def _labels(stream: Stream, y: Array, index: Any) -> Array:
    return stream.labels(y, index)


_HEADER = "__jaxmem__"
_DIAGNOSTIC = "diagnostics/"


@dataclass(frozen=True, eq=False, kw_only=True)
class PermutationTest(_Result):
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

        The result keeps the features for that, until it is garbage; `save` leaves them out. A null that grows until its
        p-value pleases gives no valid p-value: decide on the number before looking, or report the interval.

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
                "a result that was loaded or pickled has no features to fit: call jm.permutation_test again with the "
                f"same arguments and n_permutations={total}; its first {self.n_permutations} permutations are these."
            )
        return self.up_to(total, self)

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

        NaN where the null does not vary.
        """
        return self._each(_zscore)

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

    def __repr__(self) -> str:
        """The numbers that one looks for, in a short block."""
        null = np.atleast_2d(self.null_distribution.T)
        lines = [f"PermutationTest({self.classifier}, {self.metric})"]
        for observed, permuted, p in zip(np.ravel(self.statistic), null, np.ravel(self.pvalue), strict=True):
            spread = f"{permuted.mean():.4f} ± {permuted.std():.4f} (B = {permuted.size})"
            lines.append(f"  statistic {observed:.4f}   null {spread}")
            lines.append(f"  p = {p:.4g} ({self.alternative}{', every labelling' if self.exact else ''})")
        if self.stopping is not None:
            lines.append(f"  {self.stopping!r}: {len(self.null_distribution)} of {self.n_permutations} permutations")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False, kw_only=True)
class PermutationTests(_Result):
    """Result of `permutation_tests`: a family of tests of the same labels under the same permutations.

    Attributes:
        names: the tests' names, shape (T,); all other arrays of that shape are in this order.
        statistic: scores on the observed labels, shape (T,).
        pvalue: of every test on its own, shape (T,).
        pvalue_adjusted: adjusted for there being T of them, shape (T,).
        null_distribution: scores under the permutations 1 .. B, shape (B, T).
        null_max: largest statistic of the family under permutations 1 .. B, shape (B,), on the scale that was compared
            (studentised, or minus a p-value); None for corrections that use p-values alone.
        correction: as asked for.
        studentize: whether scores were studentised before they were compared.
        alternative: "greater", "less" or "two-sided".
        metric: what is scored.
        alpha: the level of `rejected`.
    """

    names: np.ndarray
    statistic: Float[np.ndarray, " T"]
    pvalue: Float[np.ndarray, " T"]
    pvalue_adjusted: Float[np.ndarray, " T"]
    null_distribution: Float[np.ndarray, "B T"]
    null_max: Float[np.ndarray, " B"] | None
    correction: str
    studentize: bool
    alternative: str
    metric: str
    alpha: float

    @property
    def zscore(self) -> Float[np.ndarray, " T"]:
        """Distance of every statistic from its null's mean, in the null's standard deviations; NaN where constant."""
        return np.array([_zscore(s, null) for s, null in zip(self.statistic, self.null_distribution.T, strict=True)])

    @property
    def rejected(self) -> np.ndarray:
        """Which hypotheses fall at level `alpha`, shape (T,)."""
        return self.pvalue_adjusted <= self.alpha

    def to_dataframe(self) -> "pandas.DataFrame":
        """One row per test, by name."""
        import pandas

        null = self.null_distribution
        columns = {
            "statistic": self.statistic,
            "null_mean": null.mean(axis=0),
            "null_std": null.std(axis=0),
            **{name: getattr(self, name) for name in ("zscore", "pvalue", "pvalue_adjusted", "rejected")},
        }
        return pandas.DataFrame(columns, pandas.Index(self.names, name="test"))

    def __repr__(self) -> str:
        """One line per test."""
        width = max(map(len, self.names))
        lines = [
            f"PermutationTests({self.classifier}, {self.metric}, {self.correction}"
            f"{', studentized' if self.studentize else ''}, B = {len(self.null_distribution)})"
        ]
        means = self.null_distribution.mean(axis=0)
        columns = self.names, self.statistic, means, self.pvalue, self.pvalue_adjusted, self.rejected
        for name, statistic, mean, p, adjusted, rejected in zip(*columns, strict=True):
            scores = f"statistic {statistic:.4f}   null {mean:.4f}"
            mark = " *" if rejected else ""
            lines.append(f"  {name:<{width}}  {scores}   p = {p:.4g}   adjusted {adjusted:.4g}{mark}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False, kw_only=True)
class MemorizationTest(_Result):
    """Result of `memorization_test`: one fit per permutation, scored three ways (accuracy).

    Attributes:
        statistic: accuracy of the observed fit on the perturbed copies, with the labels of their sources.
        null_distribution: the paired null: permutation b fitted, and scored with the same permutation; shape (B,).
        chance_distribution: the broken null: the same fits scored with an independent shuffle; shape (B,).
        test_statistic: accuracy of the observed fit on the independent test rows; None without them.
        test_null_distribution: the shuffled fits on the true labels of the test rows; shape (B,) or None.
        example_scores: share of the permutations in which a copy's shuffled label was recovered, per row; shape (m,).
        learning_pvalue: p-value of the observed score within the paired null.
    """

    statistic: float
    null_distribution: Float[np.ndarray, " B"]
    chance_distribution: Float[np.ndarray, " B"]
    test_statistic: float | None
    test_null_distribution: Float[np.ndarray, " B"] | None
    example_scores: Float[np.ndarray, " m"]
    learning_pvalue: float

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
        return float(self.null_distribution.mean() - chance) / (1 - chance) if chance < 1 else float("nan")

    @property
    def learning(self) -> float:
        """Learning index `(s - m) / (1 - m)`: how far the score s lies from the paired null's mean m to perfect.

        NaN where the paired null is perfect: nothing is left to learn beyond what is memorized.
        """
        null = float(self.null_distribution.mean())
        return (self.statistic - null) / (1 - null) if null < 1 else float("nan")

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
            f"memorization index {self.memorization:.3f}"
        )

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
            "example_scores": ("example", self.example_scores),
        }
        if self.test_statistic is not None:
            values["test_observed"] = ((), self.test_statistic)
            values["test_null"] = ("permutation", self.test_null_distribution)
        return xarray.Dataset(values, {"permutation": np.arange(1, self.null_distribution.size + 1)})


def _zscore(statistic: float, null: Float[np.ndarray, " B"]) -> float:
    # A constant null may have a standard deviation of rounding errors.
    return float((statistic - null.mean()) / null.std()) if np.ptp(null) > 0 else float("nan")


def load(path: str | os.PathLike) -> Any:
    """Read a result that `save` wrote; no code in the file is run.

    Raises:
        ValueError: not such a file, or one of a newer version of jaxmem.
    """
    types = {kind.__name__: kind for kind in (PermutationTest, PermutationTests, MemorizationTest)}
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive)
            header = json.loads(str(arrays.pop(_HEADER)))
            version = header.pop("jaxmem")
            if version <= FORMAT:
                kind = types[header.pop("type")]
                if (rule := header.get("stopping")) is not None:
                    rules = {rule.__name__: rule for rule in (BesagClifford, Betting)}
                    header["stopping"] = rules[rule.pop("rule")](**rule)
                names = [name for name in arrays if name.startswith(_DIAGNOSTIC)]
                diagnostics = {name.removeprefix(_DIAGNOSTIC): arrays.pop(name) for name in names}
                return kind(**arrays, **header, diagnostics=diagnostics)
        except Exception as error:
            raise ValueError(f"{path} is no result that jaxmem saved: {error!r}.") from error
    raise ValueError(f"{path} has format {version}, but this jaxmem reads up to {FORMAT}: upgrade jaxmem.")


def key_fields(key: Key[Array, ""]) -> dict[str, Any]:
    """A key as the fields of a result that keep it."""
    return {"key_data": np.asarray(jax.random.key_data(key)), "key_impl": str(jax.random.key_impl(key))}


def as_saved(blocks: Any) -> np.ndarray | None:
    """Blocks as a result keeps them: as strings where they are objects, for it must load without unpickling."""
    if blocks is None:
        return None
    blocks = np.asarray(blocks)
    return blocks.astype(str) if blocks.dtype == object else blocks
