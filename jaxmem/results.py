"""What the tests return: plain frozen records of arrays, which save to one file and load without running any code."""

import json
import os
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from jaxmem.permutations import shuffles

if TYPE_CHECKING:
    import xarray

__all__ = ["MemorizationTest", "PermutationTest", "load"]

FORMAT = 1


@dataclass(frozen=True, eq=False)
class _Result:
    """What every result knows of how it came about.

    Attributes:
        classifier: the shallow classifier, as it prints.
        y: codes of the observed labels, shape (n,): positions in `classes`.
        classes: the sorted classes, shape (C,).
        key_data: the raw data of the JAX key beneath the permutations.
    """

    classifier: str
    y: Integer[np.ndarray, " n"]
    classes: np.ndarray
    key_data: Integer[np.ndarray, " words"]

    def labels(self, index: int) -> np.ndarray:
        """Labels under permutation number `index`, shape (n,); index 0 is the observed labelling.

        `null_distribution[b - 1]` belongs to `labels(b)`.
        """
        if index < 0:
            raise ValueError(f"index must be >= 0 (0 is the observed labelling), but is {index}.")
        stream = shuffles(jax.random.wrap_key_data(jnp.asarray(self.key_data)), len(self.y))
        return self.classes[np.asarray(stream.labels(jnp.asarray(self.y), index))]

    def save(self, path: str | os.PathLike) -> None:
        """Write the result to `path` as an .npz archive; all of it or nothing."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        rest = {name: value for name, value in values.items() if name not in arrays}
        header = json.dumps({"jaxmem": FORMAT, "type": type(self).__name__, **rest})
        path = Path(path)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            try:
                np.savez(file, **{_HEADER: np.array(header)}, **arrays)  # pyright: ignore[reportArgumentType]
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise


_HEADER = "__jaxmem__"


@dataclass(frozen=True, eq=False)
class PermutationTest(_Result):
    """Result of `permutation_test`.

    Attributes:
        statistic: the score on the observed labels.
        pvalue: `(1 + C) / (1 + B)`; see `jaxmem.inference.pvalue`.
        null_distribution: the scores under the permutations 1 .. B, shape (B,).
        alternative: "greater", "less" or "two-sided".
        metric: what is scored.
    """

    statistic: float
    pvalue: float
    null_distribution: Float[np.ndarray, " B"]
    alternative: str
    metric: str

    def __repr__(self) -> str:
        """The numbers that one looks for, in a short block."""
        null = self.null_distribution
        return (
            f"PermutationTest({self.classifier}, {self.metric})\n"
            f"  statistic {self.statistic:.4f}   null {null.mean():.4f} ± {null.std():.4f} (B = {null.size})\n"
            f"  p = {self.pvalue:.4g} ({self.alternative})"
        )


@dataclass(frozen=True, eq=False)
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

        An untrained network and the raw inputs have one above zero too: compare with theirs.
        """
        chance = self.chance
        return float(self.null_distribution.mean() - chance) / (1 - chance)

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


def load(path: str | os.PathLike) -> Any:
    """Read a result that `save` wrote; no code in the file is run.

    Raises:
        ValueError: not such a file, or one of a newer version of jaxmem.
    """
    types = {kind.__name__: kind for kind in (PermutationTest, MemorizationTest)}
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        header = json.loads(str(arrays.pop(_HEADER)))
        version, kind = header.pop("jaxmem"), types[header.pop("type")]
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is no result that jaxmem saved: {error!r}.") from error
    if version > FORMAT:
        raise ValueError(f"{path} has format {version}, but this jaxmem reads up to {FORMAT}: upgrade jaxmem.")
    return kind(**arrays, **header)
