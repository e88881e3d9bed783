"""What every result knows of how it came about, and how results are written to one file."""

import os
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer, Key

from jaxmem.archives import write_archive
from jaxmem.permutations import Stream, plan

__all__ = ["DIAGNOSTIC", "FORMAT", "Result", "Saved", "as_saved", "decimals", "key_fields"]

FORMAT = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Saved:
    """A record of arrays and plain values that is written to one file; `jaxmem.load` reads it back."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to `path` as an .npz archive; all of it or nothing."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "up_to"}
        diagnostics = values.pop("diagnostics", {})
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        arrays |= {DIAGNOSTIC + name: value for name, value in diagnostics.items()}
        rest = {name: value for name, value in values.items() if name not in arrays}
        if (rule := rest.get("stopping")) is not None:
            rest["stopping"] = {"rule": type(rule).__name__, **asdict(rule)}
        write_archive(path, arrays, {"jaxmem": FORMAT, "type": type(self).__name__, **rest})


@dataclass(frozen=True, eq=False, kw_only=True)
class Result(Saved):
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


@jax.jit
def _labels(stream: Stream, y: Array, index: Any) -> Array:
    return stream.labels(y, index)


DIAGNOSTIC = "diagnostics/"


def key_fields(key: Key[Array, ""]) -> dict[str, Any]:
    """A key as the fields of a result that keep it."""
    return {"key_data": np.asarray(jax.random.key_data(key)), "key_impl": str(jax.random.key_impl(key))}


def as_saved(blocks: Any) -> np.ndarray | None:
    """Blocks as a result keeps them: as strings where they are objects, for it must load without unpickling."""
    if blocks is None:
        return None
    blocks = np.asarray(blocks)
    return blocks.astype(str) if blocks.dtype == object else blocks


def decimals(*scores: float) -> list[str]:
    """Scores of one scale as they print: with four decimals, or with four digits where decimals would hide them all."""
    form = ".4g" if 0 < max(map(abs, scores)) < 0.01 else ".4f"
    return [format(score, form) for score in scores]
