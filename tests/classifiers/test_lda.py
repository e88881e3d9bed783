"""Linear discriminant analysis: by hand, against scikit-learn refitted, and where covariances are singular."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_predictions, blobs, decisions, labellings
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import jaxmem as jm

# Hundreds of small fits to compile; `tests/test_protocol.py` has a few of them in every run.
pytestmark = pytest.mark.nightly

TALL = [(120, 8, 2), (150, 20, 3), (400, 30, 10)]
WIDE = [(60, 90, 2), (60, 90, 3), (80, 100, 10)]
N_LABELLINGS = 4


def data(n, d, n_classes, **kwargs):
    """Training rows, labellings and perturbed rows, single precision whatever holds them."""
    X, y, X_val = blobs(n, d, n_classes, **kwargs)
    return X.astype(np.float32), labellings(y, N_LABELLINGS), X_val.astype(np.float32)


def refitted(X, labels, X_val, **kwargs):
    """Decision values (B, m, C) of scikit-learn, one fit per labelling."""
    values = []
    for one in labels:
        value = LinearDiscriminantAnalysis(**kwargs).fit(X.astype(float), one).decision_function(X_val.astype(float))
        values.append(np.stack([np.zeros_like(value), value], axis=1) if value.ndim == 1 else value)
    return np.array(values)


def by_formula(X, labels, X_val, shrinkage, priors):
    """Decision values (m, C) for one labelling, straight from the definition with the pooled covariance."""
    X = X.astype(float)
    means = np.array([X[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
    residuals = X - means[labels]
    covariance = residuals.T @ residuals / len(X)
    target = np.trace(covariance) / X.shape[1] * np.eye(X.shape[1])
    coefficients = np.linalg.solve((1 - shrinkage) * covariance + shrinkage * target, means.T)
    return X_val @ coefficients - 0.5 * (means.T * coefficients).sum(axis=0) + np.log(priors)


def contrasts(scores):
    """Scores less each row's mean: what is left is the same for all who agree up to a constant per row."""
    return scores - scores.mean(axis=-1, keepdims=True)


def assert_same_decisions(scores, expected, rtol=1e-9):
    expected = contrasts(expected)
    np.testing.assert_allclose(contrasts(scores), expected, rtol=rtol, atol=rtol * np.abs(expected).max())


# --- By hand ---------------------------------------------------------------------------------------------------------


def test_two_classes_on_a_line(float64):
    X, labels, X_val = np.array([[0.0], [2], [4], [6]]), np.array([[0, 0, 1, 1]]), np.array([[3.0], [4], [0]])
    scores = decisions(jm.LDA(), X, labels, X_val, 2, jnp.float64)[0]
    # Means 1 and 5, variance 1: the log odds are 4 (x - 3).
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], [0, 4, -12], atol=1e-9)
    shifted = decisions(jm.LDA(priors=(0.2, 0.8)), X, labels, X_val, 2, jnp.float64)[0]
    np.testing.assert_allclose(shifted[:, 1] - shifted[:, 0], np.array([0, 4, -12]) + np.log(4), atol=1e-9)


# --- Equality with scikit-learn --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", TALL)
def test_equals_scikit_learn_without_shrinkage(float64, shape):
    X, labels, X_val = data(*shape)
    scores = decisions(jm.LDA(), X, labels, X_val, shape[2], jnp.float64)
    for solver in ("svd", "lsqr", "eigen"):
        expected = refitted(X, labels, X_val, solver=solver)
        assert_same_decisions(scores, expected)
        np.testing.assert_array_equal(scores.argmax(-1), expected.argmax(-1))


def test_shrinkage_zero_is_no_shrinkage():
    X, labels, X_val = data(*TALL[0])
    none, zero = (decisions(jm.LDA(shrinkage), X, labels, X_val, 2, jnp.float32) for shrinkage in (None, 0.0))
    np.testing.assert_array_equal(none, zero)


@pytest.mark.parametrize("shrinkage", [0.1, 0.9, 1.0])
@pytest.mark.parametrize("shape", TALL + WIDE)
def test_equals_scikit_learn_with_shrinkage(float64, shape, shrinkage):
    X, labels, X_val = data(*shape)
    scores = decisions(jm.LDA(shrinkage), X, labels, X_val, shape[2], jnp.float64)
    for solver in ("lsqr", "eigen"):
        expected = refitted(X, labels, X_val, solver=solver, shrinkage=shrinkage)
        assert_same_decisions(scores, expected)
        np.testing.assert_array_equal(scores.argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize(
    "shape, shrinkage", [(shape, s) for shape in TALL + WIDE for s in (None, 0.1, 1.0) if s or shape in TALL]
)
def test_single_precision_predicts_the_same(shape, shrinkage):
    X, labels, X_val = data(*shape)
    expected = refitted(X, labels, X_val, solver="lsqr", shrinkage=shrinkage)
    scores = decisions(jm.LDA(shrinkage), X, labels, X_val, shape[2], jnp.float32)
    assert_same_decisions(scores, expected, rtol=1e-3)
    assert_same_predictions(scores, expected.argmax(-1), margin=1e-3 * contrasts(expected).std())


def test_priors_move_the_intercepts_alone(float64):
    X, labels, X_val = data(150, 20, 3)
    priors = [0.7, 0.2, 0.1]
    expected = refitted(X, labels, X_val, solver="svd", priors=priors)
    assert_same_decisions(decisions(jm.LDA(priors=priors), X, labels, X_val, 3, jnp.float64), expected)
    expected = np.array([by_formula(X, one, X_val, 0.3, priors) for one in labels])
    assert_same_decisions(decisions(jm.LDA(0.3, priors), X, labels, X_val, 3, jnp.float64), expected)


def test_uneven_classes(float64):
    X, y, X_val = blobs(200, 10, 2)
    labels = labellings(np.where(np.arange(200) < 7, 0, y + 1), N_LABELLINGS)
    for kwargs in ({"solver": "svd"}, {"solver": "lsqr", "shrinkage": 0.5}):
        expected = refitted(X, labels, X_val, **kwargs)
        assert_same_decisions(decisions(jm.LDA(kwargs.get("shrinkage")), X, labels, X_val, 3, jnp.float64), expected)


# --- Ledoit and Wolf -------------------------------------------------------------------------------------------------


def ledoit_wolf_decisions(X, labels, X_val):
    """Decision values (B, m, C), with the shrinkage that scikit-learn estimates from each labelling's residuals."""
    values = []
    for one in labels:
        means = np.array([X[one == k].mean(axis=0, dtype=float) for k in range(one.max() + 1)])
        shrinkage = ledoit_wolf_shrinkage(X - means[one], assume_centered=True)
        assert 0.001 < shrinkage < 0.9
        values.append(by_formula(X, one, X_val, shrinkage, np.bincount(one) / len(one)))
    return np.array(values)


def stretched(n, d, n_classes):
    """As `data`, with features of very different variances."""
    X, labels, X_val = data(n, d, n_classes)
    scales = np.geomspace(0.1, 3, d, dtype=np.float32)
    return X * scales, labels, X_val * scales


@pytest.mark.parametrize("shape", TALL + WIDE)
def test_auto_is_the_ledoit_wolf_estimate_from_the_pooled_residuals(float64, shape):
    X, labels, X_val = stretched(*shape)
    scores = decisions(jm.LDA("auto"), X, labels, X_val, shape[2], jnp.float64)
    assert_same_decisions(scores, ledoit_wolf_decisions(X, labels, X_val))


@pytest.mark.parametrize("unit", [1.0, 1e12])  # Fourth powers of the latter overflow.
def test_auto_in_single_precision_and_other_units(unit):
    X, labels, X_val = stretched(80, 100, 3)
    scores = decisions(jm.LDA("auto"), unit * X, labels, unit * X_val, 3, jnp.float32)
    assert_same_decisions(scores, ledoit_wolf_decisions(X, labels, X_val), rtol=1e-3)


def test_auto_where_the_covariance_is_its_own_target():
    X, labels = np.concatenate([np.eye(4), -np.eye(4)]), np.array([[0, 1, 0, 1, 0, 1, 0, 1]])
    assert np.isfinite(decisions(jm.LDA("auto"), X, labels, X, 2, jnp.float32)).all()


# --- The same however it is run --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shrinkage", [None, 0.1, "auto"])
def test_loop_equals_vmap(float64, shrinkage):
    X, labels, X_val = data(150, 20, 3)
    classifier = jm.LDA(shrinkage)
    state = classifier.prepare(jnp.asarray(X, jnp.float64), 3)
    rows = classifier.rows(state, jnp.asarray(X_val, jnp.float64))
    loop = [classifier.decision(state, classifier.fit(state, jnp.asarray(one)), rows) for one in labels]
    together = decisions(classifier, X, labels, X_val, 3, jnp.float64)
    np.testing.assert_allclose(together, np.array(loop), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shrinkage", [None, 0.1, "auto"])
def test_blocks_of_rows_change_nothing(float64, shrinkage):
    X, labels, X_val = data(5_000, 5, 3, separation=0.2)
    expected = refitted(X, labels, X_val, solver="lsqr", shrinkage=None if shrinkage == "auto" else shrinkage)
    scores = decisions(jm.LDA(shrinkage), X, labels, X_val, 3, jnp.float64)
    assert_same_decisions(scores, expected, rtol=0.05 if shrinkage == "auto" else 1e-9)


def test_a_permutation_test_runs():
    X, labels, X_val = data(150, 20, 3)
    test = jm.permutation_test(
        jm.LDA(), X, labels[0], validation=jm.SharedStructure(X_val), n_permutations=99, progress=False
    )
    assert test.pvalue == 0.01


# --- Singular and near-singular scatter ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shrinkage", [None, 0.1, "auto"])
def test_features_that_do_not_vary_or_repeat_others_do_no_harm(float64, shrinkage, dtype):
    X, labels, X_val = (a.astype(dtype) if a.dtype.kind == "f" else a for a in data(150, 10, 3))
    rng = np.random.default_rng(1)
    dead = [np.full((150, 2), [0.1, 0.0], dtype), (0.1 + rng.normal(size=(150, 2))).astype(dtype)]
    # Copies may vary where the training rows do not.
    wide, wide_val = (
        np.concatenate([a, b, a[:, :2] + a[:, 2:4]], axis=1) for a, b in zip((X, X_val), dead, strict=True)
    )
    scores = decisions(jm.LDA(shrinkage), wide, labels, wide_val, 3, dtype)
    assert np.isfinite(scores).all()
    rtol = 1e-8 if dtype == np.float64 else 1e-3
    if shrinkage is None:
        expected = decisions(jm.LDA(), X, labels, X_val, 3, dtype)
        assert_same_decisions(scores, expected, rtol)
    elif shrinkage != "auto":
        wide_val[:, 10:12] = wide[:, 10:12]
        assert_same_decisions(scores, refitted(wide, labels, wide_val, solver="lsqr", shrinkage=shrinkage), rtol)


@pytest.mark.parametrize("shrinkage", [None, 0.1, "auto"])
def test_features_that_are_all_constant_leave_the_priors(shrinkage):
    X, labels = np.ones((20, 3)), np.arange(20)[None, :] % 4 // 3
    scores = decisions(jm.LDA(shrinkage), X, labels, X + 1, 2, jnp.float32)
    np.testing.assert_allclose(scores, np.broadcast_to(np.log([0.75, 0.25]), (1, 20, 2)), rtol=1e-6)


@pytest.mark.parametrize("shrinkage", [None, 0.1])
def test_small_directions_survive_single_precision(shrinkage):
    X, y, X_val = blobs(1_000, 30, 5, noise=0.1)
    mixing = np.geomspace(1, 1e-3, 30)[:, None] * np.linalg.qr(np.random.default_rng(1).normal(size=(30, 30)))[0]
    X, X_val, labels = (X @ mixing).astype(np.float32), (X_val @ mixing).astype(np.float32), labellings(y, N_LABELLINGS)
    expected = refitted(X, labels, X_val, solver="lsqr", shrinkage=shrinkage)
    assert_same_decisions(decisions(jm.LDA(shrinkage), X, labels, X_val, 5, jnp.float32), expected, rtol=2e-3)


def test_features_that_tell_the_classes_apart_exactly_win():
    X, labels, X_val = data(300, 20, 3)
    X[:, :3] = X_val[:, :3] = np.eye(3)[labels[0]]
    scores = decisions(jm.LDA(), X, labels, X_val, 3, jnp.float32)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores[0].argmax(-1), labels[0])


@pytest.mark.parametrize("missing", [0, 1, 3])
@pytest.mark.parametrize("shrinkage", [None, 0.1, "auto"])
def test_a_class_without_rows_is_never_predicted(float64, missing, shrinkage):
    X, labels, X_val = data(150, 20, 3)
    classes = np.delete(np.arange(4), missing)
    scores = decisions(jm.LDA(shrinkage), X, classes[labels], X_val, 4, jnp.float64)
    np.testing.assert_array_equal(scores[..., missing], -np.inf)
    expected = decisions(jm.LDA(shrinkage), X, labels, X_val, 3, jnp.float64)
    assert_same_decisions(scores[..., classes], expected)


def test_a_prior_does_not_bring_in_a_class_without_rows():
    X, labels, X_val = data(120, 8, 2)
    scores = decisions(jm.LDA(priors=(0.1, 0.1, 0.8)), X, labels, X_val, 3, jnp.float32)
    np.testing.assert_array_equal(scores[..., 2], -np.inf)


# --- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shrinkage", [-0.1, 1.1, float("nan"), "oas"])
def test_other_shrinkage_is_refused(shrinkage):
    with pytest.raises(ValueError, match="shrinkage must be"):
        jm.LDA(shrinkage)


@pytest.mark.parametrize("priors", [(0.5, 0.4), (1.0, 0.0), (1.5, -0.5), ()])
def test_priors_that_are_no_probabilities_are_refused(priors):
    with pytest.raises(ValueError, match="priors must be positive and sum to one"):
        jm.LDA(priors=priors)


def test_priors_may_be_a_list_and_must_fit_the_classes():
    classifier = jm.LDA(priors=[0.5, 0.5])
    assert hash(classifier) == hash(jm.LDA(priors=(0.5, 0.5)))
    with pytest.raises(ValueError, match="priors has 2 entries, but there are 3 classes"):
        classifier.prepare(jnp.ones((20, 2)), 3)


@pytest.mark.parametrize("shrinkage", [None, 0.0])
def test_singular_covariances_are_refused(shrinkage):
    classifier = jm.LDA(shrinkage)
    with pytest.raises(ValueError, match="leave 17 degrees of freedom for 18 features"):
        classifier.prepare(jnp.ones((20, 18)), 3)
    classifier.prepare(jnp.ones((20, 17)), 3)


def test_a_row_per_class_is_refused():
    with pytest.raises(ValueError, match="more rows than classes"):
        jm.LDA("auto").prepare(jnp.ones((3, 2)), 3)
