"""Curvature: by hand, as the whole Hessian has it, whatever the batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmem.data import load
from jaxmem.nets import MLP, input_curvature


class Linear(nnx.Module):
    def __init__(self, weights):
        self.weights = nnx.Param(jnp.asarray(weights, jnp.float32))

    def __call__(self, X):
        return X @ self.weights[...]


def network(seed=0):
    return MLP(4, 3, (6,), activation="tanh", rngs=nnx.Rngs(seed))


X = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
Y = np.array([0, 1, 2, 0, 1, 2, 0])


def test_a_linear_model_by_hand():
    """One input: any sign gives |H|, which is w' (diag p - p p') w = (w_0 - w_1)² p (1 - p)."""
    found = input_curvature(Linear([[3.0, 1.0]]), np.array([[0.0], [1.0]], np.float32), np.array([0, 1]), 0, n_probes=1)
    p = 1 / (1 + np.exp(-2))
    np.testing.assert_allclose(found, [4 / 4, 4 * p * (1 - p)], rtol=1e-5)


@pytest.mark.nightly
def test_many_probes_find_the_norm_of_the_hessian():
    model = network()
    model.eval()

    def loss(x, label):
        return -jax.nn.log_softmax(model(x[None])[0])[label]

    hessians = jax.vmap(jax.hessian(loss))(jnp.asarray(X), jnp.asarray(Y))
    found = input_curvature(model, X, Y, 0, n_probes=4_000)
    np.testing.assert_allclose(found, np.linalg.norm(hessians, axis=(1, 2)), rtol=0.06)


def test_batches_members_and_devices_change_nothing(monkeypatch):
    models = [network(seed) for seed in (0, 1)]
    whole = input_curvature(models, X, Y, 3)
    assert whole.shape == (2, 7)
    for member, model in enumerate(models):
        np.testing.assert_allclose(input_curvature(model, X, Y, 3, batch_size=3), whole[member], rtol=1e-5)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_allclose(input_curvature(models, X, Y, 3), whole, rtol=1e-5)
    assert not np.allclose(input_curvature(models, X, Y, 4), whole, rtol=1e-3)


def test_digits_of_relu_networks_have_one_where_the_loss_has():
    digits = load("digits")
    model = MLP(784, 10, (16,), rngs=nnx.Rngs(0))
    found = input_curvature(model, digits.X_train[:8], digits.y_train[:8], 0)
    assert (found > 0).all() and np.isfinite(found).all()


def test_a_network_that_gives_nothing_has_no_curvature():
    np.testing.assert_array_equal(input_curvature(Linear(np.zeros((4, 3))), X, Y, 0), 0)


def test_refusals(unchecked):
    broken = network()
    broken.head.kernel[...] = jnp.full((6, 3), jnp.nan)
    for call, message in [
        (lambda: input_curvature(network(), X, Y, 0, n_probes=0), "n_probes"),
        (lambda: input_curvature(network(), X, Y, 0, batch_size=0), "batch_size"),
        (lambda: input_curvature(network(), X, Y, "key"), "key must be"),
        (lambda: input_curvature(network(), X, Y[1:], 0), r"shape \(6,\)"),
        (lambda: input_curvature([network(), broken], X, Y, 0), "network 1 is NaN"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
