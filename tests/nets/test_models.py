"""The MLP: its arithmetic, its names, its dropout, its refusals, and an ensemble under vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmem.nets import MLP


def forward_in_numpy(model, X):
    """ReLU(h W + b), layer by layer, in float64."""
    h, layers = np.asarray(X, np.float64).reshape(len(X), -1), []
    for layer in model.layers:
        h = np.maximum(h @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...]), 0)
        layers.append(h)
    return layers, h @ np.asarray(model.head.kernel[...], np.float64) + np.asarray(model.head.bias[...])


def test_forward_equals_numpy():
    model = MLP(12, 3, widths=(7, 5), rngs=nnx.Rngs(0))
    # Biases start at zero, where a forgotten one would not show.
    random = np.random.default_rng(0)
    for layer in (*model.layers, model.head):
        layer.bias[...] = random.normal(size=layer.bias.shape).astype(np.float32)
    X = jnp.asarray(random.normal(size=(9, 12)), jnp.float32)
    expected, expected_logits = forward_in_numpy(model, X)
    hidden = model.hidden(X)
    assert list(hidden) == ["layer1", "layer2"]
    for activation, want in zip(hidden.values(), expected, strict=True):
        np.testing.assert_allclose(activation, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(X), expected_logits, rtol=1e-5, atol=1e-6)


def test_images_are_flattened_row_by_row():
    model = MLP(12, 3, widths=(7, 5), rngs=nnx.Rngs(0))
    images = np.random.default_rng(0).normal(size=(9, 2, 3, 2)).astype(np.float32)
    np.testing.assert_array_equal(model(jnp.asarray(images)), model(jnp.asarray(images.reshape(9, 12))))


def test_default_widths_and_names():
    hidden = jax.eval_shape(lambda: MLP(4, 2, rngs=nnx.Rngs(0)).hidden(jnp.ones((3, 4))))
    shapes = {name: value.shape for name, value in hidden.items()}
    assert shapes == {"layer1": (3, 256), "layer2": (3, 256), "layer3": (3, 64)}


def test_dropout_drops_in_training_only():
    model = MLP(20, 3, widths=(1_000,), dropout=0.4, rngs=nnx.Rngs(0))
    X = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    [undropped], plain_logits = forward_in_numpy(model, X)
    model.train()
    dropped, again = (np.asarray(model.hidden(jnp.asarray(X))["layer1"]) for _ in range(2))
    active = undropped > 1e-4
    # 25,000 active units: six standard errors of the dropped share are 0.019.
    assert abs(np.mean(dropped[active] == 0) - 0.4) < 0.02
    survivors = active & (dropped > 0)
    np.testing.assert_allclose(dropped[survivors], undropped[survivors] / 0.6, rtol=1e-2)
    assert np.any(again != dropped)
    model.eval()
    np.testing.assert_allclose(model(jnp.asarray(X)), plain_logits, rtol=1e-4, atol=1e-5)


def test_an_ensemble_runs_under_vmap():
    def make(seed):
        return MLP(12, 3, widths=(7, 5), dropout=0.5, rngs=nnx.Rngs(jax.random.key(seed)))

    members = [make(seed) for seed in range(3)]
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(nnx.state, members))
    X = np.random.default_rng(0).normal(size=(10, 12)).astype(np.float32)

    @jax.jit
    @jax.vmap
    def read(state):
        model = nnx.merge(nnx.graphdef(members[0]), state)
        model.eval()
        return model.hidden(jnp.asarray(X)), model(jnp.asarray(X))

    hidden, scores = read(states)
    assert scores.shape == (3, 10, 3)
    for member, model in enumerate(members):
        expected, expected_scores = forward_in_numpy(model, X)
        np.testing.assert_allclose(np.asarray(hidden["layer2"])[member], expected[1], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.asarray(scores)[member], expected_scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_inputs": 0}, "n_inputs=0"),
        ({"n_classes": 1}, "2 classes"),
        ({"widths": ()}, "at least one layer"),
        ({"widths": (5, 0)}, r"widths=\(5, 0\)"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"dropout": -0.1}, "dropout=-0.1"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLP(**({"n_inputs": 4, "n_classes": 3} | arguments), rngs=nnx.Rngs(0))


def test_inputs_of_another_width_are_refused():
    with pytest.raises(ValueError, match="n_inputs=5"):
        MLP(12, 3, widths=(7, 5), rngs=nnx.Rngs(0))(jnp.ones((2, 5)))
