"""Gaussian naive Bayes: by hand, against scikit-learn refitted, and where a feature does not vary."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_predictions, blobs, decisions, labellings
from scipy import stats
from sklearn import naive_bayes

import jaxmem as jm

# Many small fits to compile; `tests/test_protocol.py` has a few of them in every run.
pytestmark = pytest.mark.nightly

SHAPES = [(120, 8, 2), (150, 20, 3), (400, 30, 10), (60, 90, 2), (60, 90, 3), (80, 100, 10)]
N_LABELLINGS = 4


def data(n, d, n_classes):
    """Features of unlike means and variances."""
    X, y, X_val = blobs(n, d, n_classes)
    scales, shifts = np.geomspace(0.01, 10, d), np.linspace(-3, 20, d)
    return (
        (X * scales + shifts).astype(np.float32),
        labellings(y, N_LABELLINGS),
        (X_val * scales + shifts).astype(np.float32),
    )


def refitted(X, labels, X_val, **kwargs):
    """Joint log-likelihoods (B, m, C) of scikit-learn, one fit per labelling."""
    X, X_val = X.astype(float), X_val.astype(float)
    return np.array([naive_bayes.GaussianNB(**kwargs).fit(X, one).predict_joint_log_proba(X_val) for one in labels])


def assert_same_decisions(scores, expected, rtol=1e-9):
    """Equal up to a constant per row."""
    expected = expected - expected.mean(axis=-1, keepdims=True)
    scores = scores - scores.mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(scores, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def test_two_classes_on_a_line(float64):
    X, labels, X_val = np.array([[0.0], [2], [4], [10]]), np.array([[0, 0, 1, 1]]), np.array([[0.0], [3], [-50]])
    scores = decisions(jm.GaussianNB(var_smoothing=0.0), X, labels, X_val, 2, jnp.float64)[0]
    expected = stats.norm(7, 3).logpdf(X_val[:, 0]) - stats.norm(1, 1).logpdf(X_val[:, 0])
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], expected, rtol=1e-9)


@pytest.mark.parametrize("var_smoothing", [1e-9, 0.1])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_scikit_learn(float64, shape, var_smoothing):
    X, labels, X_val = data(*shape)
    expected = refitted(X, labels, X_val, var_smoothing=var_smoothing)
    scores = decisions(jm.GaussianNB(var_smoothing), X, labels, X_val, shape[2], jnp.float64)
    assert_same_decisions(scores, expected)
    np.testing.assert_array_equal(scores.argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("shape", SHAPES)
def test_single_precision_predicts_the_same(shape):
    X, labels, X_val = data(*shape)
    expected = refitted(X, labels, X_val)
    scores = decisions(jm.GaussianNB(), X, labels, X_val, shape[2], jnp.float32)
    assert_same_decisions(scores, expected, rtol=2e-4)
    assert_same_predictions(scores, expected.argmax(-1), margin=1e-3)


def test_uneven_classes(float64):
    X, y, X_val = blobs(200, 10, 2)
    labels = labellings(np.where(np.arange(200) < 7, 0, y + 1), N_LABELLINGS)
    assert_same_decisions(decisions(jm.GaussianNB(), X, labels, X_val, 3, jnp.float64), refitted(X, labels, X_val))


def test_loop_equals_vmap(float64):
    X, labels, X_val = data(150, 20, 3)
    classifier = jm.GaussianNB()
    state = classifier.prepare(jnp.asarray(X, jnp.float64), 3)
    rows = classifier.rows(state, jnp.asarray(X_val, jnp.float64))
    loop = [classifier.decision(state, classifier.fit(state, jnp.asarray(one)), rows) for one in labels]
    together = decisions(classifier, X, labels, X_val, 3, jnp.float64)
    np.testing.assert_allclose(together, np.array(loop), rtol=1e-10, atol=1e-10)


def test_a_permutation_test_runs():
    X, labels, X_val = data(150, 20, 3)
    test = jm.permutation_test(
        jm.GaussianNB(), X, labels[0], validation=jm.SharedStructure(X_val), n_permutations=99, progress=False
    )
    assert test.pvalue == 0.01


def test_a_constant_feature_changes_nothing():
    X, labels, X_val = data(150, 10, 3)
    dead = np.random.default_rng(1).normal(size=(150, 1)).astype(np.float32)
    wide, wide_val = np.hstack([X, np.full_like(dead, 0.1)]), np.hstack([X_val, 1e6 * dead])
    scores = decisions(jm.GaussianNB(), wide, labels, wide_val, 3, jnp.float32)
    np.testing.assert_allclose(scores, decisions(jm.GaussianNB(), X, labels, X_val, 3, jnp.float32), rtol=1e-4)


def test_a_feature_that_is_constant_within_a_class_is_finite_and_decides(float64):
    X, labels, X_val = data(150, 10, 3)
    X[:, 0] = X_val[:, 0] = labels[0]
    for classifier in (jm.GaussianNB(), jm.GaussianNB(var_smoothing=0.0)):
        scores = decisions(classifier, X, labels, X_val, 3, jnp.float64)
        assert np.isfinite(scores).all()
        np.testing.assert_array_equal(scores[0].argmax(-1), labels[0])
    assert np.isfinite(decisions(classifier, X, labels, X_val, 3, jnp.float32)).all()


@pytest.mark.parametrize("var_smoothing", [1e-9, 0.0])
def test_features_that_are_all_constant_leave_the_priors(var_smoothing):
    X, labels = np.ones((20, 3)), np.arange(20)[None, :] % 4 // 3
    scores = decisions(jm.GaussianNB(var_smoothing), X, labels, X + 1, 2, jnp.float32)
    np.testing.assert_allclose(scores, np.broadcast_to(np.log([0.75, 0.25]), (1, 20, 2)), rtol=1e-6)


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_a_class_without_rows_is_never_predicted(float64, missing):
    X, labels, X_val = data(150, 20, 3)
    classes = np.delete(np.arange(4), missing)
    scores = decisions(jm.GaussianNB(), X, classes[labels], X_val, 4, jnp.float64)
    np.testing.assert_array_equal(scores[..., missing], -np.inf)
    assert_same_decisions(scores[..., classes], refitted(X, labels, X_val))


@pytest.mark.parametrize("var_smoothing", [-1e-9, float("inf"), float("nan")])
def test_other_smoothing_is_refused(var_smoothing):
    with pytest.raises(ValueError, match="var_smoothing must be a finite number >= 0"):
        jm.GaussianNB(var_smoothing)
