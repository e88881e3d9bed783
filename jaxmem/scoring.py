"""Scores of many labellings: what is checked, what is known already, what is run, and what comes out.

This room knows classifiers only by their protocol. Batches of permutations go through the fits that the validation
designs ask for (`jaxmem.passes`), and what they come to is kept (`jaxmem.checkpoint`). The observed labelling is
permutation 0, so that its score comes out of the same kernel as the null.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.profiler import TraceAnnotation
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Integer, Key

from jaxmem.batches import in_batches
from jaxmem.checkpoint import Checkpoint, KeptTally, fingerprint
from jaxmem.classifiers import Classifier, HostClassifier
from jaxmem.devices import differing, leads, mesh_of, n_devices, on_all, preempted, several_processes
from jaxmem.fits import check_blocks, fits_of, parts_of
from jaxmem.inputs import Labels, as_number, one_of
from jaxmem.metrics import Metric, check
from jaxmem.notices import note, warn
from jaxmem.passes import Pass
from jaxmem.permutations import SECOND_STREAM, PermutationPlan, Stream, plan, random_stream
from jaxmem.results import as_saved, key_fields
from jaxmem.streaming import Features
from jaxmem.tally import Done
from jaxmem.threads import one_blas_thread
from jaxmem.validation import Design, KFold, Part

__all__ = ["PRECISIONS", "Scored", "Scores", "rounding_of", "score_permutations", "second_stream"]

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
    n_permutations = as_number(n_permutations, "n_permutations")
    batch_size = None if batch_size is None else as_number(batch_size, "batch_size")
    one_of(precision, PRECISIONS, "precision")
    call = {
        "labels": (labels.codes, len(labels.classes)),
        "classifier": classifier,
        "metric": metric,
        "permutations": (key_fields(key), scheme, as_saved(blocks)),
        "kinds": (broken, examples),
        "precision": precision,
    }
    mesh = mesh_of(devices)
    _check_agreed(call | {"n_permutations": n_permutations, "batch_size": batch_size}, mesh)
    mesh, parts = _checked(classifier, X, labels, validations, metric=metric, mesh=mesh, examples=examples)
    drawn = {"scheme": scheme, "blocks": blocks}
    stream, B, exact = planned or plan(key, labels.codes, **drawn, n_permutations=n_permutations)

    file = None
    if checkpoint is not None:
        run = fingerprint(
            **call,
            features=X,
            validations=list(parts.items()),
            enumeration=exact,
            device=_device(X, mesh).device_kind,
        )
        file = Checkpoint(checkpoint, run, list(parts))
    # Every labelling once: in another order than at random.
    tally = KeptTally(B + 1, None if exact else done, file, mesh)

    def over(scores: Mapping[Any, Mapping[str, np.ndarray]]) -> bool:
        """Whether that is all, told the scores that are new."""
        paired = {name: kinds["paired"] for name, kinds in scores.items()}
        decided = enough is not None and not exact and enough(paired)
        return decided or tally.done.n_labellings > B

    ended = tally.done.n_labellings > 0 and over(tally.done.scores)
    rematched: dict[Any, np.ndarray] = {}
    # From the first factorisation on, for with more threads it is rounded otherwise. An estimator that is refitted on
    # the host keeps its own.
    threads = one_blas_thread() if isinstance(classifier, Classifier) else nullcontext()
    if broken or not ended:
        with threads:
            with TraceAnnotation("jaxmem: prepare"):
                fits = fits_of(classifier, metric, X, len(labels.classes), parts, examples, mesh)
            other = second_stream(key, labels.codes, **drawn) if broken else None
            stream, other, codes = on_all((stream, other, labels.codes), mesh)
            work = Pass(metric, fits, stream, other, codes, B, mesh)
            size = work.batch_size(batch_size)
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
                    size = _run_through(work, tally, over, size, progress)
                if broken:
                    rematched = work.rematched(key, size)
            note(
                __name__,
                "end",
                "{labellings} labellings after {seconds:.1f} s",
                labellings=tally.done.n_labellings,
                seconds=time.monotonic() - begin,
            )
    done = tally.done
    if leads(mesh):
        _warn_of_divergence(done.diagnostics)
    return Scored(_views(done, rematched), exact, done.diagnostics, done)


def second_stream(
    key: Key[Array, ""], codes: Integer[Array, " n"], *, scheme: str = "free", blocks: Any = None
) -> Stream:
    """Open the stream that is independent of the one that labels are fitted with: that of broken scores."""
    return random_stream(jax.random.fold_in(key, SECOND_STREAM), codes, scheme=scheme, blocks=blocks)


def rounding_of(metric: Metric, dtype: Any) -> float:
    """Up to which relative difference two statistics count as tied.

    Statistics from counts are computed in double precision; all others were rounded as the scores were.
    """
    return 100 * float(np.finfo(np.float64 if metric.counts else dtype).eps)


def _check_agreed(call: Mapping[str, Any], mesh: Mesh | None) -> None:
    """Raise ValueError in all processes unless they were told the same, or they would mix tests."""
    if mesh is not None and several_processes(mesh) and (others := differing(fingerprint(**call), mesh)):
        raise ValueError(
            f"Processes that share a test must all make the same call, but theirs differ in {', '.join(others)}: give "
            "the same to every process, labels of all rows, too."
        )


def _checked(
    classifier: Classifier | HostClassifier,
    X: Features,
    labels: Labels,
    validations: Mapping[Any, Design],
    *,
    metric: Metric,
    mesh: Mesh | None,
    examples: bool,
) -> tuple[Mesh | None, dict[Any, list[Part] | KFold]]:
    """The devices and the parts of all designs; raises ValueError where they make no test."""
    if len(labels.codes) != len(X):
        raise ValueError(f"X has {len(X)} rows, but y has {len(labels.codes)} labels: give one label per row.")
    if not validations:
        raise ValueError("validations is empty: name at least one set of rows to score.")
    n_classes = len(labels.classes)
    check(metric, classifier, n_rows=len(X), n_classes=n_classes, dtype=X.dtype)
    if not isinstance(classifier, Classifier):
        if several_processes(mesh):
            raise ValueError(
                f"{type(classifier).__name__} is refitted on the host, and the devices are those of several processes: "
                "pass devices of this one alone, devices=jax.local_devices()."
            )
        mesh = None  # Refitted on the host, whatever devices there are.
    parts = {name: parts_of(design, X, labels, examples, mesh) for name, design in validations.items()}
    check_blocks(classifier, metric, X, n_classes, parts)
    return mesh, parts


def _run_through(
    work: Pass, tally: KeptTally, over: Callable[[Mapping[Any, Any]], bool], size: int, progress: bool
) -> int:
    """Go on from where the tally is until it is over; returns how long batches were in the end."""
    ended, total, mesh = False, work.B + 1, work.mesh

    def take(start: int, batch: Done) -> bool:
        nonlocal ended
        tally.add(start, batch)
        ended = over(batch.scores)
        return ended

    with tally.kept():
        size = in_batches(
            work.launch,
            work.finish,
            take,
            first=tally.done.n_labellings,
            total=total,
            size=size,
            multiple=n_devices(mesh),
            # What one of several processes decides alone, the others would wait for in vain.
            halve=not several_processes(mesh),
            stop=lambda: preempted(mesh),
            progress=progress and leads(mesh),
        )
    if not ended:
        raise RuntimeError(f"{tally.done.n_labellings} of {total} labellings were scored: the null is cut off.")
    return size


def _views(done: Done, rematched: Mapping[Any, np.ndarray]) -> dict[Any, Scores]:
    """What is known of the permutations, by validation."""
    return {
        name: Scores(
            kinds["paired"],
            kinds.get("broken"),
            done.recovered[name].astype(float) / (done.n_labellings - 1) if name in done.recovered else None,
            rematched.get(name),
        )
        for name, kinds in done.scores.items()
    }


def _device(X: Features, mesh: Mesh | None) -> Any:
    """One of those that compute."""
    if mesh is not None:
        return mesh.devices.flat[0]
    return (X if isinstance(X, jax.Array) else jnp.zeros(())).devices().pop()


def _warn_of_divergence(diagnostics: Mapping[str, np.ndarray]) -> None:
    if "converged" in diagnostics and not diagnostics["converged"].all():
        failed = int((~diagnostics["converged"]).sum())
        warn(
            f"{failed} of {diagnostics['converged'].size} fits stopped before they converged. The test is exact all "
            "the same, but on scores of unfinished fits: raise max_steps or the penalty, or see `diagnostics`.",
            UserWarning,
        )
