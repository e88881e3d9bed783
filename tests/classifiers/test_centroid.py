"""Nearest centroid: by hand, against scikit-learn refitted, and where there is nothing to tell classes apart by."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_predictions, blobs, decisions, labellings
from scipy.spatial.distance import cdist
from sklearn import neighbors

import jaxmem as jm

# Many small fits to compile; `tests/test_protocol.py` has a few of them in every run.
pytestmark = pytest.mark.nightly

SHAPES = [(120, 8, 2), (150, 20, 3), (400, 30, 10), (60, 90, 2), (60, 90, 3), (80, 100, 10)]
N_LABELLINGS = 4


def data(n, d, n_classes):
    X, y, X_val = blobs(n, d, n_classes)
    return X.astype(np.float32), labellings(y, N_LABELLINGS), X_val.astype(np.float32)


def centroids(X, labels):
    return np.array([X[labels == k].mean(axis=0, dtype=float) for k in range(labels.max() + 1)])


def test_euclidean_by_hand(float64):
    X, labels, X_val = np.array([[0.0, 0], [2, 0], [5, 1], [5, 3]]), np.array([[0, 0, 1, 1]]), np.array([[3.0, 1]])
    scores = decisions(jm.NearestCentroid(), X, labels, X_val, 2, jnp.float64)[0, 0]
    # Means (1, 0) and (5, 2), at squared distances 5 and 5; a step to the right brings the second nearer.
    np.testing.assert_allclose(scores[1] - scores[0], 0, atol=1e-12)
    scores = decisions(jm.NearestCentroid(), X, labels, np.array([[4.0, 1]]), 2, jnp.float64)[0, 0]
    np.testing.assert_allclose(scores[1] - scores[0], (10 - 2) / 2, atol=1e-12)


def test_cosine_by_hand(float64):
    X, labels = np.array([[1.0, 0], [3, 0], [0, 1], [0, 9]]), np.array([[0, 0, 1, 1]])
    scores = decisions(jm.NearestCentroid("cosine"), X, labels, np.array([[3.0, 4], [0, 0]]), 2, jnp.float64)[0]
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], [0.8 - 0.6, 0], atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_scikit_learn(float64, shape):
    X, labels, X_val = data(*shape)
    scores = decisions(jm.NearestCentroid(), X, labels, X_val, shape[2], jnp.float64)
    for one, score in zip(labels, scores, strict=True):
        expected = neighbors.NearestCentroid().fit(X.astype(float), one).predict(X_val.astype(float))
        np.testing.assert_array_equal(score.argmax(-1), expected)
        halves = -0.5 * cdist(X_val, centroids(X, one), "sqeuclidean")
        np.testing.assert_allclose(score - score[:, :1], halves - halves[:, :1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_cosine_equals_scipy(float64, shape):
    X, labels, X_val = data(*shape)
    scores = decisions(jm.NearestCentroid("cosine"), X, labels, X_val, shape[2], jnp.float64)
    for one, score in zip(labels, scores, strict=True):
        cosines = 1 - cdist(X_val, centroids(X, one), "cosine")
        np.testing.assert_allclose(score - score[:, :1], cosines - cosines[:, :1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_single_precision_predicts_the_same(shape):
    X, labels, X_val = data(*shape)
    expected = [neighbors.NearestCentroid().fit(X.astype(float), one).predict(X_val.astype(float)) for one in labels]
    scores = decisions(jm.NearestCentroid(), X, labels, X_val, shape[2], jnp.float32)
    assert_same_predictions(scores, expected, margin=1e-4)


def test_single_precision_far_from_zero():
    X, labels, X_val = data(400, 30, 10)
    X, X_val = X + 1_000, X_val + 1_000
    expected = [neighbors.NearestCentroid().fit(X.astype(float), one).predict(X_val.astype(float)) for one in labels]
    assert_same_predictions(decisions(jm.NearestCentroid(), X, labels, X_val, 10, jnp.float32), expected, margin=1e-3)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_loop_equals_vmap(float64, metric):
    X, labels, X_val = data(150, 20, 3)
    classifier = jm.NearestCentroid(metric)
    state = classifier.prepare(jnp.asarray(X, jnp.float64), 3)
    rows = classifier.rows(state, jnp.asarray(X_val, jnp.float64))
    loop = [classifier.decision(state, classifier.fit(state, jnp.asarray(one)), rows) for one in labels]
    together = decisions(classifier, X, labels, X_val, 3, jnp.float64)
    np.testing.assert_allclose(together, np.array(loop), rtol=1e-10, atol=1e-10)


def test_a_permutation_test_runs():
    X, labels, X_val = data(150, 20, 3)
    validation = jm.SharedStructure(X_val)
    test = jm.permutation_test(
        jm.NearestCentroid(), X, labels[0], validation=validation, n_permutations=99, progress=False
    )
    assert test.pvalue == 0.01


def test_a_constant_feature_changes_nothing():
    X, labels, X_val = data(150, 10, 3)
    dead = np.random.default_rng(1).normal(size=(150, 1)).astype(np.float32)
    wide, wide_val = np.hstack([X, np.full_like(dead, 0.1)]), np.hstack([X_val, 1e6 * dead])
    scores = decisions(jm.NearestCentroid(), wide, labels, wide_val, 3, jnp.float32)
    np.testing.assert_allclose(scores, decisions(jm.NearestCentroid(), X, labels, X_val, 3, jnp.float32), rtol=1e-5)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_features_of_zeros_tie_all_classes(metric):
    X, labels = np.zeros((20, 3)), np.arange(20)[None, :] % 4 // 3
    scores = decisions(jm.NearestCentroid(metric), X, labels, X, 2, jnp.float32)
    np.testing.assert_array_equal(scores, np.zeros((1, 20, 2)))


@pytest.mark.parametrize("missing", [0, 1, 3])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_class_without_rows_is_never_predicted(float64, missing, metric):
    X, labels, X_val = data(150, 20, 3)
    classes = np.delete(np.arange(4), missing)
    scores = decisions(jm.NearestCentroid(metric), X, classes[labels], X_val, 4, jnp.float64)
    np.testing.assert_array_equal(scores[..., missing], -np.inf)
    expected = decisions(jm.NearestCentroid(metric), X, labels, X_val, 3, jnp.float64)
    np.testing.assert_array_equal(scores.argmax(-1), classes[expected.argmax(-1)])


def test_other_metrics_are_refused():
    with pytest.raises(ValueError, match="metric must be one of 'euclidean', 'cosine', but is 'manhattan'"):
        jm.NearestCentroid("manhattan")
