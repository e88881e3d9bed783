"""Features: every layer in order, any batch size, one compilation, evaluation mode, nothing broken let by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmem.nets import MLP, History, TrainConfig, Trained, ViT, features, layer_names, layer_widths, logits, train
from tests.nets.test_models import forward_in_numpy


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(53, 4, 3, 1)).astype(np.float32)


def network(seed=0, **options):
    return MLP(12, 3, **({"widths": (7, 5)} | options), rngs=nnx.Rngs(seed))


def test_features_equal_numpy(X):
    model = network()
    expected, expected_logits = forward_in_numpy(model, X)
    got = features(model, X)
    assert list(got) == ["layer1", "layer2"]
    for name, want in zip(got, expected, strict=True):
        assert isinstance(got[name], jax.Array)
        np.testing.assert_allclose(got[name], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logits(model, X), expected_logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 10, 52, 53, 54])
def test_ragged_batches_equal_one_big_batch(X, batch_size):
    model = network()
    whole, parts = (
        features(model, X, batch_size=1_000),
        features(model, jnp.asarray(X), batch_size=batch_size),
    )
    for name in whole:
        assert parts[name].shape == whole[name].shape
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logits(model, X, batch_size), logits(model, X), rtol=1e-5, atol=1e-6)


def test_layers_come_from_input_to_output(X):
    names = list(features(network(widths=(12,) * 11), X))
    assert names == [f"layer{number}" for number in range(1, 12)]
    assert layer_names(network(widths=(12,) * 11), X[:1]) == names


def test_widths_are_told_without_computing(X):
    for pool in (None, "mean"):
        model = network(widths=(7, 5))
        read = features(model, X, pool=pool)
        assert layer_widths(model, X[:1], pool=pool) == {name: rows.shape[1] for name, rows in read.items()}


def test_evaluation_mode_and_the_model_stays(X):
    model = network(dropout=0.5)
    model.train()
    first, second = features(model, X), features(model, X)
    for name, want in features(network(), X).items():
        np.testing.assert_array_equal(first[name], want)
        np.testing.assert_array_equal(second[name], want)
    assert not model.dropout.deterministic
    assert model.dropout.rngs.count[...] == 0


def test_seven_epochs_and_six_input_sets_compile_once(X):
    class Counted(MLP):
        traces = 0

        def hidden(self, X):
            Counted.traces += 1
            return super().hidden(X)

    def trained(seed):
        graphdef, weights, rest = nnx.split(Counted(12, 3, widths=(7, 5), rngs=nnx.Rngs(seed)), nnx.Param, ...)
        states = {
            epoch: nnx.merge_state(jax.tree.map(lambda w, k=epoch: w * (1 + k), weights), rest) for epoch in range(7)
        }
        return Trained(graphdef, states, History(np.zeros(6), np.zeros(6)))

    runs = [trained(seed) for seed in (0, 1)]
    read = {}
    for epoch in range(7):
        for amount in range(6):
            # Sets of other sizes share the program too: a batch is a batch.
            inputs = X[: 53 - amount] + np.float32(amount)
            read[epoch, amount] = features(runs[0].at(epoch), inputs, batch_size=20)["layer1"]
    assert Counted.traces == 1
    features(runs[1].at(6), X, batch_size=20)
    assert Counted.traces == 1
    assert len({np.asarray(value).tobytes() for value in read.values()}) == 42


def test_memory_maps_are_read(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(features(network(), mapped, 20)["layer2"], features(network(), X, 20)["layer2"])


class Images(nnx.Module):
    """A user's own module: its hidden layers may have any shape, its names any words."""

    def __init__(self, rngs):
        self.mix = nnx.Linear(1, 2, rngs=rngs)

    def hidden(self, X):
        return {"pixels": X, "mixed": self.mix(X)}

    def __call__(self, X):
        return self.hidden(X)["mixed"].mean(axis=(1, 2))


def test_a_module_of_ones_own(X):
    model = Images(nnx.Rngs(0))
    got = features(model, X, batch_size=20)
    assert list(got) == ["pixels", "mixed"]
    np.testing.assert_array_equal(got["pixels"], X.reshape(53, 12))
    np.testing.assert_allclose(got["mixed"], np.asarray(model.mix(X)).reshape(53, 24), rtol=1e-6)
    assert logits(model, X).shape == (53, 2)


def test_layers_asked_for_and_no_others(X):
    model = network(widths=(7, 5, 6))
    whole = features(model, X)
    got = features(model, X, layers=("layer3", "layer1"), batch_size=20)
    # From the input side to the output side, whatever order they are asked for in.
    assert list(got) == ["layer1", "layer3"]
    for name, value in got.items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-5, atol=1e-6)
    assert list(features(model, X, layers="layer2")) == ["layer2"]
    # What is not asked for may be broken.
    model.layers[2].kernel[...] = jnp.full((5, 6), jnp.nan)
    assert list(features(model, X, layers=["layer2"])) == ["layer2"]


def test_means_over_what_lies_between_rows_and_channels(X):
    model = Images(nnx.Rngs(0))
    got = features(model, X, batch_size=20, pool="mean")
    np.testing.assert_allclose(got["pixels"], X.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got["mixed"], np.asarray(model.mix(X)).mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    # Tokens (n, tokens, width), too; rows of units (n, d) have nothing to average.
    tokens = ViT((4, 3, 1), 2, (8,), rngs=nnx.Rngs(0))
    means = features(tokens, X, pool="mean", layers=["block1", "pooled"])
    whole = features(tokens, X)
    np.testing.assert_allclose(means["block1"], whole["block1"].reshape(53, 4, 8).mean(axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(means["pooled"], whole["pooled"], rtol=1e-4, atol=1e-5)


class Sowing(nnx.Module):
    """A user's own module that sows what it computes, in itself and in a part that it calls twice."""

    class Part(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(12, 12, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, X):
            X = self.dropout(self.linear(X))
            self.sow(nnx.Intermediate, "out", X)
            return X

    def __init__(self, rngs):
        self.part = Sowing.Part(rngs)

    def __call__(self, X):
        for number in (2, 10):
            X = self.part(X.reshape(len(X), 12))
            self.sow(nnx.Intermediate, f"layer{number}", X)
        return X[:, :3]


def test_a_module_that_sows(X):
    model = Sowing(nnx.Rngs(0))
    once = X.reshape(53, 12) @ np.asarray(model.part.linear.kernel[...])
    expected = {"layer2": once, "layer10": once @ np.asarray(model.part.linear.kernel[...])}
    expected |= {"part/out/1": expected["layer2"], "part/out/2": expected["layer10"]}
    got = features(model, X, batch_size=20)
    assert list(got) == list(expected) == layer_names(model, X)
    for name, want in expected.items():
        np.testing.assert_allclose(got[name], want, rtol=1e-4, atol=1e-5)
    assert list(features(model, X, layers=["layer10"], pool="mean")) == ["layer10"]
    # The module is left as it is, and gives its logits as ever.
    assert not model.part.dropout.deterministic
    np.testing.assert_allclose(logits(model, X), expected["layer10"][:, :3], rtol=1e-4, atol=1e-5)


def test_other_layers_compile_anew_and_the_same_do_not(X):
    class Counted(MLP):
        traces = 0

        def hidden(self, X):
            Counted.traces += 1
            return super().hidden(X)

    model = Counted(12, 3, widths=(7, 5), rngs=nnx.Rngs(0))
    for layers in (("layer1", "layer2"), ["layer2", "layer1"], ("layer1", "layer2", "layer1")):
        features(model, X, layers=layers)
    assert Counted.traces == 1
    features(model, X, layers=("layer1",))
    assert Counted.traces == 2


def test_broken_activations_name_the_layer(X):
    model = network()
    model.layers[1].kernel[...] = jnp.full((7, 5), jnp.nan)
    with pytest.raises(ValueError, match='"layer2" has NaN'):
        features(model, X, batch_size=20)
    with pytest.raises(ValueError, match='"logits" has NaN'):
        logits(model, X)
    X[-1, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match='"layer1" has NaN'):
        features(network(), X, batch_size=20)


def test_an_unknown_pooling_is_refused(X, unchecked):
    with pytest.raises(ValueError, match="pool must be one of 'mean', but is 'meen'"):
        features(network(), X, pool="meen")


def test_refusals(X):
    class Nameless(nnx.Module):
        def __call__(self, X):
            return X

    class Pooled(Nameless):
        def hidden(self, X):
            return {"mean": X.mean(axis=0)}

    with pytest.raises(ValueError, match="Nameless has no method hidden"):
        features(Nameless(), X)
    with pytest.raises(ValueError, match="its call sows nothing"):
        features(Nameless(), X)
    with pytest.raises(ValueError, match=r"each of layers must be one of 'layer1', 'layer2', but is 'layr1'.*'layer1'"):
        features(network(), X, layers=["layer2", "layr1"])
    with pytest.raises(ValueError, match="layers is empty"):
        features(network(), X, layers=[])
    with pytest.raises(ValueError, match='Layer "mean" has shape'):
        features(Pooled(), X)
    with pytest.raises(ValueError, match="batch_size is 0"):
        features(network(), X, batch_size=0)
    with pytest.raises(ValueError, match="uint8"):
        features(network(), X.astype(np.uint8))
    with pytest.raises(ValueError, match="at least one row"):
        logits(network(), X[:0])


def test_a_module_that_sows_is_trained_and_read():
    """Flax deprecates sowing while nobody captures, and warnings are errors here."""

    class Sower(nnx.Module):
        def __init__(self, rngs):
            self.first, self.head = nnx.Linear(6, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)

        def __call__(self, X):
            hidden = nnx.relu(self.first(X))
            self.sow(nnx.Intermediate, "hidden_layer", hidden)
            return self.head(hidden)

    X = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int32)
    config = TrainConfig(epochs=60, batch_size=10, learning_rate=0.02, keep_epochs=(0, 60))
    trained = train(Sower(nnx.Rngs(0)), X, y, config, 0)
    assert trained.history.accuracy[-1] > 0.9
    model = trained.at(60)
    found = features(model, X)
    np.testing.assert_allclose(found["hidden_layer"], nnx.relu(model.first(X)), rtol=1e-5, atol=1e-6)
