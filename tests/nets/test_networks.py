"""All networks by name: shapes, sizes by hand, learning, ensembles, batch norm, what they refuse."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.datasets import load_digits

from jaxmem.nets import ACTIVATIONS, CNN, MLP, NETWORKS, ResNet, TrainConfig, ViT, features, logits, network, train

WIDTHS = {"mlp": (16, 8), "cnn": (4, 6), "resnet": (4, 8), "vit": (16, 16)}
# What each makes of images (h, w, c) with the widths above, from the input side to the output side.
HIDDEN = {
    "mlp": lambda h, w: {"layer1": (16,), "layer2": (8,)},
    "cnn": lambda h, w: {"conv1": (h // 2, w // 2, 4), "conv2": (h // 4, w // 4, 6), "dense1": (64,)},
    "resnet": lambda h, w: {
        "conv1": (h, w, 4),
        "block1": (h, w, 4),
        "block2": (h // 2, w // 2, 8),
        "pooled": (8,),
    },
    "vit": lambda h, w: {
        **dict.fromkeys(("embedding", "block1", "block2"), ({8: 16, 11: 30, 28: 49, 32: 64}[h], 16)),
        "pooled": (16,),
    },
}
SHAPES = [(8, 8, 1), (11, 9, 2), (28, 28, 1), (32, 32, 3)]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X[:60] / 16).astype(np.float32).reshape(-1, 8, 8, 1), y[:60].astype(np.int32)


def make(name, seed=0, shape=(8, 8, 1), n_classes=10, **options):
    options = {"widths": WIDTHS.get(name), "rngs": nnx.Rngs(jax.random.key(seed))} | options
    return network(name, shape, n_classes, **options)


@partial(jax.jit, static_argnums=0)
def in_training(graphdef, state, X):
    """Hidden layers and logits in training mode; the state stays as it is."""
    model = nnx.merge(graphdef, state, copy=True)
    model.train()
    return model.hidden(X), model(X)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes(name, shape):
    def read(X):
        model = make(name, shape=shape)
        hidden = model.hidden(X)
        names.extend(hidden)
        return hidden, model(X)

    names = []
    hidden, scores = jax.eval_shape(read, jnp.ones((5, *shape)))
    expected = HIDDEN[name](*shape[:2])
    assert names == list(expected)
    assert {layer: value.shape for layer, value in hidden.items()} == {k: (5, *v) for k, v in expected.items()}
    assert scores.shape == (5, 10)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda rngs: MLP(6, 3, (5, 4), rngs=rngs), (6 * 5 + 5) + (5 * 4 + 4) + (4 * 3 + 3)),
        (lambda rngs: MLP(6, 3, (5, 4), batch_norm=True, rngs=rngs), 35 + 24 + 15 + 2 * (5 + 4)),
        # 8 x 8 pixels halved twice are 2 x 2.
        (
            lambda rngs: CNN((8, 8, 1), 3, (4, 6), dense=5, rngs=rngs),
            (9 * 4 + 4) + (9 * 4 * 6 + 6) + (2 * 2 * 6 * 5 + 5) + (5 * 3 + 3),
        ),
        # The convolution; a block of 4 channels; one from 4 to 8, its shortcut without bias; the last norm; the head.
        (
            lambda rngs: ResNet((8, 8, 1), 3, (4, 8), rngs=rngs),
            40 + 2 * (8 + 9 * 4 * 4 + 4) + (8 + 9 * 4 * 8 + 8) + (16 + 9 * 8 * 8 + 8) + 4 * 8 + 16 + (8 * 3 + 3),
        ),
        # 16 patches of 2 x 2 pixels; a block; the last norm; the head.
        (
            lambda rngs: ViT((8, 8, 1), 3, (16,), rngs=rngs),
            (4 * 16 + 16)
            + 16 * 16
            + (2 * 32 + (16 * 48 + 48) + (16 * 16 + 16) + (16 * 64 + 64) + (64 * 16 + 16))
            + 32
            + (16 * 3 + 3),
        ),
    ],
)
def test_number_of_parameters_by_hand(model, expected):
    parameters = jax.eval_shape(lambda: nnx.state(model(nnx.Rngs(0)), nnx.Param))
    assert sum(leaf.size for leaf in jax.tree.leaves(parameters)) == expected


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("mlp", lambda rngs: MLP(64, 10, rngs=rngs)),
        ("cnn", lambda rngs: CNN((8, 8, 1), 10, rngs=rngs)),
        ("resnet", lambda rngs: ResNet((8, 8, 1), 10, rngs=rngs)),
        ("vit", lambda rngs: ViT((8, 8, 1), 10, rngs=rngs)),
    ],
)
def test_the_factory_gives_the_classes_defaults(name, made):
    def structures():
        models = made(nnx.Rngs(0)), network(name, (8, 8, 1), 10, rngs=nnx.Rngs(0))
        graphs.extend(map(nnx.graphdef, models))
        return tuple(nnx.state(model, nnx.Param) for model in models)

    graphs = []
    a, b = jax.eval_shape(structures)
    assert graphs[0] == graphs[1]
    assert jax.tree.map(jnp.shape, a) == jax.tree.map(jnp.shape, b)


@pytest.mark.parametrize(
    ("name", "options"),
    # The MLP learns in test_train.py.
    [
        ("mlp", {"batch_norm": True}),
        ("cnn", {"batch_norm": True, "dropout": 0.1}),
        pytest.param("resnet", {}, marks=pytest.mark.nightly),
        pytest.param("vit", {}, marks=pytest.mark.nightly),
    ],
)
def test_learns_digits(digits, name, options):
    config = TrainConfig(epochs=40, batch_size=20, learning_rate=0.01, keep_epochs=(0, 40))
    trained = train(make(name, **options), *digits, config, jax.random.key(0))
    X, y = digits
    accuracy = [np.mean(np.asarray(logits(trained.at(epoch), X)).argmax(axis=1) == y) for epoch in (0, 40)]
    assert accuracy[0] < 0.4
    assert accuracy[1] > 0.9


@pytest.mark.nightly
@pytest.mark.parametrize("name", NETWORKS)
def test_an_ensemble_with_several_dropout_rates_equals_the_loop(digits, name):
    X = jnp.asarray(digits[0][:6])
    members = [make(name, seed, dropout=rate) for seed, rate in ((0, 0.0), (0, 0.5), (1, 0.2))]
    graphdef = nnx.graphdef(members[0])
    assert all(nnx.graphdef(member) == graphdef for member in members)
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(nnx.state, members))
    together = jax.jit(jax.vmap(lambda state: in_training(graphdef, state, X)))(states)
    scores = []
    for index, member in enumerate(members):
        alone = in_training(graphdef, nnx.state(member), X)
        scores.append(np.asarray(alone[1]))
        got = jax.tree.map(lambda leaf, index=index: np.asarray(leaf)[index], together)
        jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=1e-4), got, alone)
    # Two of one seed differ in the rate of dropout alone.
    assert np.abs(scores[0] - scores[1]).max() > 1e-2


@pytest.mark.nightly
def test_batch_statistics_move_in_training_and_serve_in_evaluation(digits):
    config = TrainConfig(epochs=1, batch_size=20, keep_epochs=(0, 1))
    trained = train(make("resnet", batch_norm=True), *digits, config, 0)
    before, after = (jax.tree.leaves(nnx.state(trained.at(epoch), nnx.BatchStat)) for epoch in (0, 1))
    # Mean and variance of two norms in each of two blocks, and of the last.
    assert len(before) == 2 * 5
    assert all(np.abs(np.asarray(p) - q).max() > 1e-3 for p, q in zip(before, after, strict=True))
    # In evaluation a row does not depend on the rows beside it; in training it does.
    X = digits[0]
    model = trained.at(1)
    np.testing.assert_allclose(logits(model, X)[:3], logits(model, X[[0, 1, 2] * 20])[:3], rtol=1e-4, atol=1e-4)
    assert np.abs(difference_by_company(model, X)).max() > 1e-2
    # The statistics are read: had they stayed, the logits would be others.
    graphdef, _, rest = nnx.split(model, nnx.BatchStat, ...)
    still = nnx.merge(graphdef, nnx.state(trained.at(0), nnx.BatchStat), rest)
    assert np.abs(np.asarray(logits(still, X)) - logits(model, X)).max() > 1e-2


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_without_batch_norm_a_row_never_depends_on_others(digits, name):
    np.testing.assert_allclose(difference_by_company(make(name), digits[0]), 0, atol=1e-4)


def difference_by_company(model, X):
    """Logits in training mode of the first three rows: among all rows, less those among repetitions of the three."""
    one, other = (in_training(*nnx.split(model), jnp.asarray(rows))[1] for rows in (X, X[[0, 1, 2] * 20]))
    return np.asarray(one)[:3] - np.asarray(other)[:3]


def test_batch_norm_leaves_the_initial_weights():
    plain, normed = make("cnn"), make("cnn", batch_norm=True)
    for a, b in ((plain.convolutions[1], normed.convolutions[1]), (plain.head, normed.head)):
        np.testing.assert_array_equal(a.kernel[...], b.kernel[...])


def test_batch_norm_stands_before_the_activation(digits):
    model = make("mlp", batch_norm=True)
    hidden = np.asarray(in_training(*nnx.split(model), jnp.asarray(digits[0]))[0]["layer1"])
    before = digits[0].reshape(60, 64) @ np.asarray(model.layers[0].kernel[...])
    normed = (before - before.mean(axis=0)) / np.sqrt(before.var(axis=0) + 1e-5)
    np.testing.assert_allclose(hidden, np.maximum(normed, 0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_by_name(digits, activation):
    model = make("mlp", activation=activation)
    X = digits[0]
    before = X.reshape(60, 64) @ np.asarray(model.layers[0].kernel[...])
    by_hand = {
        "relu": np.maximum(before, 0),
        "leaky_relu": np.where(before > 0, before, 0.01 * before),
        "elu": np.where(before > 0, before, np.exp(before) - 1),
        "gelu": before * (1 + np.tanh(np.sqrt(2 / np.pi) * (before + 0.044715 * before**3))) / 2,
        "silu": before / (1 + np.exp(-before)),
        "tanh": np.tanh(before),
        "sigmoid": 1 / (1 + np.exp(-before)),
    }
    np.testing.assert_allclose(features(model, X)["layer1"], by_hand[activation], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "times"), [("mlp", 2), ("cnn", 3), ("resnet", 2 * 2 + 1), ("vit", 2)])
def test_every_network_applies_the_activation(name, times, monkeypatch):
    applied = []
    monkeypatch.setitem(ACTIVATIONS, "tanh", lambda X: applied.append(1) or jnp.tanh(X))
    jax.eval_shape(lambda X: make(name, activation="tanh")(X), jnp.ones((2, 8, 8, 1)))
    assert len(applied) == times


def test_cnn_in_numpy():
    """One stage on one image of 4 x 4 pixels, written out pixel by pixel."""
    model = CNN((4, 4, 1), 2, (1,), dense=3, activation="tanh", rngs=nnx.Rngs(0))
    X = np.random.default_rng(0).normal(size=(1, 4, 4, 1)).astype(np.float32)
    kernel, padded = np.asarray(model.convolutions[0].kernel[...])[:, :, 0, 0], np.pad(X[0, :, :, 0], 1)
    convolved = np.array([[np.sum(padded[i : i + 3, j : j + 3] * kernel) for j in range(4)] for i in range(4)])
    pooled = np.tanh([[convolved[i : i + 2, j : j + 2].max() for j in (0, 2)] for i in (0, 2)])
    got = features(model, X)
    np.testing.assert_allclose(got["conv1"], pooled.reshape(1, 4), rtol=1e-4, atol=1e-5)
    dense = np.tanh(pooled.reshape(1, 4) @ np.asarray(model.dense.kernel[...]))
    np.testing.assert_allclose(got["dense1"], dense, rtol=1e-4, atol=1e-5)


def test_vit_takes_patches_row_by_row_and_pads():
    model = ViT((5, 4, 2), 2, (4,), patch_size=2, n_heads=1, rngs=nnx.Rngs(0))
    X = np.random.default_rng(0).normal(size=(1, 5, 4, 2)).astype(np.float32)
    padded = np.pad(X[0], ((0, 1), (0, 0), (0, 0)))
    patches = np.stack([padded[i : i + 2, j : j + 2].ravel() for i in (0, 2, 4) for j in (0, 2)])
    tokens = patches @ np.asarray(model.embedding.kernel[...]) + np.asarray(model.positions[...])
    np.testing.assert_allclose(features(model, X)["embedding"], tokens.reshape(1, -1), rtol=1e-4, atol=1e-5)


def test_vit_knows_positions_and_attends():
    model = ViT((8, 8, 1), 3, (16, 16), rngs=nnx.Rngs(0))
    X = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype(np.float32)
    changed = X.copy()
    changed[0, 0, 0] += 1.0
    before, after = (np.asarray(features(model, x)["block1"]).reshape(16, 16) for x in (X, changed))
    # One pixel of the first patch reaches the last token, through the attention alone.
    assert np.abs(before[-1] - after[-1]).max() > 1e-5
    # Without positions the logits would not see that two patches changed places.
    swapped = X.copy()
    swapped[0, :2, :2], swapped[0, :2, 2:4] = X[0, :2, 2:4], X[0, :2, :2]
    assert np.abs(np.asarray(logits(model, X)) - logits(model, swapped)).max() > 1e-5
    model.positions[...] = jnp.zeros_like(model.positions[...])
    np.testing.assert_allclose(logits(model, X), logits(model, swapped), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnt", {}, "Did you mean 'resnet'"),
        ("vit", {"batch_norm": True}, "'vit' has no batch norm.*'mlp', 'cnn', 'resnet'"),
        ("vit", {"widths": (16, 8)}, r"widths=\(16, 8\).*all equal"),
        ("vit", {"widths": (6,)}, "n_heads=4.*multiple"),
        ("vit", {"shape": (1, 8, 1)}, "at least 2 by 2 pixels"),
        ("cnn", {"widths": (4, 4, 4, 4)}, "CNN got .* at least 16 by 16 pixels.*shorter widths"),
        ("resnet", {"widths": (4,) * 5}, "at least 16 by 16 pixels"),
        ("cnn", {"shape": (8, 8)}, r"image_shape=\(8, 8\).*channels"),
        ("cnn", {"shape": (8, 8, 0)}, r"image_shape=\(8, 8, 0\)"),
        ("resnet", {"n_classes": 1}, "ResNet got n_classes=1"),
        ("cnn", {"widths": ()}, "at least one layer"),
        ("resnet", {"widths": (4, 0)}, r"widths=\(4, 0\)"),
        ("cnn", {"dropout": 1.0}, "CNN got dropout=1.0"),
        ("vit", {"dropout": -0.1}, "ViT got dropout=-0.1"),
        ("mlp", {"activation": "rely"}, "Did you mean 'relu'"),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises(ValueError, match=message):
        make(name, **({"widths": (4, 4)} | options))


def test_vit_refuses_patches_of_no_size():
    with pytest.raises(ValueError, match="patch_size=0"):
        ViT((8, 8, 1), 2, patch_size=0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"at least 9 by 9 pixels.*smaller patches"):
        ViT((8, 8, 1), 2, patch_size=9, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", ["cnn", "resnet", "vit"])
def test_images_of_another_shape_are_refused(name):
    with pytest.raises(ValueError, match=r"\(3, 9, 8, 1\) does not hold images of shape \(8, 8, 1\)"):
        make(name)(jnp.ones((3, 9, 8, 1)))
