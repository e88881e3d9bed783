"""Training: it fits real digits, it is a function of its key, it compiles once, it says when it blows up."""

import sys
from dataclasses import dataclass, field, replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.datasets import load_digits

from jaxmem.data import Shift
from jaxmem.nets import MLP, TrainConfig, logits, train
from jaxmem.nets.epoch import run_epoch


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32).reshape(-1, 8, 8, 1), y.astype(np.int32)


@pytest.fixture
def small(digits):
    X, y = digits
    return X[:100], y[:100]


def network(seed=0, dropout=0.0):
    return MLP(64, 10, widths=(32, 16), dropout=dropout, rngs=nnx.Rngs(jax.random.key(seed)))


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def parameters(model):
    return leaves(nnx.state(model, nnx.Param))


def same(a, b):
    return all(np.array_equal(p, q) for p, q in zip(parameters(a), parameters(b), strict=True))


ONE = TrainConfig(epochs=1, batch_size=50, keep_epochs=(0, 1))
TWO = TrainConfig(epochs=2, batch_size=50, keep_epochs=(0, 1, 2))


def test_fits_the_digits(digits):
    X, y = digits
    config = TrainConfig(learning_rate=3e-3, keep_epochs=(0, 40))
    trained = train(network(), X, y, config, jax.random.key(0))
    history = trained.history
    assert history.loss.shape == history.accuracy.shape == (40,)
    assert history.accuracy[-1] >= 0.99
    assert np.mean(np.asarray(logits(trained.at(40), X)).argmax(axis=1) == y) >= 0.99
    assert np.mean(np.asarray(logits(trained.at(0), X)).argmax(axis=1) == y) < 0.4
    # The first epoch starts from about the loss of a uniform guess, ln 10.
    assert history.loss[-1] < 0.05 < 0.5 < history.loss[0] < np.log(10)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_one_full_batch_step_is_adam_by_hand(small, weight_decay):
    X, y = small
    model = network()
    # Fewer rows than a batch: one minibatch holds them all.
    config = TrainConfig(epochs=1, batch_size=1_000, learning_rate=0.01, weight_decay=weight_decay, keep_epochs=(1,))
    trained = train(model, X, y, config, 0)
    graphdef, weights, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    @jax.value_and_grad
    def slope(weights):
        scores = nnx.merge(graphdef, weights, rest, copy=True)(jnp.asarray(X))
        return -jnp.mean(jax.nn.log_softmax(scores)[jnp.arange(len(y)), y])

    loss, gradient = slope(weights)
    for got, w, g in zip(parameters(trained.at(1)), *map(leaves, (weights, gradient)), strict=True):
        # The first step of Adam, bias corrected, has m = g and v = g^2; the decay stands beside it.
        expected = w - 0.01 * (g / (np.abs(g) + 1e-8) + weight_decay * w)
        # Where the gradient is lost in rounding, its sign is a matter of the order of summation.
        clear = np.abs(g) > 1e-6
        np.testing.assert_allclose(got[clear], expected[clear], atol=1e-4)
    assert trained.history.loss[0] == pytest.approx(float(loss), rel=1e-5)


def test_epoch_0_is_the_initial_model_and_the_model_stays(small):
    model, twin = network(), network()
    trained = train(model, *small, ONE, 0)
    assert same(model, twin)
    assert same(trained.at(0), twin)
    assert not same(trained.at(1), twin)
    # Whatever is done to the module or to a copy of it, the snapshot is what it was.
    model.head.bias[...] = jnp.ones(10)
    trained.at(0).head.bias[...] = jnp.ones(10)
    assert same(trained.at(0), twin)


def test_at_names_the_kept_epochs(small):
    trained = train(network(), *small, TWO, 0)
    assert list(trained.snapshots) == [0, 1, 2]
    with pytest.raises(ValueError, match=r"Epoch 7 .* \(0, 1, 2\)"):
        trained.at(7)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_same_key_same_numbers(small, dropout):
    one, two, seed, other = (
        train(network(dropout=dropout), *small, TWO, key)
        for key in (jax.random.key(3), jax.random.key(3), 3, jax.random.key(4))
    )
    assert same(one.at(2), two.at(2))
    assert same(one.at(2), seed.at(2))
    np.testing.assert_array_equal(one.history.loss, two.history.loss)
    assert not same(one.at(1), other.at(1))


def test_dropout_comes_from_the_key_alone(small):
    used = network(dropout=0.5)
    used(jnp.ones((50, 64)))
    used.eval()
    assert same(train(network(dropout=0.5), *small, ONE, 0).at(1), train(used, *small, ONE, 0).at(1))


def test_dropout_masks_are_fresh_in_every_epoch(small):
    # A learning rate near 0 and two equal minibatches: the order of the rows cannot change the mean loss.
    config = TrainConfig(epochs=3, batch_size=50, learning_rate=1e-12, keep_epochs=(3,))
    loss = train(network(dropout=0.5), *small, config, 0).history.loss
    assert np.abs(np.diff(loss)).min() > 1e-4
    assert np.ptp(train(network(), *small, config, 0).history.loss) < 1e-5


@dataclass(frozen=True)
class Noted:
    """An augmentation that notes its keys and scales the inputs."""

    scale: float
    notes: list = field(compare=False)

    def __call__(self, key, X):
        jax.debug.callback(lambda words: self.notes.append(tuple(words.tolist())), jax.random.key_data(key))
        return self.scale * X


def test_every_minibatch_is_augmented_with_a_key_of_its_own(small):
    X, y = small
    notes = []
    config = replace(TWO, augment=Noted(0.5, notes))
    augmented = train(network(), X, y, config, 0)
    jax.effects_barrier()
    # Two epochs of two minibatches.
    assert len(notes) == len(set(notes)) == 4
    by_hand = train(network(), X / 2, y, TWO, 0)
    np.testing.assert_allclose(augmented.history.loss, by_hand.history.loss, rtol=1e-5)
    first = list(notes)
    train(network(), X, y, config, 0)
    jax.effects_barrier()
    assert sorted(notes[4:]) == sorted(first)
    train(network(), X, y, config, 1)
    jax.effects_barrier()
    assert not set(notes[8:]) & set(first)


def test_shifts_augment_images_and_leave_the_shuffles_alone(small):
    still, none, shifted = (train(network(), *small, replace(TWO, augment=a), 0) for a in (Shift(0), None, Shift(2)))
    np.testing.assert_allclose(still.history.loss, none.history.loss, rtol=1e-5)
    assert np.abs(shifted.history.loss - none.history.loss).min() > 1e-3


def test_an_augmentation_must_keep_the_shape(small, unchecked):
    config = replace(ONE, augment=lambda key, X: X[:, 1:])
    with pytest.raises(ValueError, match=r"augment=.*shape \(100, 8, 8, 1\); expected an array of the same shape"):
        train(network(), *small, config, 0)
    with pytest.raises(ValueError, match="perturbs images"):
        train(network(), small[0].reshape(100, -1), small[1], replace(ONE, augment=Shift(1)), 0)


def test_kept_epochs_do_not_depend_on_how_long_training_goes_on(small):
    long = TrainConfig(epochs=5, batch_size=50, keep_epochs=(2, 5))
    assert same(train(network(), *small, TWO, 0).at(2), train(network(), *small, long, 0).at(2))


def test_the_epoch_compiles_once(small, monkeypatch):
    counted = jax.jit(chex.assert_max_traces(run_epoch, n=1), static_argnums=(0, 1, 2))
    # By name: `jaxmem.nets.train` is both a module and the function that the package exports.
    monkeypatch.setattr(sys.modules["jaxmem.nets.train"], "_compiled_epoch", counted)
    train(network(seed=0), *small, TWO, 0)
    # Another seed, other labels, other rates, more epochs: still the same program.
    config = TrainConfig(epochs=4, batch_size=50, learning_rate=0.01, weight_decay=0.1, keep_epochs=(0, 1, 2, 3, 4))
    train(network(seed=1), small[0], small[1][::-1], config, 1)


class Normed(nnx.Module):
    """A user's own module, with state that training moves and evaluation reads."""

    def __init__(self, rngs):
        self.linear = nnx.Linear(64, 10, rngs=rngs)
        self.norm = nnx.BatchNorm(10, momentum=0.5, rngs=rngs)

    def __call__(self, X):
        return self.norm(self.linear(X.reshape(len(X), -1)))


def test_batch_statistics_move_with_training(small):
    trained = train(Normed(nnx.Rngs(0)), *small, ONE, 0)
    before, after = trained.at(0), trained.at(1)
    np.testing.assert_array_equal(before.norm.mean[...], np.zeros(10))
    assert np.abs(after.norm.mean[...]).min() > 1e-3
    # In evaluation a row's logits do not depend on the rows beside it.
    X = small[0]
    np.testing.assert_allclose(logits(after, X)[:3], logits(after, X[:3]), rtol=1e-4, atol=1e-5)


def test_progress_is_told_of_every_epoch(small):
    told = []
    trained = train(network(), *small, TWO, 0, progress=lambda *epoch: told.append(epoch))
    assert [epoch for epoch, _, _ in told] == [1, 2]
    np.testing.assert_array_equal([loss for _, loss, _ in told], trained.history.loss)
    np.testing.assert_array_equal([accuracy for _, _, accuracy in told], trained.history.accuracy)


def test_blow_up_names_the_epoch(small):
    config = TrainConfig(epochs=3, batch_size=100, learning_rate=1e30, keep_epochs=(0,))
    with pytest.raises(ValueError, match=r"blew up at epoch 1\b.*learning_rate=1e\+30"):
        train(network(), *small, config, 0)
    # One step to weights of about 1e14: finite still, but three layers of them overflow in the next epoch.
    told = []
    config = TrainConfig(epochs=3, batch_size=100, learning_rate=1e14, keep_epochs=(0,))
    with pytest.raises(ValueError, match=r"blew up at epoch 2:"):
        train(network(), *small, config, 0, progress=lambda *epoch: told.append(epoch))
    assert [epoch for epoch, _, _ in told] == [1]


def test_rows_that_do_not_fit_are_refused(small):
    X, y = small
    for bad_X, bad_y, message in [
        (X, y[:-1], "one integer label per row"),
        (X, y.astype(np.float32), "y is float32"),
        (X, y + 1, "from 1 to 10 .*n_classes - 1"),
        (X, y - 1, "from -1 to 8"),
        ((X * 255).astype(np.uint8), y, "uint8.*/ 255"),
        (np.where(X > 0.9, np.nan, X), y, "X holds NaN"),
        (X[:0], y[:0], "at least one row"),
        (X[:, 0, 0, 0], y, r"shape \(100,\)"),
        (X[:, :4], y, "n_inputs=32"),
    ]:
        with pytest.raises(ValueError, match=message):
            train(network(), bad_X, bad_y, ONE, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
        ({"epochs": 10}, r"for example keep_epochs=\(0, 1, 2, 5, 10\)"),
        ({"keep_epochs": ()}, r"keep_epochs=\(0, 40\)"),
        ({"keep_epochs": (2, 1)}, r"keep_epochs=\(1, 2\)"),
        ({"keep_epochs": (1, 1)}, r"keep_epochs=\(1,\)"),
        ({"keep_epochs": (-1, 3)}, r"keep_epochs=\(3,\)"),
        ({"augment": "shift:2"}, "augment='shift:2'.*hashable function"),
    ],
)
def test_config_refusals(arguments, message, unchecked):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**arguments)
