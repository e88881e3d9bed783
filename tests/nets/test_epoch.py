"""One epoch: every row in a fresh order; the same numbers for a network alone and in a vmapped ensemble."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.datasets import load_digits

from jaxmem.nets import MLP, TrainConfig, train
from jaxmem.nets.epoch import _minibatches, initial_optimizer_state, run_epoch


def network(seed, dropout):
    return MLP(64, 10, widths=(32, 16), dropout=dropout, rngs=nnx.Rngs(jax.random.key(seed)))


@pytest.mark.parametrize(("n", "batch_size"), [(7, 3), (6, 3), (5, 5), (5, 4), (3, 1)])
def test_every_epoch_uses_every_row_in_a_fresh_order(n, batch_size):
    orders = [np.asarray(_minibatches(jax.random.key(epoch), n, batch_size)) for epoch in range(20)]
    steps = -(-n // batch_size)
    filled = steps * batch_size - n
    for order in orders:
        assert order.shape == (steps, batch_size)
        counts = Counter(order.ravel().tolist())
        assert sorted(counts) == list(range(n))
        assert sorted(counts.values()) == [1] * (n - filled) + [2] * filled
    assert len({order.tobytes() for order in orders}) > 3


@pytest.mark.nightly
def test_the_epoch_runs_under_vmap():
    X, y = (jnp.asarray(rows[:100]) for rows in load_digits(return_X_y=True))
    X, y = X.astype(jnp.float32) / 16, y.astype(jnp.int32)
    config = TrainConfig(epochs=1, batch_size=50, keep_epochs=(0, 1))
    alone = [train(network(seed, dropout=0.5), X, y, config, seed) for seed in range(2)]
    graphdef = alone[0].graphdef

    @jax.jit
    @jax.vmap
    def together(state, key):
        moments = initial_optimizer_state(graphdef, state)
        return run_epoch(graphdef, 50, None, state, moments, X, y, key, 1e-3, 0.0)

    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(trained.snapshots[0] for trained in alone))
    keys = jnp.stack([jax.random.fold_in(jax.random.key(seed), 1) for seed in range(2)])
    states, _, loss, _ = together(states, keys)
    for member, trained in enumerate(alone):
        np.testing.assert_allclose(np.asarray(loss)[member], trained.history.loss[0], rtol=1e-4)
        expected = nnx.state(trained.at(1), nnx.Param)
        got = nnx.filter_state(states, nnx.Param)
        for p, q in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
            np.testing.assert_allclose(np.asarray(p)[member], q, atol=1e-4)
