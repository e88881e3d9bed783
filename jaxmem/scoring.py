"""Scores of many labellings: batches of permutations through the fits that the validation designs ask for.

This room knows classifiers only by their protocol. It draws the labels of a batch of permutations, hands them to the
fits (`jaxmem.fits`), and joins what they return. The observed labelling is permutation 0, so that its score comes out
of the same kernel as the null.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.profiler import TraceAnnotation
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Integer, Key

from jaxmem.batches import BATCH_BYTES, batch_size_of, in_batches
from jaxmem.checkpoint import Checkpoint, fingerprint
from jaxmem.classifiers import Classifier, HostClassifier
from jaxmem.devices import (
    agreed,
    fetched,
    leads,
    mesh_of,
    n_devices,
    n_parts,
    on_all,
    preempted,
    several_processes,
    shared_out,
)
from jaxmem.fits import BlockwiseFit, Fit, HostFit, PreparedFit, Totals, check_blocks, fits_of, worst
from jaxmem.inputs import Labels, as_number, one_of
from jaxmem.metrics import Metric, check
from jaxmem.notices import note, warn
from jaxmem.permutations import PermutationPlan, Stream, plan, random_stream
from jaxmem.rematching import rematched_counts
from jaxmem.results import as_saved, key_fields
from jaxmem.streaming import Features
from jaxmem.tally import Done, Tally
from jaxmem.threads import one_blas_thread
from jaxmem.validation import Design, KFold, Part

__all__ = ["PRECISIONS", "Scored", "Scores", "rounding_of", "score_permutations", "second_stream"]

# Where the keys of the second, independent stream and of the re-matchings come from: numbers that no permutation has.
_SECOND = 2**32 - 1
_THIRD = 2**32 - 2

# Of the matrix products that depend on labels, by JAX's names; on CPU there is only one.
PRECISIONS = {"float32": "float32", "tf32": "tensorfloat32", "bfloat16": "bfloat16"}


class Scores(NamedTuple):
    """How one view of rows was scored under permutations 0 .. B; number 0 is the observed labelling.

    Attributes:
        paired: scored with the labels of the rows' sources under the same permutation, or with the rows' own labels.
        broken: scored with an independent shuffle; None for rows with labels of their own.
        recovered: share of those permutations, but for number 0, in which a row's label was predicted, shape (m,); None
            likewise.
        rematched: how many labels of copies some of the shuffled fits recover, with the copies matched to their
            sources (first) and to other rows, at random; None unless broken scores are asked for.
    """

    paired: Float[np.ndarray, "B+1 ..."]
    broken: Float[np.ndarray, "B+1 ..."] | None
    recovered: Float[np.ndarray, " m"] | None
    rematched: Int[np.ndarray, " matchings"] | None = None


class Scored(NamedTuple):
    """All that one pass over the permutations gives.

    Attributes:
        views: the scores by the names of the validations.
        exact: whether the permutations are all distinct labellings there are.
        diagnostics: what an iterative classifier says of its fits, by name; the observed fit first, shape (B + 1,).
        done: the same as it was added up, for a longer pass to go on from.
    """

    views: dict[Any, Scores]
    exact: bool
    diagnostics: dict[str, np.ndarray]
    done: Done


def score_permutations(
    classifier: Classifier | HostClassifier,
    X: Features,
    labels: Labels,
    validations: Mapping[Any, Design],
    *,
    metric: Metric,
    scheme: str = "free",
    blocks: Any = None,
    n_permutations: int,
    key: Any,
    planned: PermutationPlan | None = None,
    batch_size: int | None = None,
    precision: str = "float32",
    checkpoint: str | os.PathLike[str] | None = None,
    devices: Sequence[Any] | Mesh | None = None,
    progress: bool = True,
    broken: bool = False,
    examples: bool = False,
    enough: Callable[[dict[Any, np.ndarray]], bool] | None = None,
    done: Done | None = None,
) -> Scored:
    """Fit every permutation once and score it on every validation; see `permutation_test` for the arguments.

    Args:
        planned: permutations that were drawn elsewhere, in place of those that `scheme`, `blocks` and `key` say; they
            go into no checkpoint, and there is no broken null of them.
        broken: also score rows that take the labels of training rows with an independent second shuffle.
        examples: also count, for each such row, how often its shuffled label is predicted.
        enough: told the paired scores of every batch, by validation, as it is done; says whether to stop. Not asked
            where every labelling is taken once: those do not come in random order.
        done: of the same pass with fewer permutations; these are not computed again.
    """
    if len(labels.codes) != len(X):
        raise ValueError(f"X has {len(X)} rows, but y has {len(labels.codes)} labels: give one label per row.")
    n_permutations = as_number(n_permutations, "n_permutations")
    if batch_size is not None:
        batch_size = as_number(batch_size, "batch_size")
    one_of(precision, PRECISIONS, "precision")
    codes, n_classes = labels.codes, len(labels.classes)
    stream, B, exact = planned or plan(key, codes, scheme=scheme, blocks=blocks, n_permutations=n_permutations)
    if not validations:
        raise ValueError("validations is empty: name at least one set of rows to score.")
    check(metric, classifier, n_rows=len(X), n_classes=n_classes, dtype=X.dtype)
    mesh = mesh_of(devices)
    if not isinstance(classifier, Classifier):
        if mesh is not None and several_processes(mesh):
            raise ValueError(
                f"{type(classifier).__name__} is refitted on the host, and the devices are those of several processes: "
                "pass devices of this one alone, devices=jax.local_devices()."
            )
        mesh = None  # Refitted on the host, whatever devices there are.
    parts = {name: _parts(design, X, labels, examples) for name, design in validations.items()}
    check_blocks(classifier, metric, X, n_classes, parts)
    tally = Tally(B + 1, None if exact else done)  # Every labelling once: in another order than at random.
    file = None
    if checkpoint is not None:
        run = fingerprint(
            features=X,
            labels=(codes, n_classes),
            validations=list(parts.items()),
            classifier=classifier,
            metric=metric,
            permutations=(key_fields(key), scheme, as_saved(blocks)),
            enumeration=exact,
            kinds=(broken, examples),
            precision=precision,
            device=_device(X, mesh).device_kind,
        )
        file = Checkpoint(checkpoint, run, list(parts))
        kept = file.load_on_all(B + 1, mesh)
        if kept is not None and kept.n_labellings > tally.done.n_labellings:
            tally = Tally(B + 1, kept)
        file = file if leads(mesh) else None

    def is_enough(scores: Mapping[Any, Mapping[str, np.ndarray]]) -> bool:
        return enough is not None and not exact and enough({name: kinds["paired"] for name, kinds in scores.items()})

    ended = tally.done.n_labellings > 0 and (is_enough(tally.done.scores) or tally.done.n_labellings > B)
    rematched: dict[Any, np.ndarray] = {}
    # From the first factorisation on, for with more threads it is rounded otherwise. An estimator that is refitted on
    # the host keeps its own.
    threads = one_blas_thread() if isinstance(classifier, Classifier) else nullcontext()
    if broken or not ended:
        with threads:
            with TraceAnnotation("jaxmem: prepare"):
                fits = fits_of(classifier, metric, X, n_classes, parts, examples, mesh)
            other = second_stream(key, codes, scheme=scheme, blocks=blocks) if broken else None
            stream, other, codes = on_all((stream, other, codes), mesh)
            work = _Work(metric, fits, stream, other, codes, B, mesh)
            size = work.batch_size(batch_size)

            def take(start: int, batch: Done) -> bool:
                nonlocal ended
                tally.add(start, batch)
                if file is not None:
                    file.save(tally.done)
                ended = is_enough(batch.scores) or tally.done.n_labellings > B
                return ended

            begin = time.monotonic()
            note(
                __name__,
                "start",
                "{done} of {labellings} labellings are done; batches of {batch_size} on {devices} devices",
                labellings=B + 1,
                done=tally.done.n_labellings,
                batch_size=size,
                devices=n_devices(mesh),
            )
            with jax.default_matmul_precision(PRECISIONS[precision]):
                if not ended:
                    with nullcontext() if file is None else file.following(tally):
                        size = in_batches(
                            work.launch,
                            work.finish,
                            take,
                            first=tally.done.n_labellings,
                            total=B + 1,
                            size=size,
                            multiple=n_devices(mesh),
                            # What one of several processes decides alone, the others would wait for in vain.
                            halve=not several_processes(mesh),
                            stop=lambda: preempted(mesh),
                            progress=progress and leads(mesh),
                        )
                if not ended:
                    raise RuntimeError(
                        f"{tally.done.n_labellings} of {B + 1} labellings were scored: the null is cut off."
                    )
                if broken:
                    rematched = work.rematched(key, size)
            seconds = time.monotonic() - begin
            note(
                __name__,
                "end",
                "{labellings} labellings after {seconds:.1f} s",
                labellings=tally.done.n_labellings,
                seconds=seconds,
            )
    done = tally.done
    if checkpoint is not None and mesh is not None and several_processes(mesh):
        agreed(done.n_labellings, mesh)  # Nobody goes on, and reads the file again, before the last save is in it.
    if leads(mesh):
        _warn_of_divergence(done.diagnostics)
    scored = {
        name: Scores(
            kinds["paired"],
            kinds.get("broken"),
            done.recovered[name].astype(float) / (done.n_labellings - 1) if name in done.recovered else None,
            rematched.get(name),
        )
        for name, kinds in done.scores.items()
    }
    return Scored(scored, exact, done.diagnostics, done)


def second_stream(
    key: Key[Array, ""], codes: Integer[Array, " n"], *, scheme: str = "free", blocks: Any = None
) -> Stream:
    """Open the stream that is independent of the one that labels are fitted with: that of broken scores."""
    return random_stream(jax.random.fold_in(key, _SECOND), codes, scheme=scheme, blocks=blocks)


def rounding_of(metric: Metric, dtype: Any) -> float:
    """Up to which relative difference two statistics count as tied.

    Statistics from counts are computed in double precision; all others were rounded as the scores were.
    """
    return 100 * float(np.finfo(np.float64 if metric.counts else dtype).eps)


class _Work(NamedTuple):
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

        return rematched_counts(fits, draw, self.B, batch_size, jax.random.fold_in(key, _THIRD))


def _device(X: Features, mesh: Mesh | None) -> Any:
    """One of those that compute."""
    if mesh is not None:
        return mesh.devices.flat[0]
    return (X if isinstance(X, jax.Array) else jnp.zeros(())).devices().pop()


def _number(metric: Metric, totals: Any, n_rows: int) -> np.ndarray:
    """One number per labelling: in double precision, for single is for the device."""
    totals = jax.tree.map(lambda a: a.astype(float) if np.issubdtype(a.dtype, np.floating) else a, totals)
    return np.asarray(metric.finish(totals, n_rows), float)


def _parts(design: Design, X: Features, labels: Labels, examples: bool) -> list[Part] | KFold:
    """The parts of a design, checked; of folds that follow the labels, how they are folded."""
    if not isinstance(design, Design):
        raise ValueError(
            "validation must be jm.SharedStructure, jm.Holdout, jm.KFold or jm.Resubstitution, "
            f"but is a {type(design).__name__}."
        )
    if not (isinstance(design, KFold) and design.stratified):
        return design.parts(X, labels)
    if examples:
        raise ValueError("example_scores needs folds that stay: use jm.KFold(stratified=False).")
    design.check(X, labels)
    return design


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


def _warn_of_divergence(diagnostics: Mapping[str, np.ndarray]) -> None:
    if "converged" in diagnostics and not diagnostics["converged"].all():
        failed = int((~diagnostics["converged"]).sum())
        warn(
            f"{failed} of {diagnostics['converged'].size} fits stopped before they converged. The test is exact all "
            "the same, but on scores of unfinished fits: raise max_steps or the penalty, or see `diagnostics`.",
            UserWarning,
        )
