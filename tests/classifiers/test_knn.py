"""k-nearest neighbours: scikit-learn's predictions, an exact search in blocks, and who wins a tie."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import blobs, decisions, labellings
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

import jaxmem as jm
from jaxmem import KNeighbors
from jaxmem.classifiers import knn
from jaxmem.metrics import Metric


@pytest.mark.parametrize("n_neighbors", [1, 3, 5])
@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_equals_scikit_learn(n_neighbors, n_classes, dtype):
    X, y, X_val = blobs(80, 6, n_classes, noise=2.0)
    labels = labellings(y, 5)
    scores = decisions(KNeighbors(n_neighbors), X, labels, X_val, n_classes, dtype)
    fits = [KNeighborsClassifier(n_neighbors).fit(X, one) for one in labels]
    np.testing.assert_array_equal(scores.argmax(-1), [fit.predict(X_val) for fit in fits])
    np.testing.assert_allclose(scores, [fit.predict_proba(X_val) for fit in fits], atol=1e-6)


def neighbours(n_neighbors, X, X_val):
    classifier = KNeighbors(n_neighbors)
    return np.asarray(classifier.rows(classifier.prepare(jnp.asarray(X), 2), jnp.asarray(X_val)).neighbors)


@pytest.mark.parametrize("n_neighbors", [1, 4, 50])
def test_the_search_in_blocks_is_the_search_of_all_distances(n_neighbors, monkeypatch, float64):
    X, _, X_val = blobs(50, 5, 2, n_val=37)
    everyone = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(X).kneighbors(X_val)[1]
    np.testing.assert_array_equal(neighbours(n_neighbors, X, X_val), everyone)
    for at_once in (1, 50 * 7, 50 * 37):  # Blocks of one row (even where memory holds less), 5 of 7 and 2 left, all.
        monkeypatch.setattr(knn, "_DISTANCES_AT_ONCE", at_once)
        np.testing.assert_array_equal(neighbours(n_neighbors, X, X_val), everyone)


def test_an_offset_costs_no_precision_in_single_precision():
    """Far from the origin |x - z|² cancels; centring restores it: features of the size of an offset must survive."""
    X, _, X_val = blobs(200, 8, 2)
    offset = np.float32(4096)  # Both fit into 24 bits: the sums below are the exact ones rounded to 2^-11.
    near, near_val = (np.asarray(part + offset, np.float32) for part in (X, X_val))
    exact = NearestNeighbors(n_neighbors=1).fit(near.astype(float)).kneighbors(near_val.astype(float))[1]
    np.testing.assert_array_equal(neighbours(1, near, near_val), exact)


def test_a_feature_that_hardly_varies_leaves_the_others_their_distances():
    X, _, X_val = blobs(30, 4, 2)
    expected = neighbours(1, X.astype(np.float32), X_val.astype(np.float32))
    for span in np.float32([1e-38, 3e-38, 1e-37, 1e-36]):
        wider, wider_val = (
            np.column_stack([part, span * np.linspace(1, 2, len(part))]).astype(np.float32) for part in (X, X_val)
        )
        np.testing.assert_array_equal(neighbours(1, wider, wider_val), expected)


def test_ties_between_distances_go_to_the_first_row_and_between_votes_to_the_first_class():
    X = np.array([[0.0], [2.0], [2.0], [0.0]], np.float32)
    np.testing.assert_array_equal(neighbours(1, X, np.array([[1.0], [0.0], [2.0]], np.float32))[:, 0], [0, 0, 1])
    np.testing.assert_array_equal(neighbours(4, X, np.array([[1.9]], np.float32))[0], [1, 2, 0, 3])
    scores = decisions(KNeighbors(2), X, np.array([[1, 0, 1, 0]]), np.array([[0.1]]), 2, jnp.float32)
    np.testing.assert_array_equal(scores, [[[0.5, 0.5]]])  # Rows 0 and 3 vote 1 and 0; argmax takes class 0.


@pytest.mark.parametrize("offset", [0, 1_000])
@pytest.mark.parametrize("highest", [1, 2, 9])  # Indicators, and counts.
def test_ties_are_ties_of_features_on_a_grid(highest, offset):
    rng = np.random.default_rng(highest)
    X, X_val = rng.integers(0, highest + 1, (60, 5)) + offset, rng.integers(0, highest + 1, (40, 5)) + offset
    squares = ((X_val[:, None, :] - X[None, :, :]) ** 2).sum(axis=2)
    first = np.argsort(squares, axis=1, kind="stable")
    assert (np.sort(squares, axis=1)[:, 0] == np.sort(squares, axis=1)[:, 1]).any()
    for n_neighbors in (1, 5):
        found = neighbours(n_neighbors, X.astype(np.float32), X_val.astype(np.float32))
        np.testing.assert_array_equal(found, first[:, :n_neighbors])


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("n_neighbors", [1, 2, 5, knn._FEW_NEIGHBORS, knn._FEW_NEIGHBORS + 1])
@pytest.mark.parametrize("n_classes", [2, 7, 300])
def test_predicted_without_scores_are_the_classes_that_score_best(n_neighbors, n_classes, weights):
    X, _, X_val = (jnp.asarray(part) for part in blobs(60, 4, 2))
    classifier = KNeighbors(n_neighbors, weights=weights)
    state = classifier.prepare(X, n_classes)
    rows = classifier.rows(state, X_val)
    for seed in range(5):  # Classes that occur often, for votes to tie.
        labels = np.random.default_rng(seed).choice([0, 1, n_classes - 1], 60)
        labels = jnp.asarray(labels, jnp.uint8 if n_classes <= 256 else jnp.int32)
        scores, predicted = classifier.decision(state, labels, rows), classifier.predicted(state, labels, rows)
        np.testing.assert_array_equal(predicted.classes, scores.argmax(axis=1))
        assert predicted.shape == scores.shape


class Farthest(KNeighbors):
    """The class of fewest votes: another decision, and no prediction of its own."""

    def decision(self, state, params, rows):
        return -super().decision(state, params, rows)


def test_another_decision_is_not_passed_over():
    X, y, _ = blobs(30, 4, 2)
    chosen = {"validation": jm.Resubstitution(), "n_permutations": 9, "progress": False}
    assert jm.permutation_test(KNeighbors(1), X, y, **chosen).statistic == 1
    assert jm.permutation_test(Farthest(1), X, y, **chosen).statistic == 0


def test_a_metric_that_takes_scores_apart_is_told_that_there_are_none():
    X, y, _ = blobs(30, 4, 2)

    def n_right(scores, labels):
        return (scores.argmax(axis=1) == labels).sum()

    chosen = {"validation": jm.Resubstitution(), "n_permutations": 9, "progress": False}
    own = Metric("own", n_right, lambda total, n_rows: total / n_rows)
    assert jm.permutation_test(KNeighbors(1), X, y, metric=own, **chosen).statistic == 1
    with pytest.raises(ValueError, match="KNeighbors predicts without: let it look at them through"):
        jm.permutation_test(KNeighbors(1), X, y, metric=replace(own, needs="prediction"), **chosen)
    # Not where there are scores, after all.
    assert jm.permutation_test(Farthest(1), X, y, metric=replace(own, needs="prediction"), **chosen).statistic == 0


def test_one_neighbour_recovers_every_training_row():
    X, _, _ = blobs(60, 4, 2)
    np.testing.assert_array_equal(neighbours(1, X.astype(np.float32), X.astype(np.float32))[:, 0], np.arange(60))


def test_more_neighbours_than_rows_are_refused():
    with pytest.raises(ValueError, match="n_neighbors is 5, but there are only 4 training rows"):
        KNeighbors(5).prepare(jnp.zeros((4, 2)), 2)


@pytest.mark.parametrize("n_neighbors", [0, -1, 2.0, "3"])
def test_the_number_of_neighbours_is_a_positive_integer(n_neighbors, unchecked):
    with pytest.raises(ValueError, match="n_neighbors must be an integer >= 1"):
        KNeighbors(n_neighbors)
