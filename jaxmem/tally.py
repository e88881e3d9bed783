"""What is known of the permutations so far, put together as batches of them come in."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

__all__ = ["Done", "Tally"]


class Done(NamedTuple):
    """What is known of permutations 0 .. n - 1, or of as many from another one on.

    Attributes:
        n_labellings: n, how many they are; number 0 is the observed labelling.
        scores: by validation, by kind of labels ("paired", "broken"), one number each (or one per hyperparameter).
        recovered: by validation, in how many permutations, but for number 0, a row's label was predicted; shape (m,).
            Empty unless asked for.
        diagnostics: by name, what an iterative classifier says of its fits.
    """

    n_labellings: int
    scores: dict[Any, dict[str, Float[np.ndarray, "n ..."]]]
    recovered: dict[Any, Int[np.ndarray, " m"]]
    diagnostics: dict[str, np.ndarray]


class Tally:
    """Adds batches up to a total.

    Args:
        total: how many permutations there will be at most, the observed one included.
        done: what is known already.

    Attributes:
        done: what is known by now. It is replaced as a whole, so that an interrupt finds all of a batch in it or
            nothing.
    """

    def __init__(self, total: int, done: Done | None = None) -> None:
        self.done = Done(0, {}, {}, {})
        self._total = total
        self._rows: Any = None
        if done is not None:
            self.add(0, done)

    def add(self, start: int, batch: Done) -> None:
        """Add permutations `start .. start + batch.n_labellings - 1`; once, however often it is said.

        Raises:
            RuntimeError: they do not follow on what is known. Part of a batch cannot be added, for it has but one count
                of what it recovered.
        """
        known, end = self.done.n_labellings, start + batch.n_labellings
        if end <= known:
            return
        if start != known:
            raise RuntimeError(f"permutations {start} .. {end - 1} do not follow on the {known} that are known.")
        new = batch.scores, batch.diagnostics
        if self._rows is None:
            self._rows = jax.tree.map(lambda a: np.empty((self._total, *a.shape[1:]), a.dtype), new)
        jax.tree.map(lambda rows, part: rows.__setitem__(slice(start, end), part), self._rows, new)
        scores, diagnostics = jax.tree.map(lambda rows: rows[:end], self._rows)
        recovered = {name: counts + self.done.recovered.get(name, 0) for name, counts in batch.recovered.items()}
        self.done = Done(end, scores, recovered, diagnostics)
