"""Many tests of the same labels: layers, epochs, perturbations; one stream of permutations, one family-wise error.

Permutation b is the same for every test, because it depends on the key and on b alone. So the largest statistic of the
family under permutation b is one draw from the joint null of all of them: Westfall & Young (1993).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from jaxmem.classifiers import Ridge, as_classifier
from jaxmem.devices import by_all, mesh_of
from jaxmem.fits import parts_of, worst
from jaxmem.inference import (
    CORRECTIONS,
    JOINT,
    adjusted,
    check_reachable,
    family_statistics,
    pvalue,
    single_step,
    step_down,
)
from jaxmem.inputs import Labels, as_key, as_labels, as_number, as_path, one_of
from jaxmem.metrics import Metric, metric_by_name
from jaxmem.permutations import plan
from jaxmem.results import PermutationTests, as_saved, key_fields
from jaxmem.scoring import rounding_of, score_permutations
from jaxmem.streaming import Features, as_rows
from jaxmem.validation import Design, SharedStructure

__all__ = ["permutation_tests"]


def permutation_tests(
    tests: Mapping[str, Any],
    y: Any,
    *,
    classifier: Any = None,
    correction: str = "maxT",
    studentize: bool = False,
    alpha: float = 0.05,
    scheme: str = "free",
    blocks: Any = None,
    metric: str | Metric | Callable[[Array, Array], Array] = "accuracy",
    alternative: str = "greater",
    n_permutations: int = 9_999,
    key: Any = 0,
    batch_size: int | None = None,
    precision: str = "float32",
    keep_null: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    devices: Sequence[Any] | Mesh | None = None,
    progress: bool = True,
) -> PermutationTests:
    """Run a family of permutation tests on the same labels and the same permutations, and adjust their p-values.

    Args:
        tests: by name, `(X, X_val)` for features and perturbed copies of their rows, or `(X, validation)` with any
            design; every X has a row per label. Tests that are given the same X object share every fit.
        y: labels, shape (n,).
        classifier: as in `permutation_test`; None: `jm.Ridge()`.
        correction: "maxT", "maxT-stepdown" and "minP" use the joint permutation distribution; "bonferroni", "holm",
            "fdr_bh" and "fdr_by" the p-values alone. All but the last two control the family-wise error rate.
        studentize: give every test the same mean and standard deviation before comparing them ("maxT" only). Without,
            a test whose null spreads widest decides for all.
        alpha: the level that `rejected` is about. A family in which nothing could be rejected at it is refused.
        scheme, blocks, metric, alternative, n_permutations, key, batch_size, precision, devices, progress: as in
            `permutation_test`.
        keep_null: keep the scores of all tests under all permutations, which take 8 bytes times tests times B. Without,
            only their maxima, means and standard deviations are kept, and memory does not grow with the family (but
            for "maxT-stepdown", which needs them all for a moment).
        checkpoint: a folder from which the same call goes on when it was killed, as in `permutation_test`, with a file
            for every set of features in the order of the tests.

    Returns:
        Statistics, p-values, adjusted p-values and effect sizes by name, and the null distributions if kept.

    Raises:
        ValueError: on any input that cannot be tested as it is, a correction that so few permutations cannot reach
            among them.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> copies = X + 0.1
        >>> layers = {"all": (X, copies), "first": (X[:, :1], copies[:, :1])}
        >>> jm.permutation_tests(layers, y, n_permutations=99).pvalue_adjusted
        array([0.01, 0.02])
    """
    metric, key, labels = metric_by_name(metric), as_key(key), as_labels(y)
    classifier = as_classifier(Ridge() if classifier is None else classifier)
    one_of(correction, CORRECTIONS, "correction")
    if studentize and not correction.startswith("maxT"):
        raise ValueError(f"studentize is for maxT, which compares scores; correction {correction!r} does not.")
    n_permutations = as_number(n_permutations, "n_permutations")
    mesh = mesh_of(devices)
    folder = None if checkpoint is None else by_all(lambda: _folder(checkpoint), mesh)
    features = _by_features(tests, labels, mesh)
    planned = plan(key, labels.codes, scheme=scheme, blocks=blocks, n_permutations=n_permutations)
    check_reachable(correction, len(tests), planned.n_permutations, alternative, alpha)
    options = {
        "metric": metric,
        "scheme": scheme,
        "blocks": blocks,
        "n_permutations": n_permutations,
        "key": key,
        "batch_size": batch_size,
        "precision": precision,
        "devices": devices,
        "progress": progress,
    }
    rounding = max(rounding_of(metric, X.dtype) for X, _ in features)
    comparing = {"studentize": studentize, "rounding": rounding}
    number = {name: position for position, name in enumerate(tests)}
    statistic, separate, means, spreads, observed = np.empty((5, len(tests)))
    all_scores = np.empty((len(tests), planned.n_permutations + 1)) if keep_null else None
    # Step-down starts with the smallest statistic, which is not known before the last test.
    all_statistics = np.empty((len(tests), planned.n_permutations + 1)) if correction == "maxT-stepdown" else None
    largest = np.full(planned.n_permutations + 1, -np.inf)
    diagnostics = []
    for position, (X, designs) in enumerate(features):
        file = None if folder is None else folder / f"{position}.npz"
        scored = score_permutations(classifier, X, labels, designs, checkpoint=file, **options)
        diagnostics.append(scored.diagnostics)
        for name, scores in scored.views.items():
            row, at = _one_column(name, scores.paired), number[name]
            statistic[at], means[at] = row[0], row[1:].mean()
            spreads[at] = row[1:].std() if np.ptp(row[1:]) > 0 else 0  # And not of rounding errors.
            separate[at] = pvalue(row[0], row[1:], alternative, rounding=rounding)
            if all_scores is not None:
                all_scores[at] = row
            if correction in JOINT:
                (comparable,) = family_statistics(row[None], alternative, correction, **comparing)
                largest, observed[at] = np.maximum(largest, comparable), comparable[0]
                if all_statistics is not None:
                    all_statistics[at] = comparable
    if correction not in JOINT:
        adjusted_pvalues = adjusted(separate, correction)
    elif all_statistics is not None:
        adjusted_pvalues = step_down(all_statistics, rounding=rounding)
    else:
        adjusted_pvalues = single_step(observed, largest, correction, rounding=rounding)
    return PermutationTests(
        classifier=repr(classifier),
        y=np.asarray(labels.codes),
        classes=labels.classes,
        **key_fields(key),
        scheme=scheme,
        blocks=as_saved(blocks),
        n_permutations=n_permutations,
        exact=planned.exact,
        diagnostics={name: np.asarray(values) for name, values in worst(diagnostics).items()},
        names=np.array(list(tests), str),
        statistic=statistic,
        pvalue=separate,
        # Where two-sided p-values count the smaller tail, the larger of the two is meant.
        pvalue_adjusted=np.maximum(adjusted_pvalues, separate),
        null_mean=means,
        null_std=spreads,
        null_distribution=None if all_scores is None else all_scores[:, 1:].T,
        null_max=largest[1:] if correction in JOINT else None,
        correction=correction,
        studentize=bool(studentize),
        alternative=alternative,
        metric=metric.name,
        alpha=float(alpha),
    )


def _folder(checkpoint: Any) -> Path:
    folder = as_path(checkpoint, "checkpoint")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"checkpoint must be the path of a folder, but {folder} is a file: name another place.")
    return folder


def _by_features(
    tests: Mapping[str, Any], labels: Labels, mesh: Mesh | None
) -> list[tuple[Features, dict[str, Design]]]:
    """The designs by the features that they share, checked."""
    if not isinstance(tests, Mapping) or not tests:
        raise ValueError(f"tests must map one or more names to pairs, (X, X_val), but is {str(tests)[:40]}.")
    groups: dict[int, tuple[Any, dict[str, Design]]] = {}
    for name, test in tests.items():
        if not isinstance(name, str):
            raise ValueError(f'names of tests must be strings, "fc1/epoch3" say, but one is {name!r}.')
        if not (isinstance(test, tuple) and len(test) == 2):
            raise ValueError(
                f"test {name!r} must be a pair, (X, X_val) or (X, validation), but is a {type(test).__name__}."
            )
        X, validation = test
        design = validation if isinstance(validation, Design) else SharedStructure(validation)
        groups.setdefault(id(X), (X, {}))[1][name] = design
    checked = []
    for given, designs in groups.values():
        X = None
        for name, design in designs.items():
            try:
                X = as_rows(given, mesh=mesh) if X is None else X  # Once, and in the name of a test.
                if len(X) != len(labels.codes):
                    raise ValueError(
                        f"X has {len(X)} rows, but y has {len(labels.codes)} labels: tests of one family are tests of "
                        "the same rows."
                    )
                parts_of(design, X, labels, False, mesh)
            except ValueError as error:
                raise ValueError(f"test {name!r}: {error}") from error
        checked.append((X, designs))
    return checked


def _one_column(name: str, scores: np.ndarray) -> np.ndarray:
    if scores.ndim > 1:
        raise ValueError(f"test {name!r} has {scores.shape[1]} hyperparameter values: give the classifier one.")
    return scores
