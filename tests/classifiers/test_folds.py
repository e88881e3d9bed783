"""Folds taken out of what is known of all rows: the same scores as from features prepared without them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import blobs
from sklearn.linear_model import RidgeClassifier

import jaxmem as jm
from jaxmem.classifiers.base import Foldable


def folds(n, n_splits, seed=0):
    place = np.random.default_rng(seed).permutation(n) % n_splits
    return [(np.flatnonzero(place == k), np.flatnonzero(place != k)) for k in range(n_splits)]


def both(classifier, X, y, n_classes, inside, outside, largest):
    """Scores of a fold's rows, with the fold taken out, and with the others prepared anew."""
    whole = classifier.foldable(X, n_classes, largest)
    return _both(classifier, n_classes, whole, X, y, jnp.asarray(inside), jnp.asarray(outside))


@partial(jax.jit, static_argnums=(0, 1))
def _both(classifier, n_classes, whole, X, y, inside, outside):
    state, rows = classifier.fold(whole, inside, outside)
    found = classifier.decision(state, classifier.fit(state, y[outside]), rows)
    state = classifier.prepare(X[outside], n_classes)
    rows = classifier.rows(state, X[inside])
    return found, classifier.decision(state, classifier.fit(state, y[outside]), rows)


@pytest.mark.parametrize(
    ("classifier", "n", "d"),
    [
        (jm.Ridge(), 40, 6),
        (jm.Ridge(alpha=0.01, standardize=True), 40, 6),
        (jm.Ridge(alpha=0.1), 20, 50),
        (jm.KNeighbors(1), 40, 6),
        (jm.KNeighbors(4, weights="distance"), 40, 6),
        (jm.KNeighbors(30, metric="cosine"), 40, 6),
    ],
    ids=str,
)
def test_a_fold_taken_out_leaves_what_the_others_give_alone(classifier, n, d, float64):
    assert isinstance(classifier, Foldable)
    X, y, _ = blobs(n, d, 3)
    X = jnp.asarray(X * np.geomspace(1e-2, 1e2, d) + 7)
    y = jnp.asarray(y, jnp.uint8)
    for inside, outside in folds(n, 4):
        found, expected = both(classifier, X, y, 3, inside, outside, largest=-(-n // 4))
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


def test_features_that_vary_in_the_fold_alone_carry_nothing(float64):
    X, y, _ = blobs(30, 4, 2)
    X[:, 2] = 0
    X[:5, 2] = np.arange(5) + 1e3
    y = jnp.asarray(y, jnp.uint8)
    for classifier in (jm.Ridge(), jm.Ridge(standardize=True)):
        found, expected = both(classifier, jnp.asarray(X), y, 2, np.arange(5), np.arange(5, 30), 5)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_where_it_would_lose_digits_or_cannot_be_features_are_prepared_anew():
    X = np.random.default_rng(0).normal(size=(20, 30))
    assert jm.Ridge().foldable(jnp.asarray(X, jnp.float32), 2, 5) is None
    with jax.enable_x64(True):
        assert jm.Ridge(alpha=(1.0, 2.0)).foldable(jnp.asarray(X), 2, 5) is None
        assert jm.Ridge(standardize=True).foldable(jnp.asarray(X), 2, 5) is None
        assert jm.Ridge().foldable(jnp.asarray(X), 2, 5) is not None
    assert jm.KNeighbors().foldable(jnp.zeros((30_000, 1), jnp.float32), 2, 6_000) is None


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("far", [1e4, 1e9])
def test_a_row_so_far_away_that_the_others_are_rounded_off_beside_it_is_not_taken_out(far, standardize, float64):
    X, y, _ = blobs(40, 4, 2)
    near = jm.Ridge(standardize=standardize).foldable(jnp.asarray(X), 2, 10)
    X[3, 0] = far
    whole = jm.Ridge(standardize=standardize).foldable(jnp.asarray(X), 2, 10)
    assert near is not None and (whole is None) == (far > 1e6)
    test = jm.permutation_test(
        jm.Ridge(standardize=standardize), X, y, validation=jm.KFold(4, stratified=True), n_permutations=19
    )
    accuracies = []
    for labels in map(np.asarray, map(test.labels, range(1, 20))):
        fold = np.asarray(jm.KFold(4, stratified=True).folds(jnp.asarray(labels), 2))
        right = []
        for k in range(4):
            scale = X[fold != k].std(axis=0) if standardize else 1
            model = RidgeClassifier(solver="svd").fit(X[fold != k] / scale, labels[fold != k])
            right.append(model.score(X[fold == k] / scale, labels[fold == k]))
        accuracies.append(np.mean(right))
    np.testing.assert_allclose(test.null_distribution, accuracies)


def test_folds_that_leave_too_few_neighbours_are_refused():
    X = jnp.asarray(np.random.default_rng(0).normal(size=(20, 3)), jnp.float32)
    assert jm.KNeighbors(15).foldable(X, 2, 5) is not None
    with pytest.raises(ValueError, match="leave only 15"):
        jm.KNeighbors(16).foldable(X, 2, 5)
