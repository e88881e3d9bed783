"""The parts of networks: dropout whose rate is state, the convolution as a product, pooling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmem.nets.models.layers import Convolution, Dropout, DropoutRate, max_pool, mean_pool


@pytest.fixture
def images():
    return jnp.asarray(np.random.default_rng(0).normal(size=(4, 7, 6, 3)), jnp.float32)


def test_dropout_is_that_of_flax(images):
    ours, flax = (module(0.5, rngs=nnx.Rngs(3)) for module in (Dropout, nnx.Dropout))
    for _ in range(2):
        np.testing.assert_array_equal(ours(images), flax(images))
    ours.eval()
    assert ours(images) is images


def test_rate_0_is_the_input_alone_and_in_an_ensemble(images):
    dropouts = [Dropout(rate, rngs=nnx.Rngs(seed)) for seed, rate in enumerate((0.0, 0.5))]
    np.testing.assert_array_equal(dropouts[0](images), images)
    graphdef = nnx.graphdef(dropouts[0])
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(nnx.state, dropouts))

    @jax.jit
    @jax.vmap
    def apply(state):
        value, pull_back = jax.vjp(lambda X: nnx.merge(graphdef, state, copy=True)(X), images)
        return value, pull_back(jnp.ones_like(images))[0]

    values, slopes = map(np.asarray, apply(states))
    np.testing.assert_array_equal(values[0], images)
    np.testing.assert_array_equal(slopes[0], np.ones_like(images))
    alone = np.asarray(Dropout(0.5, rngs=nnx.Rngs(1))(images))
    np.testing.assert_array_equal(values[1], alone)
    np.testing.assert_array_equal(slopes[1], np.where(alone == 0, 0.0, 2.0))


def test_the_rate_is_state_but_no_parameter():
    dropout = Dropout(0.25, rngs=nnx.Rngs(0))
    assert not jax.tree.leaves(nnx.state(dropout, nnx.Param))
    np.testing.assert_array_equal(jax.tree.leaves(nnx.state(dropout, DropoutRate)), [0.25])
    # Networks of all rates are one structure, hence one program.
    assert nnx.graphdef(dropout) == nnx.graphdef(Dropout(0.75, rngs=nnx.Rngs(1)))


@pytest.mark.parametrize("shape", [(4, 7, 6, 3), (2, 1, 1, 3), (2, 2, 5, 3)])
def test_convolution_is_that_of_flax(shape):
    ours, flax = Convolution(3, 5, rngs=nnx.Rngs(0)), nnx.Conv(3, 5, (3, 3), rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(ours.kernel[...], flax.kernel[...])
    assert ours.bias[...].shape == flax.bias[...].shape
    random = np.random.default_rng(0)
    X, slope = (jnp.asarray(random.normal(size=(*shape[:-1], size)), jnp.float32) for size in (3, 5))
    # Biases start at zero, where a forgotten one would not show.
    flax.bias[...] = ours.bias[...] = jnp.arange(5.0)

    def value_and_slopes(module):
        graphdef, state = nnx.split(module)
        value, pull_back = jax.vjp(lambda state, X: nnx.merge(graphdef, state)(X), state, X)
        state_slope, X_slope = pull_back(slope)
        return value, state_slope["kernel"][...], state_slope["bias"][...], X_slope

    for got, want in zip(value_and_slopes(ours), value_and_slopes(flax), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_pooling_is_that_of_flax(images):
    np.testing.assert_array_equal(max_pool(images), nnx.max_pool(images, (2, 2), (2, 2)))
    np.testing.assert_allclose(mean_pool(images), nnx.avg_pool(images, (2, 2), (2, 2)), rtol=1e-5, atol=1e-6)
    # Without ties, all of the slope goes to the one largest pixel of each square.
    got, want = (
        jax.grad(lambda X, pool=pool: (pool(X) ** 2).sum())(images)
        for pool in (max_pool, lambda X: nnx.max_pool(X, (2, 2), (2, 2)))
    )
    np.testing.assert_allclose(got, want, rtol=1e-6)
