"""Type I error: how often a test rejects where labels know nothing of features, over thousands of data sets.

Data sets are tiny and there are many of them, one more axis to map over: each goes through the very fits that
`permutation_test` uses, its permutations come from the stream that the scheme opens, and its p-value from
`jaxmem.inference`. An exact test rejects a share of at most alpha, but for chance; `bound` says for how much chance.

The hypothesis is true by construction, and barely: every block of rows has features shifted by an amount of its own,
and labels are drawn by the exchanges of the scheme, from class shares that differ between blocks ("within") or from
blocks of mostly one class ("whole"). A test that exchanges more than that, free shuffles there, rejects too often.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import jaxmem as jm
from jaxmem.fits import Fit, PreparedFit, RefoldedFit
from jaxmem.inference import Course, Rule, pvalue
from jaxmem.inputs import Labels
from jaxmem.metrics import Metric, metric_by_name
from jaxmem.permutations import Stream, random_stream
from jaxmem.scoring import rounding_of
from jaxmem.validation import Part

ALPHAS = (0.01, 0.05, 0.1)

# Which labels are exchanged: a line is a block. Each scheme has more labellings than any test here draws.
LABELS = {
    "free": [[0, 1] * 12],
    "within": [[0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]],
    "whole": [[0, 0, 0]] * 3 + [[0, 0, 1], [1, 1, 0]] + [[1, 1, 1]] * 3,
}
N, D = 24, 3

CLASSIFIERS = (
    jm.Ridge(),
    jm.LDA(shrinkage=0.1),
    jm.NearestCentroid(),
    jm.GaussianNB(),
    jm.KNeighbors(1),
    jm.Softmax(max_steps=5),
    jm.LinearSVM(max_steps=5),
)
VALIDATIONS = {
    "SharedStructure": jm.SharedStructure,
    "Holdout": jm.Holdout,
    "Resubstitution": jm.Resubstitution,
    "KFold": jm.KFold(4),
    "stratified KFold": jm.KFold(4, stratified=True),
}
STOPPING: dict[str, Callable[[float], Rule | None]] = {
    "no stopping": lambda alpha: None,
    "BesagClifford(5)": lambda alpha: jm.BesagClifford(5),
    "Betting(alpha)": lambda alpha: jm.Betting(alpha),
}


class Setting(NamedTuple):
    """What is simulated at once: one cell of the table for every metric and stopping rule."""

    classifier: Any
    validation: str
    scheme: str = "free"
    metrics: tuple[str, ...] = ("accuracy", "margin")
    stopping: tuple[str, ...] = ("no stopping",)
    n_permutations: int = 99


METRICS = ("accuracy", "balanced_accuracy", "roc_auc", "neg_log_loss", "margin")


def _metrics(classifier: Any, validation: str) -> tuple[str, ...]:
    """All that are defined: log loss takes probabilities, and a fold without rows of one class has no ROC AUC."""
    able = hasattr(classifier, "probabilities") or getattr(classifier, "gives", None) == "probabilities"
    without = set() if able else {"neg_log_loss"}
    if "KFold" in validation:
        without |= {"roc_auc"}
    return tuple(metric for metric in METRICS if metric not in without)


# Betting at level .01 cannot reject before permutation 255.
SETTINGS = (
    *(
        Setting(classifier, validation, scheme, _metrics(classifier, validation), tuple(STOPPING), 299)
        for classifier in CLASSIFIERS
        for validation in list(VALIDATIONS)[:-1]
        for scheme in LABELS
    ),
    # Every labelling prepares features of its own: slow, and no other code for one classifier than for another.
    *(
        Setting(classifier, "stratified KFold", scheme)
        for classifier in (jm.NearestCentroid(), jm.KNeighbors(1))
        for scheme in LABELS
    ),
)
# What can be gone through in minutes: every classifier, validation and scheme at least twice.
SOME_SETTINGS = tuple(
    setting
    for number, setting in enumerate(SETTINGS[:-6])
    if sum(np.unravel_index(number, (len(CLASSIFIERS), len(VALIDATIONS) - 1, len(LABELS)))) % 3 == 0
)


class DataSets(NamedTuple):
    """As many as the leading axis is long: features, perturbed copies, independent rows, and the observed labels."""

    X: Any
    copies: Any
    fresh: Any
    labels: Any


def type_one_errors(
    n_data_sets: int = 5_000, settings: Sequence[Setting] = SETTINGS, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Share of data sets in which the test rejects, by cell and by level.

    Every combination of classifier, validation, scheme, metric and stopping rule is a cell, but for metrics that are
    not defined and for stratified folds, which two classifiers go through. Cells of one setting, which differ in metric
    or stopping rule, see the same data sets; settings have their own.
    """
    table = {}
    for number, setting in enumerate(settings):
        for metric, statistics in null_statistics(setting, n_data_sets, (seed, number)).items():
            for stopping in setting.stopping:
                names = repr(setting.classifier), setting.validation, setting.scheme, metric, stopping
                table[" | ".join([*names, f"B = {setting.n_permutations}"])] = rejections(statistics, metric, stopping)
    return table


def rejections(statistics: np.ndarray, metric: str, stopping: str = "no stopping") -> dict[str, float]:
    """Share of the data sets, one a row, whose p-value is at most alpha, by alpha."""
    rounding = rounding_of(metric_by_name(metric), np.float32)
    rules = {alpha: STOPPING[stopping](alpha) for alpha in ALPHAS}
    pvalues = {rule: np.array([_pvalue(row, rounding, rule) for row in statistics]) for rule in set(rules.values())}
    return {str(alpha): float((pvalues[rule] <= alpha).mean()) for alpha, rule in rules.items()}


def _pvalue(statistics: np.ndarray, rounding: float, rule: Rule | None) -> float:
    if rule is None:
        return pvalue(statistics[0], statistics[1:], rounding=rounding)
    course = Course(rule, "greater", rounding)
    course.enough(statistics)
    return course.outcome().pvalue


def bound(n_data_sets: int, alpha: float, chance: float = 0.005) -> float:
    """Largest share of rejections that an exact test exceeds with no more than this chance."""
    return float(stats.binom.ppf(1 - chance, n_data_sets, alpha)) / n_data_sets


def data_sets(scheme: str, n_data_sets: int, seed: Any, signal: float = 0.0) -> DataSets:
    """Draw data sets in which the exchanges of `scheme` change nothing; with a signal they do."""
    rng = np.random.default_rng(seed)
    table = np.array(LABELS[scheme], np.uint8)
    if scheme == "whole":
        labels = table[rng.permuted(np.tile(np.arange(len(table)), (n_data_sets, 1)), axis=1)]
    else:
        labels = rng.permuted(np.tile(table, (n_data_sets, 1, 1)), axis=2)
    X = rng.standard_normal((n_data_sets, len(table), 1, D)) + rng.standard_normal((*labels.shape, D))
    X[..., 0] += signal * labels
    X = X.reshape(n_data_sets, N, D).astype(np.float32)
    copies, fresh = rng.standard_normal((2, *X.shape), np.float32)
    return DataSets(X, X + 0.5 * copies, fresh, labels.reshape(n_data_sets, N))


def stream_key(seed: Any) -> Any:
    """What the permutations depend on; those of the first data set are the ones of `permutation_test` by this key."""
    return jax.random.key(np.random.default_rng(seed).integers(2**31))


def null_statistics(
    setting: Setting, n_data_sets: int, seed: Any, *, drawn: str | None = None
) -> dict[str, np.ndarray]:
    """By metric the statistics of every data set, one a row, under permutations 0, the observed labels, .. B.

    Args:
        setting: what to test.
        n_data_sets: how many rows.
        seed: of the data sets and of the permutations.
        drawn: the scheme by which the labels are drawn, if not that of the test.
    """
    data = data_sets(drawn or setting.scheme, n_data_sets, seed)
    codes = np.array(LABELS[setting.scheme])
    blocks = None if setting.scheme == "free" else np.repeat(np.arange(len(codes)), codes.shape[1])
    stream = random_stream(stream_key(seed), codes.reshape(-1), scheme=setting.scheme, blocks=blocks)
    by_metric = jax.device_get(_totals(setting, stream, data))
    statistics = {}
    for name, totals in by_metric.items():
        # In double precision, part by part, all of one size, and then the mean: as the engine does it.
        totals = jax.tree.map(lambda a: a.astype(float) if a.dtype == np.float32 else a, totals)
        parts = [np.asarray(metric_by_name(name).finish(one, N // len(totals)), float) for one in totals]
        statistics[name] = np.mean(parts, axis=0)
    return statistics


@partial(jax.jit, static_argnums=0)
def _totals(setting: Setting, stream: Stream, data: DataSets) -> dict[str, list[Any]]:
    """Totals of every metric, for every part of the design, by data set and permutation."""
    B = setting.n_permutations

    def one(numbered: tuple[Any, DataSets]) -> dict[str, list[Any]]:
        number, data_set = numbered
        # No permutation serves two data sets: permutation b > 0 of this one is number * B + b of the stream.
        indices = jnp.arange(B + 1)
        indices = jnp.where(indices == 0, 0, number * B + indices)
        labels = jax.vmap(lambda index: stream.labels(data_set.labels, index))(indices)
        totals = {}
        for metric in setting.metrics:
            fits = _fits(setting.classifier, metric_by_name(metric), setting.validation, data_set)
            parts = [fit(labels, None, np.ones(B + 1, bool)).metric for fit in fits]
            totals[metric] = [kinds["paired"] for part in parts for kinds in part.values()]
        return totals

    # One data set after the other: with fifty at once, XLA on CPU (jax 0.10.2) now and then waits for ever on the
    # thousands of factorisations.
    return jax.lax.map(one, (jnp.arange(data.X.shape[0]), data))


def _fits(classifier: Any, metric: Metric, validation: str, data_set: DataSets) -> list[Fit]:
    """The fits that the engine makes for the design; the designs themselves look at values, which are traced here."""
    design = VALIDATIONS[validation]
    X = data_set.X
    if isinstance(design, jm.KFold) and design.stratified:
        return [RefoldedFit(classifier, metric, X, 2, validation, design)]
    if isinstance(design, jm.KFold):
        with jax.ensure_compile_time_eval():
            fold = np.asarray(design.folds(jnp.zeros(N, jnp.uint8), 2))
        rows = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(design.n_splits)]
        parts = [Part(train, X[inside], source=inside.astype(np.int32)) for train, inside in rows]
    elif design is jm.SharedStructure:
        parts = [Part(None, data_set.copies)]
    elif design is jm.Holdout:
        parts = [Part(None, data_set.fresh, own=jnp.arange(N, dtype=jnp.uint8) % 2)]
    else:
        parts = jm.Resubstitution().parts(X, Labels(data_set.labels, np.arange(2)))
    return [PreparedFit(classifier, metric, X, 2, {number: part}) for number, part in enumerate(parts)]
