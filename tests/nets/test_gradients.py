"""Gradients: worked by hand on a linear model, equal to a loop of `jax.grad`, and nothing undefined let by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmem.data import load
from jaxmem.nets import (
    MLP,
    TrainConfig,
    gini,
    gradient_coherence,
    gradient_cosines,
    gradient_norms,
    gradients,
    train_ensemble,
)
from jaxmem.nets.gradients import row_losses
from jaxmem.similarity import GRADIENT_FACTS


class Linear(nnx.Module):
    """z = W x, with a number that is no parameter."""

    def __init__(self, weights):
        self.weights = nnx.Param(jnp.asarray(weights, jnp.float32))
        self.seen = nnx.Variable(jnp.zeros(()))

    def __call__(self, X):
        return X @ self.weights[...].T


@pytest.fixture(scope="module")
def digits():
    found = load("digits")
    return found.X_train[:60], found.y_train[:60]


@pytest.fixture(scope="module")
def trained(digits):
    keys = jax.random.split(jax.random.key(0), 3)
    config = TrainConfig(epochs=3, batch_size=20, keep_epochs=(0, 3))
    return train_ensemble(lambda rngs: MLP(784, 10, (12, 8), rngs=rngs), *digits, config, keys)


X = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], np.float32)
Y = np.array([0, 1, 1])


def test_a_linear_model_by_hand():
    """All logits are 0, so that p = 1/2 for both classes."""
    model = Linear(np.zeros((2, 2)))
    np.testing.assert_allclose(gradients(model, X, Y, by="parameters"), [
        [-0.5, 0, 0.5, 0],
        [0, 1, 0, -1],
        [0.5, 0.5, -0.5, -0.5],
    ], atol=1e-7)  # fmt: skip
    np.testing.assert_allclose(gradient_norms(model, X, Y, by="parameters"), [0.5**0.5, 2**0.5, 1], rtol=1e-6)
    # Cosines of the pairs: 0, -1/sqrt 2, 1/sqrt 2.
    assert abs(gradient_coherence(model, X, Y)) < 1e-6
    np.testing.assert_allclose(gradient_coherence(model, X[1:], Y[1:]), 0.5**0.5, rtol=1e-5)


def test_input_gradients_of_a_linear_model_by_hand():
    """Of the loss W^T (p - e_y); of the logit the row w_y of the weights."""
    model = Linear([[3.0, 4.0], [0.0, 1.0]])
    np.testing.assert_allclose(gradients(model, X, Y, of="logit"), [[3, 4], [0, 1], [0, 1]])
    np.testing.assert_allclose(gradient_norms(model, X, Y, of="logit"), [5, 1, 1])
    z = X @ np.array([[3.0, 4.0], [0.0, 1.0]]).T
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected = (p - np.eye(2)[Y]) @ np.array([[3.0, 4.0], [0.0, 1.0]])
    np.testing.assert_allclose(gradients(model, X, Y), expected, rtol=1e-5)
    other = Linear([[4.0, -3.0], [0.0, -2.0]])
    # Cosines of the three rows: 0, -1, -1.
    cosines = gradient_cosines([model, other], X, Y, of="logit")
    np.testing.assert_allclose(cosines, [[1, -2 / 3], [-2 / 3, 1]], atol=1e-6)


@pytest.mark.parametrize("of", ["loss", "logit"])
@pytest.mark.parametrize("by", ["inputs", "parameters"])
def test_equal_a_loop_of_jax_grad(digits, trained, of, by):
    """All members in one program, ragged blocks: as one example after the other by the textbook's loss."""
    X, y = digits[0][:17], np.stack([digits[1][:17], digits[1][1:18], digits[1][2:19]])
    models = trained.at(3)
    found = gradients(models, X, y, of=of, by=by, batch_size=5)
    for model, labels, got in zip(models, y, found, strict=True):
        graphdef, parameters, rest = nnx.split(model, nnx.Param, ...)

        def quantity(parameters, x, label, graphdef=graphdef, rest=rest):
            z = nnx.merge(graphdef, parameters, rest, copy=True)(x[None])[0]
            return z[label] if of == "logit" else -jax.nn.log_softmax(z)[label]

        one = jax.jit(jax.grad(quantity, argnums=1 if by == "inputs" else 0))
        expected = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(one(parameters, x, label))])
                    for x, label in zip(X, labels, strict=True)]  # fmt: skip
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("by", ["inputs", pytest.param("parameters", marks=pytest.mark.nightly)])
def test_means_of_cosines_equal_those_over_all_pairs(digits, trained, by):
    X, y = digits
    models = trained.at(3)
    G = np.asarray(gradients(models, X, y, by=by), float)
    U = G / np.linalg.norm(G, axis=2, keepdims=True)
    np.testing.assert_allclose(
        gradient_cosines(models, X, y, by=by, batch_size=13), np.einsum("ind,jnd->ij", U, U) / 60, atol=1e-5
    )
    gram = np.einsum("ind,imd->inm", U, U)
    expected = gram[:, ~np.eye(60, dtype=bool)].mean(axis=1)
    np.testing.assert_allclose(gradient_coherence(models, X, y, by=by, batch_size=13), expected, atol=1e-5)
    np.testing.assert_allclose(gradient_coherence(models[1], X, y, by=by), expected[1], atol=1e-5)
    np.testing.assert_allclose(gradient_norms(models, X, y, by=by), np.linalg.norm(G, axis=2), rtol=1e-4)


def test_all_at_once_on_an_accelerator(digits, trained, monkeypatch):
    expected = gradient_coherence(trained.at(0), *digits)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_allclose(gradient_coherence(trained.at(0), *digits), expected, atol=1e-6)


def test_networks_with_dropout_and_batch_norm_are_read_in_evaluation_mode(digits):
    X, y = digits[0][:6], digits[1][:6]
    model = MLP(784, 10, (8,), dropout=0.5, batch_norm=True, rngs=nnx.Rngs(0))
    model.train()
    first, again = (gradients(model, X, y) for _ in range(2))
    assert first.shape == (6, 784)
    np.testing.assert_array_equal(first, again)
    assert not model.dropout.deterministic
    # No row depends on another.
    np.testing.assert_allclose(gradients(model, X[:2], y[:2]), first[:2], rtol=1e-4, atol=1e-6)


def test_rows_without_a_direction_are_left_out():
    """relu(w x): the gradient is zero where the unit is off."""

    class Unit(nnx.Module):
        def __init__(self, sign):
            self.weight = nnx.Param(jnp.full((1, 2), float(sign)))

        def __call__(self, X):
            return nnx.relu(X @ self.weight[...])

    X, y = np.array([[1.0], [-1.0], [2.0]], np.float32), np.array([0, 0, 0])
    np.testing.assert_array_equal(gradient_norms(Unit(1), X, y, of="logit"), [1, 0, 1])
    np.testing.assert_allclose(gradient_cosines([Unit(1), Unit(1)], X, y, of="logit"), np.ones((2, 2)))
    np.testing.assert_allclose(gradient_coherence(Unit(1), X, y, of="logit", by="inputs"), 1)
    with pytest.raises(ValueError, match=r"networks 0 and 1 have no example.*logit"):
        gradient_cosines([Unit(1), Unit(-1)], X, y, of="logit")
    with pytest.raises(ValueError, match="a network has 1 of 3"):
        gradient_coherence([Unit(1), Unit(-1)], X, y, of="logit")


def test_gradients_too_small_to_be_squared_keep_their_direction():
    models = [Linear([[0.0, 0.0], [-1e-25, 1e-25]]), Linear([[1e-30, 0.0], [0.0, 1e-30]])]
    cosines = gradient_cosines(models, X[1:], Y[1:], of="logit")
    np.testing.assert_allclose(cosines, [[1, 0.5**0.5], [0.5**0.5, 1]], rtol=1e-5)
    np.testing.assert_allclose(gradient_norms(models[0], X[1:], Y[1:], of="logit"), 2**0.5 * 1e-25, rtol=1e-5)


def test_the_losses_gradient_keeps_its_digits_where_the_network_is_sure():
    """The usual formula gives p_y - 1 = 0 by the label's logit."""
    logits, y = jnp.array([[30.0, 0.0, 5.0]]), jnp.array([0])
    found = jax.grad(lambda z: row_losses(z, y).sum())(logits)[0]
    p = np.exp([0, -30.0, -25.0]) / np.exp([0, -30.0, -25.0]).sum()
    np.testing.assert_allclose(found, [-p[1] - p[2], p[1], p[2]], rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-30, 30, width=32), min_size=3, max_size=3), st.integers(0, 2))
def test_row_losses_are_the_cross_entropy(logits, label):
    found = row_losses(jnp.array([logits], jnp.float32), jnp.array([label]))[0]
    expected = np.logaddexp.reduce(np.float64(np.float32(logits))) - np.float32(logits[label])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_many_networks_of_one_structure_compile_once(digits, trained):
    class Counted(MLP):
        calls = 0

        def __call__(self, X):
            Counted.calls += 1
            return super().__call__(X)

    config = TrainConfig(epochs=1, keep_epochs=(0, 1))
    keys = jax.random.split(jax.random.key(1), 2)
    ensemble = train_ensemble(lambda rngs: Counted(784, 10, (4,), rngs=rngs), *digits, config, keys)
    gradient_norms(ensemble.at(0), *digits, batch_size=25)
    before = Counted.calls
    for epoch in (0, 1):
        gradient_norms(ensemble.at(epoch), *digits, batch_size=25)
    # Shapes are checked without compiling: once a call.
    assert Counted.calls - before <= 2


@pytest.mark.parametrize("measure", [gradient_cosines, gradient_coherence])
def test_similarities_of_gradients_keep_what_their_facts_say(measure):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 2, 2))
    rotation = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    # Gradients of the logits by the inputs are rows of the weights.
    facts = GRADIENT_FACTS[measure.__name__]

    def found(weights):
        models = Linear(weights) if measure is gradient_coherence else [Linear(weights), Linear(second)]
        return np.ravel(measure(models, X, Y, of="logit", by="inputs"))

    before = found(first)
    assert (facts.low <= before).all() and (before <= facts.high + 1e-6).all() and facts.larger_is_similar
    for change, changed in {"scaling": 7.5 * first, "rotation": first @ rotation}.items():
        assert np.allclose(found(changed), before, atol=1e-5) == (change in facts.invariances), change
    # What is turned the other way is as unlike as can be.
    opposite = Linear(first * [[1], [-1]]) if measure is gradient_coherence else [Linear(first), Linear(-first)]
    assert np.min(measure(opposite, X, Y, of="logit", by="inputs")) < before.min()


def test_gini_by_hand():
    assert gini([2, 2, 2]) == 0
    assert gini([0, 0, 0, 5]) == 0.75
    # Mean absolute difference of all ordered pairs of 1, 2, 3: 8/9; over twice the mean, 4.
    np.testing.assert_allclose(gini([3, 1, 2]), 2 / 9)
    np.testing.assert_allclose(gini([[3, 1, 2], [1, 1, 1]]), [2 / 9, 0], atol=1e-15)
    assert gini([1e308] * 3) == 0 and gini([0, 0, 0, 1e-320]) == 0.75
    assert all(gini(np.full(n, 0.1)) >= 0 for n in range(2, 60))


def test_rounding_takes_no_similarity_of_gradients_beyond_its_range():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        model, rows = Linear(rng.normal(size=(3, 4))), np.tile(rng.normal(size=(1, 4)).astype(np.float32), (3, 1))
        y = np.zeros(3, int)
        np.testing.assert_array_equal(np.diag(gradient_cosines([model, model], rows, y)), 1)
        assert np.abs(gradient_cosines([model, model], rows, y)).max() <= 1
        assert gradient_coherence(model, rows, y) <= 1
        assert gradient_coherence(model, rows[:2], y[:2]) <= 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1e3), min_size=2, max_size=12).filter(lambda x: sum(x) > 1e-3), st.floats(0.1, 10))
def test_gini_is_the_mean_difference_and_knows_no_scale(values, scale):
    x = np.array(values)
    np.testing.assert_allclose(gini(x), np.abs(x[:, None] - x[None]).mean() / (2 * x.mean()), atol=1e-9)
    np.testing.assert_allclose(gini(scale * x), gini(x), atol=1e-9)


def test_refusals(digits, trained, unchecked):
    images, labels = digits
    model, wider = trained.at(0)[0], MLP(784, 10, (13, 8), rngs=nnx.Rngs(0))
    wider.eval()
    broken = MLP(784, 10, (12, 8), rngs=nnx.Rngs(0))
    broken.head.kernel[...] = jnp.full((8, 10), jnp.nan)
    for call, message in [
        (lambda: gradients(model, images, labels, of="losses"), "of must be one of 'loss', 'logit'"),
        (lambda: gradients(model, images, labels, by="pixels"), "by must be one of 'inputs', 'parameters'"),
        (lambda: gradients(model, images.tolist(), labels), "X is a list; expected an array"),
        (lambda: gradients(model, images, labels.tolist()), "y is a list; expected an array"),
        (lambda: gradients(model, images, labels[1:]), r"y is int32 of shape \(59,\)"),
        (lambda: gradients(model, images, labels + 1), "from 1 to 10"),
        (lambda: gradients(model, images, labels, batch_size=0), "batch_size"),
        (lambda: gradients([], images, labels), "at least one network"),
        (lambda: gradients([model, wider], images, labels), "network 1 is of another structure"),
        (lambda: gradients(broken, images, labels), "of the loss by inputs of network 0 are NaN"),
        (lambda: gradient_cosines(model, images, labels), "two or more"),
        (lambda: gradient_cosines([model], images, labels), "two or more"),
        (lambda: gradient_coherence(model, images[:1], labels[:1]), "has 1 of 1"),
        (lambda: gini([1.0, -1.0]), "at least 0"),
        (lambda: gini([1.0, np.nan]), "finite"),
        (lambda: gini([]), "at least one"),
        (lambda: gini([0.0, 0.0]), "zero"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.nightly
def test_networks_of_true_labels_have_gradients_alike_and_of_random_ones_not():
    """On 500 digits: coherence after epoch 1, and cosines of input gradients in the end."""
    data = load("digits")
    X, y = data.X_train[:500], data.y_train[:500]
    shuffled = np.stack([np.random.default_rng(seed).permutation(y) for seed in range(3)])
    config = TrainConfig(epochs=40, keep_epochs=(1, 40))
    keys = jax.random.split(jax.random.key(0), 3)
    true, shared, each = (
        train_ensemble(lambda rngs: MLP(784, 10, rngs=rngs), X, labels, config, keys)
        for labels in (y, shuffled[0], shuffled)
    )
    coherence = [gradient_coherence(trained.at(1), X, labels) for trained, labels in ((true, y), (each, shuffled))]
    assert (coherence[0] > 10 * np.abs(coherence[1])).all(), coherence
    between = ~np.eye(3, dtype=bool)
    test = data.X_test, data.y_test
    cosines = [gradient_cosines(trained.at(40), *test)[between].mean() for trained in (true, shared, each)]
    assert cosines[0] > cosines[1] + 0.05 > cosines[2] + 0.1 and abs(cosines[2]) < 0.02, cosines
