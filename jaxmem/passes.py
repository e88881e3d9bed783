"""One pass over permutations 0 .. B: their labels drawn, fitted and scored, a batch at a time.

A batch is launched in one call and finished in another, so that devices work while the host goes on.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.profiler import TraceAnnotation
from jax.sharding import Mesh
from jaxtyping import Array, Int, Integer, Key

from jaxmem.batches import BATCH_BYTES, batch_size_of
from jaxmem.devices import fetched, n_devices, n_parts, several_processes, shared_out
from jaxmem.fits import BlockwiseFit, Fit, HostFit, PreparedFit, Totals, worst
from jaxmem.metrics import Metric
from jaxmem.permutations import REMATCHINGS, Stream
from jaxmem.rematching import rematched_counts
from jaxmem.tally import Done

__all__ = ["Pass"]


class Pass(NamedTuple):
    """All that a pass over permutations 0 .. B goes through.

    Attributes:
        metric: what is scored.
        fits: of all validations.
        stream: the permutations to fit.
        other: those that broken scores are taken with, if any are.
        codes: the observed labels.
        B: the last permutation.
        mesh: the devices that share a batch.
    """

    metric: Metric
    fits: list[Fit]
    stream: Stream
    other: Stream | None
    codes: Integer[Array, " n"]
    B: int
    mesh: Mesh | None

    def batch_size(self, asked_for: int | None) -> int:
        """Labellings a batch, of which every device draws as many as the others."""
        k = n_devices(self.mesh)
        if asked_for is None:
            fit_bytes = max(fit.bytes_per_labelling(self.codes) for fit in self.fits)
            streamed = any(isinstance(fit, BlockwiseFit) and fit.streamed for fit in self.fits)
            cached = jax.default_backend() == "cpu"
            shares = k // n_parts(self.mesh)
            own = -(-(self.B + 1) // shares)
            asked_for = shares * batch_size_of(len(self.codes), fit_bytes, own, cached=cached, streamed=streamed)
        return k * -(-min(asked_for, self.B + 1) // k)

    def launch(self, start: int, size: int) -> Totals:
        """Set devices to work on permutations `start .. start + size - 1`."""
        with TraceAnnotation("jaxmem: draw"):
            labels = _draw(self.stream, self.codes, start, size, self.mesh)
            others = None if self.other is None else _draw(self.other, self.codes, start, size, self.mesh)
        # Neither the observed labelling counts towards `recovered`, nor those past the last.
        indices = np.arange(start, start + size)
        counted = (indices > 0) & (indices <= self.B)
        with TraceAnnotation("jaxmem: fit and score"):
            totals = [fit(labels, others, counted) for fit in self.fits]
        return Totals(
            {view: kinds for one in totals for view, kinds in one.metric.items()},
            {view: counts for one in totals for view, counts in one.recovered.items()},
            worst([one.diagnostics for one in totals]),
        )

    def finish(self, start: int, totals: Totals) -> Done:
        """Wait for a batch, and make one number of the totals of each labelling up to the last.

        It is the mean over the parts of a design.
        """
        with TraceAnnotation("jaxmem: finish"):
            totals, end = fetched(totals), self.B + 1 - start
            scores, recovered = {}, {}
            for (name, part), n_rows in (view for fit in self.fits for view in fit.n_rows.items()):
                for kind, total in totals.metric[name, part].items():
                    numbers = _number(self.metric, total, n_rows)[:end]
                    scores.setdefault(name, {}).setdefault(kind, []).append(numbers)
                if (name, part) in totals.recovered:
                    of_all_devices = totals.recovered[name, part].sum(axis=0, dtype=np.int64)
                    recovered.setdefault(name, []).append(of_all_devices)
            # Added up as a list of as many numbers would be: other orders round otherwise, and break ties.
            scores = {
                name: {kind: np.stack(parts, axis=-1).mean(axis=-1) for kind, parts in of.items()}
                for name, of in scores.items()
            }
            return Done(
                len(next(iter(scores.values()))["paired"]),
                scores,
                {name: np.concatenate(parts) for name, parts in recovered.items()},
                {name: np.asarray(values)[:end] for name, values in totals.diagnostics.items()},
            )

    def rematched(self, key: Key[Array, ""], batch_size: int) -> dict[Any, Int[np.ndarray, " matchings"]]:
        """By validation, how many labels some fits recover with copies matched otherwise; see `jaxmem.rematching`."""
        # Stratified folds have no copies to match.
        fits = [fit for fit in self.fits if isinstance(fit, (PreparedFit, BlockwiseFit, HostFit))]

        def draw(start: int, size: int) -> Integer[Array, "size n"]:
            return _draw(self.stream, self.codes, start, size, None)

        return rematched_counts(
            fits, draw, self.B, batch_size, jax.random.fold_in(key, REMATCHINGS), halve=not several_processes(self.mesh)
        )


def _number(metric: Metric, totals: Any, n_rows: int) -> np.ndarray:
    """One number per labelling: in double precision, for single is for the device."""
    totals = jax.tree.map(lambda a: a.astype(float) if np.issubdtype(a.dtype, np.floating) else a, totals)
    return np.asarray(metric.finish(totals, n_rows), float)


@partial(jax.jit, static_argnames=("size", "mesh"))
def _draw(
    stream: Stream, y: Integer[Array, " n"], first: Any, size: int, mesh: Mesh | None
) -> Integer[Array, "size n"]:
    """Labels of permutations `first .. first + size - 1`."""

    @jax.named_scope("draw")
    def draw(whole: tuple[Stream, Array], indices: Int[Array, " part"]) -> Integer[Array, "part n"]:
        stream, y = whole

        def one(index: Int[Array, ""]) -> Integer[Array, " n"]:
            return stream.labels(y, index)

        # What drawing moves is several times what it leaves: of many rows, a few labellings at a time.
        at_once = max(1, BATCH_BYTES // (8 * len(y)))
        return jax.vmap(one)(indices) if len(indices) <= at_once else jax.lax.map(one, indices, batch_size=at_once)

    return shared_out(draw, mesh, (stream, y), first + jnp.arange(size))
