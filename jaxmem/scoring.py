"""Scores of many labellings: batches of permutations through the fits that the validation designs ask for.

This room knows classifiers only by their protocol. It draws the labels of a batch of permutations, hands them to the
fits (`jaxmem.fits`), and joins what they return. The observed labelling is permutation 0, so that its score comes out
of the same kernel as the null.
"""

import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer, Key

from jaxmem.classifiers import Classifier, HostClassifier
from jaxmem.fits import Fit, HostFit, HostRefoldedFit, PreparedFit, RefoldedFit, Totals, worst
from jaxmem.inputs import Labels, as_number, one_of
from jaxmem.metrics import Metric, check
from jaxmem.permutations import Stream, plan, random_stream
from jaxmem.rematching import REMATCHED_LABELLINGS, rematched_counts
from jaxmem.validation import Design, KFold

__all__ = ["PRECISIONS", "Scored", "Scores", "rounding_of", "score_permutations", "second_stream"]

# What one batch may hold, if the caller does not say: enough to keep a device busy, little beside its memory. On a CPU
# the fits and the scores of a block of rows should stay in the cache, too: that is worth a fifth of the time.
_BATCH_BYTES = 2**26
_CACHED_BYTES = 2**23
_LARGEST_BATCH = 1_024

# Where the keys of the second, independent stream and of the re-matchings come from: numbers that no permutation has.
_SECOND = 2**32 - 1
_THIRD = 2**32 - 2

# Of the matrix products that depend on labels, by JAX's names; on CPU there is only one.
PRECISIONS = {"float32": "float32", "tf32": "tensorfloat32", "bfloat16": "bfloat16"}


class Scores(NamedTuple):
    """How one view of rows was scored under permutations 0 .. B (or first .. B); number 0 is the observed labelling.

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
    """

    views: dict[Any, Scores]
    exact: bool
    diagnostics: dict[str, np.ndarray]


def score_permutations(
    classifier: Classifier | HostClassifier,
    X: Float[Array, "n d"],
    labels: Labels,
    validations: Mapping[Any, Design],
    *,
    metric: Metric,
    scheme: str = "free",
    blocks: Any = None,
    n_permutations: int,
    first: int = 0,
    key: Any,
    batch_size: int | None = None,
    precision: str = "float32",
    progress: bool = True,
    broken: bool = False,
    examples: bool = False,
    enough: Callable[[dict[Any, np.ndarray]], bool] | None = None,
) -> Scored:
    """Fit every permutation once and score it on every validation; see `permutation_test` for the arguments.

    Args:
        first: the first permutation to fit, of 0 .. n_permutations; every array that is returned begins with it.
        broken: also score rows that take the labels of training rows with an independent second shuffle.
        examples: also count, for each such row, how often its shuffled label is predicted.
        enough: told the paired scores of every batch, by validation, as it is done; says whether to stop. Not asked
            where every labelling is taken once: those do not come in random order.
    """
    if len(labels.codes) != len(X):
        raise ValueError(f"X has {len(X)} rows, but y has {len(labels.codes)} labels: give one label per row.")
    n_permutations = as_number(n_permutations, "n_permutations")
    if batch_size is not None:
        batch_size = as_number(batch_size, "batch_size")
    one_of(precision, PRECISIONS, "precision")
    codes = labels.codes
    paired_stream, B, exact = plan(key, codes, scheme=scheme, blocks=blocks, n_permutations=n_permutations)
    broken_stream = None
    if broken:
        broken_stream = second_stream(key, codes, scheme=scheme, blocks=blocks)

    if not validations:
        raise ValueError("validations is empty: name at least one set of rows to score.")
    check(metric, classifier, n_rows=len(X), n_classes=len(labels.classes), dtype=X.dtype)
    fits = _fits(classifier, metric, X, labels, validations, examples)
    if batch_size is None:
        batch_size = _batch_size(len(codes), max(fit.bytes_per_labelling(codes) for fit in fits), B + 1 - first)

    def batch(start: int) -> Totals:
        paired = _draw(paired_stream, codes, start, size=batch_size)
        others = None if broken_stream is None else _draw(broken_stream, codes, start, size=batch_size)
        # Neither the observed labelling counts towards `recovered`, nor those past the last.
        indices = np.arange(start, start + batch_size)
        return _merged([fit(paired, others, (indices > 0) & (indices <= B)) for fit in fits])

    n_rows = {view: n for fit in fits for view, n in fit.n_rows.items()}
    views = {name: [view for view in n_rows if view[0] == name] for name in validations}
    done: list[Any] = []
    recovered: dict[Any, Any] = {}
    starts = range(first, B + 1, batch_size)
    with (
        jax.default_matmul_precision(PRECISIONS[precision]),
        closing(_one_ahead(map(batch, _progress(starts, progress)))) as batches,
    ):
        for start, totals in zip(starts, batches, strict=True):
            scores = {name: _scores(metric, totals, {view: n_rows[view] for view in views[name]}) for name in views}
            batch_done = jax.tree.map(lambda a, end=B + 1 - start: a[:end], (scores, totals.diagnostics))
            done.append(jax.device_get(batch_done))
            for view, counts in totals.recovered.items():
                recovered[view] = counts + recovered.get(view, 0)
            if enough is not None and not exact and enough({name: done[-1][0][name]["paired"] for name in views}):
                break
    scores, diagnostics = jax.tree.map(lambda *batches: np.concatenate(batches), *done)
    _warn_of_divergence(diagnostics)
    n_counted = B + 1 - max(first, 1)

    def share(name: Any) -> np.ndarray | None:
        counts = [recovered[view] for view in views[name] if view in recovered]
        return np.concatenate(counts).astype(float) / n_counted if counts else None

    rematched: dict[Any, np.ndarray] = {}
    if broken:
        with jax.default_matmul_precision(PRECISIONS[precision]):
            n_labellings = min(B, REMATCHED_LABELLINGS)
            for start in range(1, n_labellings + 1, batch_size):
                some = _draw(paired_stream, codes, start, size=batch_size)[: n_labellings + 1 - start]
                for fit in fits:
                    assert isinstance(fit, (PreparedFit, HostFit))  # Stratified folds have no copies to match.
                    for view, counts in rematched_counts(fit, some, jax.random.fold_in(key, _THIRD)).items():
                        rematched[view] = counts + rematched.get(view, 0)
    scored = {
        name: Scores(kinds["paired"], kinds.get("broken"), share(name), rematched.get(views[name][0]))
        for name, kinds in scores.items()
    }
    return Scored(scored, exact, diagnostics)


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


def _finished(metric: Metric, totals: Any, n_rows: int) -> np.ndarray:
    """One number per labelling: in double precision, for single is for the device."""
    totals = jax.tree.map(
        lambda a: a.astype(float) if np.issubdtype(a.dtype, np.floating) else a, jax.device_get(totals)
    )
    return np.asarray(metric.finish(totals, n_rows), float)


def _scores(metric: Metric, totals: Totals, n_rows: Mapping[Any, int]) -> dict[str, np.ndarray]:
    """One number per labelling and kind of labels: the mean over the parts of a design, whose rows are counted here."""
    parts = [{kind: _finished(metric, t, n) for kind, t in totals.metric[view].items()} for view, n in n_rows.items()]
    return {kind: np.mean([part[kind] for part in parts], axis=0) for kind in parts[0]}


def _fits(
    classifier: Classifier | HostClassifier,
    metric: Metric,
    X: Float[Array, "n d"],
    labels: Labels,
    validations: Mapping[Any, Design],
    examples: bool,
) -> list[Fit]:
    """The fits that the designs ask for; parts with the same rows to fit share one."""
    on_host = not isinstance(classifier, Classifier)
    n_classes = len(labels.classes)
    fits, shared = [], {}
    for name, design in validations.items():
        if not isinstance(design, Design):
            raise ValueError(
                "validation must be jm.SharedStructure, jm.Holdout, jm.KFold or jm.Resubstitution, "
                f"but is a {type(design).__name__}."
            )
        if isinstance(design, KFold) and design.stratified:
            if examples:
                raise ValueError("example_scores needs folds that stay: use jm.KFold(stratified=False).")
            design.check(labels)
            kind: Any = HostRefoldedFit if on_host else RefoldedFit
            fits.append(kind(classifier, metric, X, n_classes, name, design))
            continue
        for number, part in enumerate(design.parts(X, labels)):
            rows = None if part.train is None else part.train.tobytes()
            shared.setdefault(rows, {})[name, number] = part
    kind: Any = HostFit if on_host else PreparedFit
    return fits + [kind(classifier, metric, X, n_classes, parts, examples=examples) for parts in shared.values()]


def _batch_size(n: int, fit_bytes: int, total: int) -> int:
    """Labellings a batch, of so many rows and of so many bytes a fit.

    All batches are alike, so that one program does for all of them and the last one is as full as the others.
    """
    # Drawing labels moves a cell number of 4 bytes and a label or two per row.
    largest = min(_BATCH_BYTES // (8 * n + fit_bytes), _LARGEST_BATCH)
    if jax.default_backend() == "cpu":
        largest = min(largest, _CACHED_BYTES // max(fit_bytes, 1))
    n_batches = -(-total // max(largest, 1))
    return -(-total // n_batches)


@partial(jax.jit, static_argnames="size")
def _draw(stream: Stream, y: Integer[Array, " n"], first: Any, size: int) -> Integer[Array, "size n"]:
    """Labels of permutations `first .. first + size - 1`."""
    return jax.vmap(lambda index: stream.labels(y, index))(first + jnp.arange(size))


def _merged(totals: list[Totals]) -> Totals:
    """Totals of several fits of the same labellings."""
    return Totals(
        {view: kinds for one in totals for view, kinds in one.metric.items()},
        {view: counts for one in totals for view, counts in one.recovered.items()},
        worst([one.diagnostics for one in totals]),
    )


def _one_ahead(batches: Iterator[Totals]) -> Generator[Totals]:
    """Start each batch before the one before it is handed over, so that a device need not wait for the host.

    A CPU is its own host, and two batches at once would push each other out of its caches: there one ends before the
    next begins.
    """
    before = batch = next(batches)
    try:
        if jax.default_backend() == "cpu":
            yield jax.block_until_ready(batch)
            for batch in batches:
                yield jax.block_until_ready(batch)
            return
        for batch in batches:
            yield before
            before = batch
        yield before
    finally:
        # Whatever ends the run, Ctrl-C say: an interpreter that exits while a program runs may crash.
        jax.block_until_ready((before, batch))


def _warn_of_divergence(diagnostics: Mapping[str, np.ndarray]) -> None:
    if "converged" in diagnostics and not diagnostics["converged"].all():
        failed = int((~diagnostics["converged"]).sum())
        warnings.warn(
            f"{failed} of {diagnostics['converged'].size} fits stopped before they converged. The test is exact all "
            "the same, but on scores of unfinished fits: raise max_steps or the penalty, or see `diagnostics`.",
            stacklevel=4,
        )


def _progress(starts: range, show: bool) -> Iterator[int]:
    """The batches' first indices, with a bar that counts permutations once a run takes longer than a moment."""
    if not show:
        yield from starts
        return
    from tqdm.auto import tqdm

    total = starts.stop - starts.start
    with tqdm(total=total, unit="perm", delay=2, disable=None, leave=False) as bar:
        for start in starts:
            yield start
            bar.update(min(starts.step, starts.stop - start))
