"""Softmax: the minimum that scikit-learn finds, permutation by permutation, and the truth about how near it is."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import blobs, decisions, labellings
from scipy.special import logsumexp, softmax
from sklearn.linear_model import LogisticRegression

import jaxmem as jm
from jaxmem import Softmax

# Hundreds of small fits to compile; `tests/test_protocol.py` has a few of them in every run.
pytestmark = pytest.mark.nightly

# Of these tests: `tol`, and the excess over scikit-learn's minimum that it must keep to.
TOL = {np.dtype("float32"): 3e-4, np.dtype("float64"): 1e-4}
EXCESS = {np.dtype("float32"): 1e-4, np.dtype("float64"): 1e-6}


def refit(X, labels, l2):
    """scikit-learn's minimum, by Newton's method, as near as double precision comes."""
    return LogisticRegression(C=1 / l2, solver="newton-cholesky", tol=1e-10, max_iter=500).fit(X, labels)


def objective(scores, weights, labels, l2):
    """Summed log losses plus penalty; scores (n, C) and weights (C, d), or (1, d) for two classes."""
    own = scores[np.arange(len(labels)), labels]
    return (logsumexp(scores, axis=1) - own).sum() + 0.5 * l2 * (weights**2).sum()


def run(classifier, X, labels, n_classes, dtype, X_val=None):
    """Our objectives (B,), and scores of other rows; scores are linear, so those of unit vectors give the weights."""
    n, d = X.shape
    others = np.zeros((0, d)) if X_val is None else X_val
    probes = np.concatenate([X, np.eye(d), np.zeros((1, d)), others])
    scores = decisions(classifier, X, labels, probes, n_classes, dtype).astype(float)
    weights = (scores[:, n : n + d] - scores[:, n + d, None]).transpose(0, 2, 1)
    if n_classes == 2:
        weights = weights[:, 1:] - weights[:, :1]
    objectives = [objective(scores[b, :n], weights[b], labels[b], classifier.l2) for b in range(len(labels))]
    return np.array(objectives), scores[:, n + d + 1 :]


def minima(models, X, labels, l2):
    """The same of scikit-learn."""
    objectives = []
    for model, one in zip(models, labels, strict=True):
        scores = model.decision_function(X)
        if scores.ndim == 1:
            scores = np.stack([np.zeros(len(X)), scores], axis=1)
        objectives.append(objective(scores, model.coef_, one, l2))
    return np.array(objectives)


def minima_of_refits(X, labels):
    return minima([refit(X, one, 1.0) for one in labels], X, labels, 1.0)


@pytest.mark.parametrize(
    ("n", "d", "n_classes", "separation", "l2"),
    [
        (120, 8, 2, 0.5, 1.0),
        (120, 8, 3, 0.5, 0.05),
        (200, 12, 10, 0.7, 1.0),
        (30, 50, 2, 0.3, 1.0),
        (30, 50, 3, 0.3, 1.0),
        (25, 40, 10, 0.3, 0.2),
        # Labels that hyperplanes separate with room to spare.
        (120, 8, 2, 4.0, 1.0),
        (120, 8, 3, 4.0, 0.05),
        (30, 50, 3, 4.0, 1.0),
        # More than a block of rows.
        (2_100, 10, 3, 1.0, 1.0),
    ],
)
def test_objective_and_predictions_equal_a_refit_of_scikit_learn(n, d, n_classes, separation, l2, dtype):
    X, y, X_val = blobs(n, d, n_classes, separation=separation)
    X, X_val = ((a + 1).astype(dtype).astype(float) for a in (X, X_val))  # The same numbers for both.
    labels = labellings(y, 4)
    objectives, scores = run(Softmax(l2, tol=TOL[dtype]), X, labels, n_classes, dtype, X_val)
    models = [refit(X, one, l2) for one in labels]
    excess = objectives / minima(models, X, labels, l2) - 1
    assert (np.abs(excess) < EXCESS[dtype]).all(), excess

    expected = np.stack([model.predict_proba(X_val) for model in models])
    tolerance = 10 * TOL[dtype]
    np.testing.assert_allclose(softmax(scores, axis=-1), expected, atol=tolerance)
    np.testing.assert_allclose(scores.sum(axis=-1), 0, atol=1e-4)
    # Rows whose two likeliest classes differ by less than that in probability are ties as far as we know.
    best = np.sort(expected, axis=-1)
    clear = best[..., -1] - best[..., -2] > tolerance
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(scores.argmax(-1)[clear], expected.argmax(-1)[clear])


@partial(jax.jit, static_argnums=(0, 3))
def fit(classifier, X, labels, n_classes):
    state = classifier.prepare(X, n_classes)
    params = jax.vmap(lambda one: classifier.fit(state, one))(labels)
    return state, params, jax.vmap(classifier.diagnostics)(params)


def test_batched_equals_one_at_a_time(float64):
    X, y, X_val = (jnp.asarray(a) for a in blobs(60, 5, 3, separation=4.0))
    classifier, labels = Softmax(), jnp.asarray(labellings(np.asarray(y), 4))
    state = classifier.prepare(X, 3)
    rows = classifier.rows(state, X_val)

    def scores(one):
        return classifier.decision(state, classifier.fit(state, one), rows)

    # The true labels take several times the steps of the others, which wait for them and must not move meanwhile.
    compiled, batched = jax.jit(scores), jax.jit(jax.vmap(scores))
    alone = np.stack([compiled(one) for one in labels])
    np.testing.assert_allclose(batched(labels), alone, atol=1e-9)
    np.testing.assert_allclose(batched(labels[::-1]), alone[::-1], atol=1e-9)
    nested = jax.jit(jax.vmap(jax.vmap(scores)))(labels.reshape(2, 2, -1))
    np.testing.assert_allclose(nested.reshape(alone.shape), alone, atol=1e-9)


@pytest.mark.parametrize("separation", [0.5, 4.0])
def test_diagnostics_tell_the_gradient_and_foretell_the_excess_loss(separation, float64):
    n, n_classes = 200, 4
    X, y, _ = blobs(n, 10, n_classes, separation=separation)
    labels = labellings(y, 3)
    best = minima_of_refits(X, labels)
    for classifier in (Softmax(max_steps=1), Softmax(tol=1e-1), Softmax()):
        state, params, told = fit(classifier, jnp.asarray(X), jnp.asarray(labels), n_classes)

        def loss(weights, one):
            scores = state.coordinates @ weights.T  # noqa: B023
            penalty = 0.5 * (state.penalties[None, :] * weights**2).sum()  # noqa: B023
            return -jax.nn.log_softmax(scores)[jnp.arange(n), one].sum() + penalty

        at, gradients = jax.vmap(jax.value_and_grad(loss))(params.weights, jnp.asarray(labels))
        norms = jnp.linalg.norm(gradients, axis=(1, 2)) * jnp.sqrt(n * jnp.log(n_classes) / 2) / at
        np.testing.assert_allclose(told["gradient_norm"], norms, rtol=1e-6)
        np.testing.assert_array_equal(told["converged"], norms <= classifier.tol)
        assert told["converged"].all() == (classifier.max_steps > 1)
        if classifier.max_steps > 1:
            excess = np.asarray(at) / best - 1
            assert (excess > -1e-9).all() and (excess < 10 * norms**2).all()


# One object each: every call of optax makes another, and a compilation of its own.
@pytest.mark.parametrize(
    ("solver", "steps"), [(optax.adam(0.1), 300), (optax.sgd(0.5, momentum=0.5), 200), (optax.lbfgs(), 20)]
)
def test_any_optax_solver_reaches_the_minimum(solver, steps, float64):
    X, y, _ = blobs(100, 6, 3, separation=0.5)
    labels = labellings(y, 3)
    best = minima_of_refits(X, labels)
    classifier = Softmax(max_steps=steps, solver=solver)
    assert hash(classifier) == hash(Softmax(max_steps=steps, solver=solver))
    objectives, _ = run(classifier, X, labels, 3, jnp.dtype("float64"))
    assert (np.abs(objectives / best - 1) < 1e-4).all()


@pytest.mark.parametrize("d", [6, 60])
def test_constant_features_are_dropped_however_their_copies_are_perturbed(d):
    X, y, X_val = blobs(30, d, 3)
    labels = labellings(y, 3)
    clean = decisions(Softmax(), X, labels, X_val, 3, jnp.float32)
    columns = np.broadcast_to([0.0, 0.1, -1e-30, 1e4 + 0.1], (30, 4))
    perturbed = columns + 1e3 * np.random.default_rng(0).normal(size=(30, 4))
    wider = decisions(Softmax(), np.hstack([X, columns]), labels, np.hstack([X_val, perturbed]), 3, jnp.float32)
    np.testing.assert_allclose(wider, clean, atol=1e-3)


@pytest.mark.parametrize(("n", "d"), [(80, 20), (20, 80)])
def test_collinear_features_stay_finite_and_reach_the_minimum(n, d):
    mix = np.random.default_rng(0).normal(size=(3, d))
    X, y, _ = blobs(n, 3, 3)
    X, labels = (10 * X @ mix).astype("float32").astype(float), labellings(y, 3)
    objectives, _ = run(Softmax(), X, labels, 3, jnp.dtype("float32"))
    assert (np.abs(objectives / minima_of_refits(X, labels) - 1) < 1e-4).all()


def test_all_features_constant_leaves_the_class_frequencies():
    labels = np.stack([np.repeat([0, 1, 2], [5, 3, 1]), np.arange(9) % 3])
    scores = decisions(Softmax(tol=1e-5), np.full((9, 4), 0.1), labels, np.ones((6, 4)), 3, jnp.float32)
    np.testing.assert_allclose(softmax(scores[0], axis=1), np.tile([5 / 9, 3 / 9, 1 / 9], (6, 1)), rtol=1e-3)
    np.testing.assert_allclose(softmax(scores[1], axis=1), 1 / 3, rtol=1e-5)


def test_two_points_worked_out_by_hand(float64):
    # Points -1 and 1 of two classes, no intercept by symmetry: w minimises 2 log(1 + exp(-w)) + w²/2, so that
    # w = 2 / (1 + exp(w)).
    scores = decisions(
        Softmax(tol=1e-8), np.array([[-1.0], [1.0]]), np.array([[0, 1]]), np.array([[1.0]]), 2, jnp.float64
    )
    w = scores[0, 0, 1] - scores[0, 0, 0]
    np.testing.assert_allclose(w, 2 / (1 + np.exp(w)), rtol=1e-7)


def test_the_null_is_that_of_scikit_learn():
    X, y, X_val = blobs(60, 5, 3)
    test = jm.permutation_test(Softmax(), X, y, validation=jm.SharedStructure(X_val), n_permutations=11, key=3)
    for index, score in enumerate([test.statistic, *test.null_distribution]):
        labels = test.labels(index)
        assert score == pytest.approx(refit(X, labels, 1.0).score(X_val, labels), abs=1e-9)


@pytest.mark.parametrize("l2", [0.0, -1.0, float("inf"), float("nan")])
def test_l2_must_be_positive_and_finite(l2):
    with pytest.raises(ValueError, match="l2 must be a finite number > 0"):
        Softmax(l2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tol": 0.0}, "tol must lie between 0 and 1"),
        ({"tol": 1.0}, "tol must lie between 0 and 1"),
        ({"max_steps": 0}, "max_steps must be an integer >= 1"),
        ({"max_steps": 2.5}, "max_steps must be an integer >= 1"),
        ({"solver": "adam"}, r"solver must be None \(L-BFGS\) or an optax GradientTransformation"),
        ({"solver": optax.adam}, "solver must be None"),
    ],
)
def test_the_solvers_options_are_checked(options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        Softmax(**options)
