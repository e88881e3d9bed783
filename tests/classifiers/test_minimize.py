"""The minimiser of whitened losses: the steps that go too far, and those that are not worth taking."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmem.classifiers._minimize import minimize, whitened

# Hundreds of small fits to compile; `tests/test_protocol.py` has a few of them in every run.
pytestmark = pytest.mark.nightly


def minimum(function, shape=(1, 3), **options):
    value, gradient = jax.value_and_grad(function)(jnp.zeros(shape))
    options = {"tol": 1e-8, "max_steps": 100, "solver": None} | options
    return jax.jit(lambda: minimize(jax.value_and_grad(function), value, gradient, **options))()


def test_the_first_step_solves_a_quadratic_whose_hessian_is_the_identity(float64):
    target = jnp.array([[1.0, -2.0, 3.0]])
    found = minimum(lambda w: 1 + 0.5 * ((w - target) ** 2).sum(), max_steps=1)
    np.testing.assert_allclose(found.weights, target)
    assert found.converged


@pytest.mark.parametrize("curvature", [1e-2, 1.0, 1e2])
def test_steps_that_overshoot_are_shortened(curvature, float64):
    """A Hessian that is not the identity at all, and grows along the way: the first steps go far too far."""
    target, scales = jnp.array([[1.0, -2.0, 3.0]]), curvature * jnp.array([[0.1, 1.0, 10.0]])
    found = minimum(lambda w: 1 + (scales * (w - target) ** 2).sum() + (scales * (w - target) ** 4).sum())
    np.testing.assert_allclose(found.weights, target, atol=1e-4)
    assert found.converged


def test_flat_ends_do_not_throw_it_off(float64):
    """The derivative of log cosh is nearly constant far out; from there, Newton's method itself diverges."""
    found = minimum(lambda w: jnp.logaddexp(50 * (w - 0.5), -50 * (w - 0.5)).sum(), shape=(2, 2))
    np.testing.assert_allclose(found.weights, 0.5, atol=1e-6)


def test_a_minimum_at_zero_takes_no_step(float64):
    found = minimum(lambda w: 1 + (w**2).sum())
    assert found.converged and found.gradient_norm == 0
    np.testing.assert_array_equal(found.weights, 0)


def test_gives_up_where_only_rounding_is_left():
    target = jnp.array([[1.0, -2.0, 3.0]])
    found = minimum(lambda w: 1 + (jnp.cosh(w - target) - 1).sum(), tol=1e-30, max_steps=100_000)
    np.testing.assert_allclose(found.weights, target, atol=1e-3)
    assert not found.converged or found.gradient_norm == 0


@pytest.mark.parametrize(("n", "d"), [(50, 8), (8, 50), (20, 20)])
def test_whitening_makes_the_hessian_the_identity_where_features_vary(n, d, dtype):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(n, 5)) @ (np.geomspace(1, 1e-2, 5)[:, None] * rng.normal(size=(5, d)))
    basis, rows, penalties = (np.asarray(a, float) for a in whitened(jnp.asarray(Z, dtype), 0.3, 0.1))
    hessian = 0.3 * rows.T @ rows + np.diag(penalties)
    real = penalties > 0
    np.testing.assert_allclose(hessian, np.diag(real.astype(float)), atol=1e-3 if dtype == np.float32 else 1e-9)
    np.testing.assert_allclose(Z @ basis, rows, atol=1e-4 if dtype == np.float32 else 1e-12)
    assert real.sum() >= 5 and np.isfinite(basis).all()
    # The penalty on weights in these coordinates is that on the coefficients they stand for.
    weights = rng.normal(size=len(penalties)) * real
    np.testing.assert_allclose((penalties * weights**2).sum(), 0.1 * ((basis @ weights) ** 2).sum(), rtol=1e-3)
