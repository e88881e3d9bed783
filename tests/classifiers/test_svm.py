"""LinearSVM: the minimum that scikit-learn's LinearSVC looks for, permutation by permutation, often nearer to it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import blobs, decisions, labellings
from scipy.optimize import minimize
from sklearn.svm import LinearSVC

import jaxmem as jm
from jaxmem import LinearSVM

# Hundreds of small fits to compile; `tests/test_protocol.py` has a few of them in every run.
pytestmark = pytest.mark.nightly

TOL = {np.dtype("float32"): 3e-4, np.dtype("float64"): 1e-4}
EXCESS = {np.dtype("float32"): 1e-4, np.dtype("float64"): 1e-6}


def objective(scores, weights, labels, C):
    """Penalty plus C times summed squared hinges, over all problems; scores (n, k) and weights (k, d + 1)."""
    targets = np.where(np.arange(scores.shape[1]) == labels[:, None], 1, -1)
    return 0.5 * (weights**2).sum() + C * (np.maximum(1 - targets * scores, 0) ** 2).sum()


def minimum(X, labels, n_classes, C):
    """Weights (k, d + 1) that minimise it: SciPy from zero, then Newton steps until the rows inside the margin stay."""
    design = np.column_stack([X, np.ones(len(X))])
    weights = []
    for k in [1] if n_classes == 2 else range(n_classes):
        t = np.where(labels == k, 1.0, -1.0)

        def value_and_gradient(w, t=t):
            short = np.maximum(1 - t * (design @ w), 0)
            return 0.5 * w @ w + C * short @ short, w - 2 * C * design.T @ (t * short)

        start = minimize(value_and_gradient, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B")
        w = start.x
        for _ in range(50):
            inside = design[t * (design @ w) < 1]
            step = np.linalg.solve(np.eye(len(w)) + 2 * C * inside.T @ inside, value_and_gradient(w)[1])
            length = 1.0
            while value_and_gradient(w - length * step)[0] > value_and_gradient(w)[0] and length > 1e-6:
                length /= 2
            w = w - length * step
            if np.abs(step).max() < 1e-10:
                break
        assert np.abs(value_and_gradient(w)[1]).max() < 1e-6 * max(1, C)
        weights.append(w)
    return np.array(weights)


def run(classifier, X, labels, n_classes, dtype, X_val=None):
    """Our objectives (B,), and scores of other rows; scores are linear, so those of unit vectors give the weights."""
    n, d = X.shape
    others = np.zeros((0, d)) if X_val is None else X_val
    probes = np.concatenate([X, np.eye(d), np.zeros((1, d)), others])
    scores = decisions(classifier, X, labels, probes, n_classes, dtype).astype(float)
    intercepts = scores[:, n + d, None]
    weights = np.concatenate([scores[:, n : n + d] - intercepts, intercepts], axis=1).transpose(0, 2, 1)
    if n_classes == 2:
        np.testing.assert_array_equal(scores[..., 0], -scores[..., 1])
        problems, ours = [one == 1 for one in labels], slice(1, 2)
        each = [
            objective(scores[b, :n, ours], weights[b, ours], 1 - problems[b], classifier.C) for b in range(len(labels))
        ]
    else:
        each = [objective(scores[b, :n], weights[b], labels[b], classifier.C) for b in range(len(labels))]
    return np.array(each), scores[:, n + d + 1 :]


def minimal_objective(weights, X, labels, C):
    scores = np.column_stack([X, np.ones(len(X))]) @ weights.T
    return objective(scores, weights, 1 - (labels == 1) if len(weights) == 1 else labels, C)


SHAPES = pytest.mark.parametrize(
    ("n", "d", "n_classes", "separation", "C"),
    [
        (120, 8, 2, 0.5, 1.0),
        (120, 8, 3, 0.5, 10.0),
        (200, 12, 10, 0.7, 0.1),
        (30, 50, 2, 0.3, 1.0),
        (30, 50, 3, 0.3, 1.0),
        (25, 40, 10, 0.3, 0.1),
        # Labels that hyperplanes separate with room to spare.
        (120, 8, 2, 4.0, 1.0),
        (120, 8, 3, 4.0, 10.0),
        (30, 50, 3, 4.0, 1.0),
    ],
)


@SHAPES
def test_objective_and_predictions_equal_the_minimum(n, d, n_classes, separation, C, dtype):
    X, y, X_val = blobs(n, d, n_classes, separation=separation)
    X, X_val = ((a + 1).astype(dtype).astype(float) for a in (X, X_val))  # The same numbers for both.
    labels = labellings(y, 4)
    objectives, scores = run(LinearSVM(C, tol=TOL[dtype]), X, labels, n_classes, dtype, X_val)
    weights = [minimum(X, one, n_classes, C) for one in labels]
    best = [minimal_objective(w, X, one, C) for w, one in zip(weights, labels, strict=True)]
    excess = objectives / best - 1
    assert (np.abs(excess) < EXCESS[dtype]).all(), excess

    expected = np.stack([np.column_stack([X_val, np.ones(n)]) @ w.T for w in weights])
    if n_classes == 2:
        expected = np.concatenate([-expected, expected], axis=2)
    tolerance = 20 * TOL[dtype]
    np.testing.assert_allclose(scores, expected, atol=tolerance)
    # Rows whose two best scores differ by less than that are ties as far as we know.
    ordered = np.sort(expected, axis=-1)
    clear = ordered[..., -1] - ordered[..., -2] > tolerance
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(scores.argmax(-1)[clear], expected.argmax(-1)[clear])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_equals_linear_svc(n_classes, float64):
    """The same convention for the intercept: it is penalised, and the origin of the features matters."""
    X, y, X_val = blobs(120, 8, n_classes, separation=0.5)
    X, X_val = X + 3, X_val + 3
    labels = labellings(y, 4)
    objectives, scores = run(LinearSVM(0.5, tol=1e-5), X, labels, n_classes, jnp.dtype("float64"), X_val)
    for b, one in enumerate(labels):
        model = LinearSVC(C=0.5, loss="squared_hinge", dual="auto", tol=1e-9, max_iter=100_000).fit(X, one)
        weights = np.column_stack([model.coef_, model.intercept_])
        np.testing.assert_allclose(objectives[b], minimal_objective(weights, X, one, 0.5), rtol=1e-6)
        values = model.decision_function(X_val)
        np.testing.assert_allclose(scores[b, :, 1] if n_classes == 2 else scores[b], values, atol=1e-3)
        margins = np.sort(scores[b], axis=-1)
        clear = margins[:, -1] - margins[:, -2] > 2e-3
        assert clear.mean() > 0.95
        np.testing.assert_array_equal(scores[b].argmax(-1)[clear], model.predict(X_val)[clear])


def test_diagnostics_tell_the_truth(float64):
    X, y, _ = blobs(90, 6, 3, separation=0.5)
    labels = labellings(y, 3)
    best = np.array([minimal_objective(minimum(X, one, 3, 1.0), X, one, 1.0) for one in labels])
    for classifier in (LinearSVM(max_steps=1), LinearSVM()):
        state = classifier.prepare(jnp.asarray(X), 3)
        params = jax.jit(jax.vmap(lambda one: classifier.fit(state, one)))(jnp.asarray(labels))  # noqa: B023
        told = jax.vmap(classifier.diagnostics)(params)

        def loss(weights, one):
            targets = jnp.where(jnp.arange(3)[None, :] == one[:, None], 1, -1)
            hinges = jnp.maximum(1 - targets * (state.coordinates @ weights.T), 0)  # noqa: B023
            return (hinges**2).sum() + 0.5 * (state.penalties[None, :] * weights**2).sum()  # noqa: B023

        at, gradients = jax.vmap(jax.value_and_grad(loss))(params.weights, jnp.asarray(labels))
        norms = jnp.linalg.norm(gradients, axis=(1, 2)) * jnp.sqrt(90 * 3 / 2) / at
        np.testing.assert_allclose(told["gradient_norm"], norms, rtol=1e-6)
        np.testing.assert_array_equal(told["converged"], norms <= 1e-3)
        assert told["converged"].all() == (classifier.max_steps > 1)
    excess = np.asarray(at) / best - 1
    assert (excess > -1e-9).all() and (excess < 10 * norms**2).all()


def test_batched_equals_one_at_a_time(float64):
    X, y, X_val = blobs(60, 5, 3, separation=4.0)
    labels = labellings(y, 4)
    alone = np.concatenate([decisions(LinearSVM(), X, one[None], X_val, 3, jnp.float64) for one in labels])
    batched = decisions(LinearSVM(), X, labels, X_val, 3, jnp.float64)
    np.testing.assert_allclose(batched[1:], alone[1:], atol=1e-9)
    # The true labels take some hundred steps, which magnify rounding; what is left of it is up to `tol`.
    np.testing.assert_allclose(batched[0], alone[0], atol=0.1)


def test_any_optax_solver_reaches_the_minimum(float64):
    X, y, _ = blobs(100, 6, 3, separation=0.5)
    labels = labellings(y, 3)
    classifier = LinearSVM(max_steps=300, solver=optax.adam(0.1))
    objectives, _ = run(classifier, X, labels, 3, jnp.dtype("float64"))
    best = [minimal_objective(minimum(X, one, 3, 1.0), X, one, 1.0) for one in labels]
    assert (np.abs(objectives / best - 1) < 1e-4).all()


@pytest.mark.parametrize(("n", "d"), [(80, 20), (20, 80)])
def test_collinear_and_dead_features_stay_finite_and_reach_the_minimum(n, d):
    mix = np.random.default_rng(0).normal(size=(3, d)) * (np.arange(d) > 4)
    X, y, _ = blobs(n, 3, 3, separation=0.5)
    X, labels = (X @ mix).astype("float32").astype(float), labellings(y, 3)
    objectives, scores = run(LinearSVM(), X, labels, 3, jnp.dtype("float32"), X + 1e3 * (np.arange(d) <= 4))
    best = [minimal_objective(minimum(X, one, 3, 1.0), X, one, 1.0) for one in labels]
    assert (np.abs(objectives / best - 1) < 1e-4).all()
    # Features that are zero throughout get no weight, however copies are perturbed.
    np.testing.assert_array_less(np.abs(scores), 20)


def test_one_point_of_each_class_worked_out_by_hand(float64):
    # Points -1 and 1, no intercept by symmetry: w minimises w²/2 + 2 C (1 - w)², so that w = 4 C / (1 + 4 C).
    X, labels = np.array([[-1.0], [1.0]]), np.array([[0, 1]])
    scores = decisions(LinearSVM(0.5), X, labels, np.array([[1.0], [-3.0]]), 2, jnp.float64)
    np.testing.assert_allclose(scores[0], [[-2 / 3, 2 / 3], [2, -2]], rtol=1e-6)


def test_runs_in_a_permutation_test():
    X, y, X_val = blobs(60, 5, 3)
    test = jm.permutation_test(LinearSVM(), X, y, validation=jm.SharedStructure(X_val), n_permutations=11, key=3)
    for index, score in enumerate([test.statistic, *test.null_distribution]):
        labels = test.labels(index)
        model = LinearSVC(dual="auto", tol=1e-6, max_iter=100_000).fit(X.astype("float32").astype(float), labels)
        assert score == pytest.approx(model.score(X_val, labels), abs=1e-9)


@pytest.mark.parametrize("C", [0.0, -1.0, float("inf"), float("nan")])
def test_c_must_be_positive_and_finite(C):
    with pytest.raises(ValueError, match="C must be a finite number > 0"):
        LinearSVM(C)


@pytest.mark.parametrize(
    ("options", "message"), [({"tol": 2.0}, "tol"), ({"max_steps": -1}, "max_steps"), ({"solver": 1}, "solver")]
)
def test_the_solvers_options_are_checked(options, message, unchecked):
    with pytest.raises(ValueError, match=f"{message} must"):
        LinearSVM(**options)
