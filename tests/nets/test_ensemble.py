"""Ensembles: a member is the network that `train` makes of it alone, and one program trains them all."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.datasets import load_digits

from jaxmem.data import Shift
from jaxmem.nets import MLP, TrainConfig, ensemble, ensemble_logits, logits, train, train_ensemble
from jaxmem.nets.epoch import run_ensemble_epoch

CONFIG = TrainConfig(epochs=2, batch_size=40, learning_rate=3e-3, keep_epochs=(0, 2))
KEYS = jax.random.split(jax.random.key(5), 3)


@pytest.fixture(scope="module")
def rows():
    X, y = load_digits(return_X_y=True)
    return (X[:100] / 16).astype(np.float32).reshape(-1, 8, 8, 1), y[:100].astype(np.int32)


def make(rngs):
    return MLP(64, 10, widths=(16,), dropout=0.3, rngs=rngs)


def alone(X, y, config, key, make=make):
    init_key, train_key = jax.random.split(key)
    return train(make(nnx.Rngs(init_key)), X, y, config, train_key)


def assert_same_network(got, expected):
    assert list(got.snapshots) == list(expected.snapshots)
    for values, others in zip(got.history, expected.history, strict=True):
        np.testing.assert_allclose(values, others, rtol=1e-4, atol=1e-6)
    for epoch in expected.snapshots:
        chex.assert_trees_all_close(*(nnx.state(one.at(epoch), nnx.Param) for one in (got, expected)), atol=1e-4)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_a_member_is_what_train_makes_of_it(rows, monkeypatch, backend):
    # By turns on a CPU, abreast elsewhere: each with labels, inputs and rates of its own.
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    X, y = rows
    Xs, ys = np.stack([X, X[::-1], 0.5 * X]), np.stack([y, y[::-1], np.roll(y, 1)])
    rates, decays = [1e-3, 3e-3, 1e-2], [0.0, 0.1, 0.0]
    together = train_ensemble(make, Xs, ys, CONFIG, KEYS, learning_rate=np.array(rates), weight_decay=np.array(decays))
    assert together.history.loss.shape == together.history.accuracy.shape == (3, 2)
    assert len(together) == len(list(together)) == 3
    for member, (got, rate, decay) in enumerate(zip(together, rates, decays, strict=True)):
        config = TrainConfig(2, 40, rate, decay, (0, 2))
        assert_same_network(got, alone(Xs[member], ys[member], config, KEYS[member]))
    assert_same_network(together.member(-1), together.member(2))
    with pytest.raises(IndexError, match="no member 3; the 3 members count from 0 to 2"):
        together.member(3)


@pytest.mark.nightly
def test_members_may_share_all_but_their_keys(rows, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    config = TrainConfig(2, 40, keep_epochs=(2,), augment=Shift(1))
    together = train_ensemble(make, *rows, config, KEYS[:2])
    for got, key in zip(together, KEYS[:2], strict=True):
        assert_same_network(got, alone(*rows, config, key))
    assert not np.allclose(together.history.loss[0], together.history.loss[1], rtol=1e-3)
    # An ensemble of one, labels for each member.
    (one,) = train_ensemble(make, rows[0], rows[1][None], config, KEYS[1:2])
    assert_same_network(one, together.member(1))


class Noisy(nnx.Module):
    """Multiplies its logits by a number that is no parameter."""

    def __init__(self, rngs, scale):
        self.linear = nnx.Linear(64, 10, rngs=rngs)
        self.scale = nnx.Variable(jnp.asarray(scale, jnp.float32))

    def __call__(self, X):
        return self.scale[...] * self.linear(X.reshape(len(X), -1))


def test_members_may_differ_in_a_value_that_is_no_parameter(rows):
    scales = np.array([0.0, 1.0, 3.0])
    together = train_ensemble(Noisy, *rows, CONFIG, KEYS, values=scales)
    # All logits 0: the loss of a uniform guess.
    np.testing.assert_allclose(together.history.loss[0], np.log(10), rtol=1e-5)
    for got, key, scale in zip(together, KEYS, scales, strict=True):
        assert_same_network(got, alone(*rows, CONFIG, key, lambda rngs, scale=scale: Noisy(rngs, scale)))
        assert float(got.at(2).scale[...]) == scale


@pytest.mark.nightly
def test_random_labels_are_fitted_by_many_small_networks(rows):
    X, y = rows
    labels = np.stack([np.random.default_rng(member).permutation(y) for member in range(8)])
    config = TrainConfig(epochs=60, batch_size=50, learning_rate=1e-2, keep_epochs=(60,))
    keys = jax.random.split(jax.random.key(0), 8)
    together = train_ensemble(lambda rngs: MLP(64, 10, widths=(64,), rngs=rngs), X, labels, config, keys)
    assert list(together.snapshots) == [60]
    for trained, given in zip(together, labels, strict=True):
        assert np.mean(np.asarray(logits(trained.at(60), X)).argmax(axis=1) == given) > 0.95


def test_an_ensemble_compiles_once(rows, monkeypatch):
    counted = jax.jit(chex.assert_max_traces(run_ensemble_epoch, n=1), static_argnums=(0, 1, 2, 3, 4))
    monkeypatch.setattr(ensemble, "_compiled_epoch", counted)
    train_ensemble(make, *rows, CONFIG, KEYS)
    # Other seeds, labels of each member, other rates, more epochs: still the same program.
    config = TrainConfig(4, 40, 1e-2, 0.1, keep_epochs=(1, 2, 3, 4))
    labels = np.stack([rows[1], rows[1][::-1], rows[1]])
    train_ensemble(make, rows[0], labels, config, KEYS[::-1], learning_rate=np.array([1e-3, 1e-2, 1e-4]))


def test_progress_is_told_of_all_members(rows):
    told = []
    together = train_ensemble(make, *rows, CONFIG, KEYS, progress=lambda *epoch: told.append(epoch))
    assert [epoch for epoch, _, _ in told] == [1, 2]
    np.testing.assert_array_equal(np.stack([loss for _, loss, _ in told], axis=1), together.history.loss)
    np.testing.assert_array_equal(np.stack([share for _, _, share in told], axis=1), together.history.accuracy)


def test_blow_up_names_the_member_and_the_epoch(rows):
    with pytest.raises(ValueError, match=r"Training of member 1 blew up at epoch 1\b.*learning_rate=1e\+30"):
        train_ensemble(make, *rows, CONFIG, KEYS, learning_rate=np.array([1e-3, 1e30, 1e-3]))


def test_refusals(rows, unchecked):
    X, y = rows
    for arguments, message in [
        ({"keys": jnp.arange(3)}, "keys is int32 .*one JAX key a member"),
        ({"keys": KEYS[0]}, r"shape \(\); expected one JAX key a member"),
        ({"keys": KEYS[:0]}, r"shape \(0,\)"),
        ({"X": np.stack([X, X])}, r"X has shape \(2, 100, 8, 8, 1\) and there are 3 keys"),
        ({"values": np.zeros(2)}, r"values has shape \(2,\) and there are 3 keys"),
        ({"y": np.stack([y, y])}, r"shape \(2, 100\); .*shape \(100,\) or \(members, n\) = \(3, 100\)"),
        ({"y": y[:-1]}, r"y is int32 of shape \(99,\)"),
        ({"y": y + 1}, "from 1 to 10"),
        ({"X": np.where(X > 0.9, np.nan, X)}, "X holds NaN"),
        ({"X": (16 * X).astype(np.uint8)}, "uint8"),
        ({"learning_rate": np.ones(2)}, r"learning_rate is .*each of the 3 members, positive"),
        ({"learning_rate": np.array([1e-3, 0.0, 1.0])}, "learning_rate is .*positive"),
        ({"weight_decay": np.array([0.0, -1.0, 0.0])}, "weight_decay is .*at least 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            train_ensemble(**({"make": make, "X": X, "y": y, "config": CONFIG, "keys": KEYS} | arguments))


def test_members_of_the_librarys_networks_may_differ_in_their_dropout(rows):
    X, y = rows
    rates = np.array([0.0, 0.5], np.float32)

    def make(rngs, rate):
        return MLP(64, 10, (16,), dropout=rate, rngs=rngs)

    config = TrainConfig(epochs=1, batch_size=50, keep_epochs=(1,))
    keys = jax.random.split(jax.random.key(0), 2)
    ensemble = train_ensemble(make, X, y, config, keys, values=rates)
    for number, rate in enumerate(rates):
        init_key, train_key = jax.random.split(keys[number])
        alone = train(MLP(64, 10, (16,), dropout=float(rate), rngs=nnx.Rngs(init_key)), X, y, config, train_key)
        np.testing.assert_allclose(ensemble.member(number).history.loss, alone.history.loss, rtol=1e-5)
    assert ensemble.history.loss[0] != ensemble.history.loss[1]


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_logits_of_all_members_and_epochs_are_those_of_each(rows, monkeypatch, backend):
    X, _ = rows
    together = train_ensemble(make, *rows, CONFIG, KEYS)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    own = np.stack([X, X[::-1], 0.5 * X])
    for inputs in (X, own):
        found = ensemble_logits(together, inputs, batch_size=30)
        assert found.shape == (3, 2, 100, 10)
        for number, epoch in enumerate((0, 2)):
            for member, model in enumerate(together.at(epoch)):
                expected = logits(model, inputs if inputs is X else inputs[member])
                np.testing.assert_allclose(found[member, number], expected, rtol=1e-4, atol=1e-5)


def test_logits_of_an_ensemble_are_refused_where_they_say_nothing(rows):
    X, _ = rows
    together = train_ensemble(make, *rows, CONFIG, KEYS)
    with pytest.raises(ValueError, match="leading axis of the 3 members"):
        ensemble_logits(together, np.stack([X, X]))
    with pytest.raises(ValueError, match="batch_size"):
        ensemble_logits(together, X, batch_size=0)
    with pytest.raises(ValueError, match="member 1 has NaN or infinite logits at epoch 0"):
        ensemble_logits(together, np.stack([X, np.full_like(X, np.nan), X]))
    with pytest.raises(ValueError, match=r"Epoch 1 was not kept; the kept epochs are \(0, 2\)"):
        together.at(1)
