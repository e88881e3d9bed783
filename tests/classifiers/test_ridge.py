"""Ridge: permutation by permutation what scikit-learn refits, in the four functions and nowhere else."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_predictions, blobs, decisions, decisions_by_blocks, labellings
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxmem import Ridge

TOLERANCE = {np.dtype("float32"): 2e-4, np.dtype("float64"): 1e-9}


def refits(classifier, X, labels, X_val):
    """scikit-learn's predictions (B, m) and decision values, one fit per labelling, in double precision."""
    ridge = RidgeClassifier(alpha=classifier.alpha)
    model = make_pipeline(StandardScaler(), ridge) if classifier.standardize else ridge
    fits = [clone(model).fit(X, one) for one in labels]
    return np.stack([fit.predict(X_val) for fit in fits]), np.stack([fit.decision_function(X_val) for fit in fits])


def assert_equals_scikit_learn(classifier, X, y, X_val, dtype):
    labels = labellings(y, 6)
    n_classes = int(y.max()) + 1
    X, X_val = X.astype(dtype).astype(float), X_val.astype(dtype).astype(float)  # The same numbers for both.
    scores = decisions(classifier, X, labels, X_val, n_classes, dtype)
    predictions, values = refits(classifier, X, labels, X_val)
    # Indicators in {0, 1} instead of {-1, 1}: an affine map.
    ours = 2 * scores - 1 if n_classes > 2 else 2 * scores[..., 1] - 1
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(ours, values, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(scores.sum(axis=-1), 1, rtol=10 * np.finfo(dtype).eps)
    assert_same_predictions(scores, predictions, margin=tolerance)


@pytest.mark.parametrize(
    ("n", "d", "n_classes", "standardize"),
    [
        (60, 7, 2, False),
        (60, 7, 3, True),
        (60, 7, 10, False),
        (30, 50, 2, True),
        (30, 50, 3, False),
        (30, 50, 10, True),
    ],
)
def test_equals_scikit_learn(n, d, n_classes, standardize, dtype):
    X, y, X_val = blobs(n, d, n_classes, seed=n_classes)
    scales = np.geomspace(0.2, 5, d)
    X[:, 1] = 0.25  # A feature that never varies, but for the copies.
    assert_equals_scikit_learn(Ridge(0.7, standardize), X * scales + 1, y, X_val * scales + 1, dtype)


@pytest.mark.parametrize("alpha", [1e-2, 1e4])
def test_equals_scikit_learn_from_weak_to_strong_penalties(alpha, dtype):
    X, y, X_val = blobs(40, 6, 3)
    assert_equals_scikit_learn(Ridge(alpha), X, y, X_val, dtype)


def test_equals_scikit_learn_on_unequal_classes_and_fewer_rows_to_score(dtype):
    X, _, X_val = blobs(40, 6, 3, n_val=11)
    y = np.repeat([0, 1, 2], [30, 8, 2])
    assert_equals_scikit_learn(Ridge(), X, y, X_val, dtype)


def test_as_many_rows_as_features(dtype):
    X, y, X_val = blobs(20, 20, 3)
    assert_equals_scikit_learn(Ridge(), X, y, X_val, dtype)


@pytest.mark.parametrize(("d", "standardize"), [(6, True), (60, False)])
def test_constant_features_are_dropped_however_their_copies_are_perturbed(d, standardize, dtype):
    X, y, X_val = blobs(30, d, 3)
    # Numbers whose mean is not representable, and zeros: dead units.
    columns = np.broadcast_to([0.0, 0.1, -1e-30, 1e4 + 0.1], (30, 4))
    perturbed = columns + 1e3 * np.random.default_rng(0).normal(size=(30, 4))
    clean = decisions(Ridge(1.0, standardize), X, labellings(y, 3), X_val, 3, dtype)
    wider = np.hstack([X, columns]), labellings(y, 3), np.hstack([X_val, perturbed])
    scores = decisions(Ridge(1.0, standardize), *wider, 3, dtype)
    np.testing.assert_allclose(scores, clean, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_all_features_constant_leaves_the_class_frequencies(dtype):
    y = np.repeat([0, 1, 2], [5, 3, 2])
    scores = decisions(Ridge(), np.full((10, 4), 0.1), y[None], np.ones((6, 4)), 3, dtype)
    np.testing.assert_allclose(scores[0], np.tile([0.5, 0.3, 0.2], (6, 1)), rtol=1e-6)


@pytest.mark.parametrize(("n", "d", "standardize"), [(80, 20, False), (80, 20, True), (20, 80, False)])
def test_collinear_features_equal_scikit_learn(n, d, standardize, dtype):
    """Rank 3 in 20 or 80 features: the Gram matrix is singular, and in single precision indefinite."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(3, d))
    X, y, X_val = (10 * part @ mix if part.ndim == 2 else part for part in blobs(n, 3, 3))
    assert_equals_scikit_learn(Ridge(1.0, standardize), X, y, X_val, dtype)


@pytest.mark.parametrize(("n", "d", "decades"), [(300, 40, 6), (30, 40, 4)])
def test_features_of_very_different_scales_equal_scikit_learn(n, d, decades, dtype):
    """A penalty that only the smallest features feel, beside others thousands and millions of times as large."""
    X, y, X_val = blobs(n, d, 3)
    scales = np.geomspace(10 ** (-decades / 2), 10 ** (decades / 2), d)
    assert_equals_scikit_learn(Ridge(), X * scales, y, X_val * scales, dtype)


def closed_form(X, labels, X_val, n_classes, alpha):
    """Scores in double precision by singular values, which is how one would do it without any regard to time."""
    mean = X.mean(axis=0)
    left, values, right = np.linalg.svd(X - mean, full_matrices=False)
    shrunk = (X_val - mean) @ right.T * (values / (values**2 + alpha))
    indicators = labels[:, :, None] == np.arange(n_classes)
    return np.stack([shrunk @ (left.T @ (Y - Y.mean(axis=0))) + Y.mean(axis=0) for Y in indicators])


def hard_features(kind):
    """Features whose Gram matrix in single precision tells little, and copies of them."""
    rng = np.random.default_rng(0)
    if kind == "low rank":
        X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 40))
    elif kind == "rare":
        X = 3.0 * (rng.random((5_000, 30)) < 1e-3)
    elif kind == "periodic":
        X = np.eye(8)[np.arange(4_096) % 8] @ rng.normal(size=(8, 24)) + 0.01 * rng.normal(size=(4_096, 24))
    elif kind == "six decades":
        X = rng.normal(size=(300, 40)) * np.geomspace(1e-3, 1e3, 40)
    else:
        X = rng.normal(size=(20, 50))
    return X, X + 0.3 * X.std(axis=0) * rng.normal(size=X.shape)


@pytest.mark.parametrize("kind", ["low rank", "rare", "periodic", "six decades", "more features than rows"])
@pytest.mark.parametrize("alphas", [(0.1, 1.0, 1e3), (1.0,)])
def test_single_precision_is_enough_for_hard_features_and_for_paths_of_alphas(kind, alphas):
    X, X_val = (part.astype(np.float32) for part in hard_features(kind))
    labels = labellings(np.arange(len(X)) % 3, 2)
    scores = decisions(Ridge(alphas), X, labels, X_val, 3, jnp.float32)
    for number, alpha in enumerate(alphas):
        expected = closed_form(X.astype(float), labels, X_val.astype(float), 3, alpha)
        np.testing.assert_allclose(scores[:, number], expected, atol=1e-3 if kind == "low rank" else 2e-4)


@pytest.mark.parametrize("kind", ["low rank", "rare", "periodic", "six decades"])
@pytest.mark.parametrize("alphas", [(0.1, 1.0, 1e3), (1.0,)])
def test_so_it_is_where_rows_come_a_block_at_a_time(kind, alphas):
    X, X_val = (part.astype(np.float32) for part in hard_features(kind))
    labels = labellings(np.arange(len(X)) % 3, 2)
    scores = decisions_by_blocks(Ridge(alphas), X, labels, X_val, 3, jnp.float32, len(X) // 7)
    for number, alpha in enumerate(alphas):
        expected = closed_form(X.astype(float), labels, X_val.astype(float), 3, alpha)
        # Scores beyond one are rounded as such.
        atol = (1e-3 if kind == "low rank" else 2e-4) * max(1, np.abs(expected).max())
        np.testing.assert_allclose(scores[:, number], expected, atol=atol)


@pytest.mark.parametrize("alpha", [1e-8, 1e-4])
def test_next_to_no_penalty_on_more_features_than_rows(alpha):
    X, X_val = (part.astype(np.float32) for part in hard_features("more features than rows"))
    labels = labellings(np.arange(20) % 3, 2)
    expected = closed_form(X.astype(float), labels, X_val.astype(float), 3, alpha)
    np.testing.assert_allclose(decisions(Ridge(alpha), X, labels, X_val, 3, jnp.float32), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("alpha", "message"), [(1e39, "zero or infinite"), (1e-60, "zero or infinite"), ((1e-4, 1e4), "spans 1e")]
)
def test_penalties_beyond_the_precision_of_the_features_are_refused(alpha, message):
    with pytest.raises(ValueError, match=message):
        Ridge(alpha).prepare(jnp.ones((4, 2), jnp.float32), 2)


def test_scores_are_the_normal_equations_worked_out_by_hand(float64):
    # One feature -1, 0, 1 and alpha 1: the coefficient is Σ z y / (2 + 1), the intercept the class frequency.
    X, labels = np.array([[4.0], [5.0], [6.0]]), np.array([[0, 0, 1], [1, 0, 0]])
    scores = decisions(Ridge(1.0), X, labels, np.array([[5.0], [8.0]]), 2, jnp.float64)
    np.testing.assert_allclose(scores[0, :, 1], [1 / 3, 1 / 3 + 3 * (1 / 3)])
    np.testing.assert_allclose(scores[1, :, 1], [1 / 3, 1 / 3 + 3 * (-1 / 3)])


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan"), None, "1", True, (), (1.0, None)])
def test_alpha_must_be_positive_and_finite(alpha, unchecked):
    with pytest.raises(ValueError, match="alpha must be a finite number > 0"):
        Ridge(alpha)


def test_alpha_may_be_a_number_of_any_library(unchecked):
    assert Ridge(jnp.float32(0.5)) == Ridge(np.float64(0.5)) == Ridge(0.5)
    assert hash(Ridge((np.float32(0.5), 1))) == hash(Ridge((0.5, 1)))


@pytest.mark.parametrize("alpha", [[0.1, 1.0], np.array([0.1, 1.0])])
def test_alphas_that_cannot_be_hashed_are_refused_with_those_that_can(alpha, unchecked):
    with pytest.raises(ValueError, match=r"hashable: tuple\(\[0.1, 1.0\]\)"):
        Ridge(alpha)
