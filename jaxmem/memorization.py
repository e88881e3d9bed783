"""The memorization test: learning told apart from memorization by scoring every shuffled fit three ways.

A shallow classifier is fitted on the features and the labels shuffled by permutation b. Its accuracy is taken

* paired: on perturbed copies of the training rows, with the labels of their sources under the same shuffle. Above
  chance, the
  features let arbitrary labels of training rows be recovered on their copies: that is memorization;
* broken: on the same copies with an independent second shuffle. That is chance, measured;
* on independent test rows with their true labels. For a valid test, chance again.

That the first exceeds the second is a fact about the given copies, and so it is, by a little, for copies of quite other
rows: some of them happen to lie near. Memorization is therefore tested by matching the copies with other rows than
their sources, at random, many times: under the hypothesis that they have nothing to do with their sources, the right
matching is one among equals.

The observed labels take the same path. Their score beyond the paired null is learning: the features are tuned to the
labels that the network was given. That is not generalization, hence the independent test score beside it.

Reconstructed from the abstract and summaries of E. Chaibub Neto (2018), "Detecting Learning vs Memorization in Deep
Neural Networks using Shared Structure Validation Sets", arXiv:1802.07714; the indices and the choice of classifier are
ours.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jaxmem.classifiers import as_classifier
from jaxmem.devices import mesh_of
from jaxmem.inference import pvalue
from jaxmem.inputs import as_key, as_labels
from jaxmem.metrics import accuracy
from jaxmem.results import MemorizationTest, key_fields
from jaxmem.scoring import score_permutations
from jaxmem.streaming import as_rows
from jaxmem.validation import Holdout, SharedStructure

__all__ = ["memorization_test", "memorization_tests"]


def memorization_test(
    classifier: Any,
    X: Any,
    y: Any,
    validation: SharedStructure,
    *,
    test: Holdout | None = None,
    n_permutations: int = 999,
    key: Any = 0,
    batch_size: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    devices: Sequence[Any] | Mesh | None = None,
    progress: bool = True,
) -> MemorizationTest:
    """Tell learning from memorization in features, on a shared structure validation set.

    Args:
        classifier: `jm.Ridge()`, `jm.KNeighbors(1)`, ...: what it can recover is part of the answer, so try several.
        X: features of the training rows, shape (n, d), in memory or on disk; see `jm.permutation_test`.
        y: the labels that the network was trained on, shape (n,).
        validation: perturbed copies of the training rows.
        test: independent rows with their true labels.
        n_permutations: B, how many shuffles.
        key: a seed or a JAX key; permutation b depends on it and on b alone.
        batch_size: permutations at once; None: chosen from the shapes.
        checkpoint: a file from which the same call goes on when it was killed; see `jm.permutation_test`.
        devices: that share the permutations, or the rows, out among them; None: all; see `jm.permutation_test`.
        progress: show a bar on a terminal if it takes more than a moment.

    Raises:
        ValueError: on any input that cannot be tested as it is, before anything is computed.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> m = jm.memorization_test(jm.Ridge(), X, y, jm.SharedStructure(X + 0.1), n_permutations=99)
        >>> m.learning > m.memorization, m.learning_pvalue
        (True, 0.01)
    """
    return memorization_tests(
        classifier,
        X,
        y,
        {"validation": validation},
        test=test,
        n_permutations=n_permutations,
        key=key,
        batch_size=batch_size,
        checkpoint=checkpoint,
        devices=devices,
        progress=progress,
    )["validation"]


def memorization_tests(
    classifier: Any,
    X: Any,
    y: Any,
    validations: Mapping[Any, SharedStructure],
    *,
    test: Holdout | None = None,
    n_permutations: int = 999,
    key: Any = 0,
    batch_size: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    devices: Sequence[Any] | Mesh | None = None,
    progress: bool = True,
) -> dict[Any, MemorizationTest]:
    """`memorization_test` on several shared structure validation sets of the same rows, which share every fit.

    Args:
        validations: sets of perturbed copies by name, or by the strength of the perturbation.

    Returns:
        One result per name. See `memorization_test` for the other arguments.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> noise = np.random.default_rng(1).normal(size=X.shape)
        >>> copies = {sd: jm.SharedStructure(X + sd * noise) for sd in (0.1, 1.0)}
        >>> found = jm.memorization_tests(jm.KNeighbors(1), X, y, copies, n_permutations=99)
        >>> found[0.1].memorization > found[1.0].memorization
        True
    """
    if not isinstance(validations, Mapping):
        raise ValueError(
            f"validations must map names to copies, {{0.1: jm.SharedStructure(X_val)}} say, but is a "
            f"{type(validations).__name__}."
        )
    for design in validations.values():
        if not isinstance(design, SharedStructure):
            raise ValueError(
                "memorization is measured on perturbed copies, jm.SharedStructure(X_val), "
                f"but got a {type(design).__name__}."
            )
    if test is not None and not isinstance(test, Holdout):
        raise ValueError(f"test must be independent rows, jm.Holdout(X_test, y_test), but is a {type(test).__name__}.")
    key = as_key(key)
    labels = as_labels(y)
    classifier = as_classifier(classifier)
    shared, own = [("shared", name) for name in validations], ("own", "test")
    designs = dict(zip(shared, validations.values(), strict=True))
    scored = score_permutations(
        classifier,
        as_rows(X, mesh=mesh_of(devices)),
        labels,
        designs if test is None else designs | {own: test},
        metric=accuracy,
        n_permutations=n_permutations,
        key=key,
        batch_size=batch_size,
        checkpoint=checkpoint,
        devices=devices,
        progress=progress,
        broken=True,
        examples=True,
    )
    on_test = None if test is None else scored.views[own].paired
    results = {}
    for name in validations:
        paired, broken, recovered, rematched = scored.views["shared", name]
        assert broken is not None and recovered is not None and rematched is not None  # Asked for above.
        results[name] = MemorizationTest(
            classifier=repr(classifier),
            y=np.asarray(labels.codes),
            classes=labels.classes,
            **key_fields(key),
            n_permutations=int(n_permutations),
            exact=scored.exact,
            diagnostics=scored.diagnostics,
            statistic=float(paired[0]),
            null_distribution=paired[1:],
            chance_distribution=broken[1:],
            test_statistic=None if on_test is None else float(on_test[0]),
            test_null_distribution=None if on_test is None else on_test[1:],
            example_scores=recovered,
            learning_pvalue=pvalue(float(paired[0]), paired[1:]),
            memorization_pvalue=pvalue(float(rematched[0]), rematched[1:].astype(float)),
        )
    return results
