"""The monitor: equal to the memorization test on its rows, numbers by hand, one compilation, and what it refuses."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest
from flax import nnx
from helpers import blobs

import jaxmem as jm
from jaxmem import monitor as monitor_room
from jaxmem.monitor import MemorizationReading
from jaxmem.nets import MLP, TrainConfig, features, train

X, y, X_val = blobs(60, 5, 3, separation=0.7)


def assert_equals_the_test(reading, test):
    assert reading.statistic == test.statistic
    assert reading.null == test.null_distribution.mean()
    assert reading.chance == test.chance
    np.testing.assert_equal((reading.memorization, reading.learning), (test.memorization, test.learning))
    assert reading.learning_pvalue == test.learning_pvalue


def linear(params, X):
    return jnp.tanh(X.reshape(len(X), -1) @ params)


# --- Against the test -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classifier", "rows", "n_permutations", "key"),
    [(jm.Ridge(), 37, 5, jax.random.key(3)), (jm.KNeighbors(3), 37, 20, 1)],
)
def test_a_reading_equals_the_memorization_test_of_its_rows(classifier, rows, n_permutations, key):
    options = {"n_permutations": n_permutations, "key": key}
    monitor = jm.MemorizationMonitor(y, classifier=classifier, rows=rows, **options)
    own = monitor.rows
    test = jm.memorization_test(classifier, X[own], y[own], jm.SharedStructure(X_val[own]), **options)
    assert_equals_the_test(monitor(X, X_val), test)


@pytest.mark.nightly
def test_every_single_permutation_is_that_of_the_test(float64):
    """Means of the first b permutations give each of them away."""
    test = jm.memorization_test(jm.Ridge(), X, y, jm.SharedStructure(X_val), n_permutations=2, key=4)
    for b in (1, 2):
        reading = jm.MemorizationMonitor(y, n_permutations=b, key=4)(X, X_val)
        assert reading.null == test.null_distribution[:b].mean()
        assert reading.chance == test.chance_distribution[:b].mean()


@pytest.mark.nightly
def test_above_the_rows_of_exact_shuffles_and_of_one_block():
    """Other generator of permutations, more than one block of rows, labels that are strings."""
    X, y, X_val = blobs(1_100, 4, 3, separation=0.7)
    names = np.array(["cat", "dog", "owl"])[y]
    reading = jm.MemorizationMonitor(names, rows=None, n_permutations=3)(X, X_val)
    assert_equals_the_test(
        reading, jm.memorization_test(jm.Ridge(), X, names, jm.SharedStructure(X_val), n_permutations=3)
    )


def test_few_labellings_are_all_taken():
    few, few_y = X[:5], np.array([0, 0, 1, 1, 1])
    reading = jm.MemorizationMonitor(few_y, n_permutations=20)(few, X_val[:5])
    test = jm.memorization_test(jm.Ridge(), few, few_y, jm.SharedStructure(X_val[:5]), n_permutations=20)
    assert test.exact and test.null_distribution.size == 9
    assert_equals_the_test(reading, test)


# --- By hand ----------------------------------------------------------------------------------------------------


def test_copies_without_perturbation_give_every_label_away():
    reading = jm.MemorizationMonitor(y, classifier=jm.KNeighbors(1))(X, X)
    assert (reading.statistic, reading.null, reading.memorization, reading.learning_pvalue) == (1, 1, 1, 1)
    assert np.isnan(reading.learning)


def test_features_that_are_the_label_are_learnt_and_not_memorized():
    """Rows of a class are one point: labels by majority. Shuffled ones are those of the largest class, at most."""
    points = np.eye(3)[y]
    reading = jm.MemorizationMonitor(y, n_permutations=50)(points, points)
    assert reading.statistic == 1
    assert abs(reading.memorization) < 0.2
    assert reading.learning == pytest.approx((1 - reading.null) / (1 - reading.null)) == 1
    assert reading.learning_pvalue == 1 / 51


# --- Ways of taking a reading -----------------------------------------------------------------------------------


def test_all_rows_and_the_monitors_own_read_alike():
    monitor = jm.MemorizationMonitor(y, rows=25)
    reading, own = monitor(X, X_val), monitor.rows
    assert own.shape == (25,)
    for pair in [(X[own], X_val[own]), (X, X_val[own]), (jnp.asarray(X), jnp.asarray(X_val)), (X.tolist(), X_val)]:
        assert monitor(*pair) == reading


def test_rows_that_are_not_its_own_play_no_part():
    monitor = jm.MemorizationMonitor(y, rows=25)
    others = np.setdiff1d(np.arange(60), monitor.rows)
    spoilt = X.copy()
    spoilt[others] = np.nan
    assert monitor(spoilt, X_val) == monitor(X, X_val)


def test_parameters_read_as_the_features_that_they_make():
    monitor = jm.MemorizationMonitor(y, rows=40)
    images, copies = X.reshape(60, 5, 1), X_val.reshape(60, 5, 1)
    watch = monitor.through(linear, images, copies)
    for seed in range(3):
        params = np.random.default_rng(seed).normal(size=(5, 4)).astype(np.float32)
        made = linear(params, images), linear(params, copies)
        assert watch(params, epoch=seed) == monitor(*made, epoch=seed)
    assert len(set(reading.null for reading in monitor.history)) > 1
    own = monitor.rows
    assert monitor.through(linear, images[own], copies[own])(params, epoch=2) == monitor.history[-1]


def test_features_of_half_precision_and_of_many_axes():
    monitor = jm.MemorizationMonitor(y)
    made = jnp.asarray(X, jnp.bfloat16), jnp.asarray(X_val, jnp.bfloat16)
    watch = monitor.through(lambda params, X: (params * X).astype(jnp.bfloat16).reshape(len(X), 1, 5), X, X_val)
    assert watch(1.0) == monitor(*made)


def test_a_network_is_watched_while_it_trains():
    rows, copies = X.astype(np.float32), X_val.astype(np.float32)
    trained = train(
        MLP(5, 3, widths=(8, 6), rngs=nnx.Rngs(0)),
        rows,
        y,
        TrainConfig(epochs=30, learning_rate=0.05, keep_epochs=(0, 30)),
        key=0,
    )
    monitor = jm.MemorizationMonitor(y)
    watch = monitor.through(lambda state, X: nnx.merge(trained.graphdef, state).hidden(X)["layer2"], rows, copies)
    for epoch, state in trained.snapshots.items():
        reading = watch(state, epoch=epoch)
        layers = [features(trained.at(epoch), part)["layer2"] for part in (rows, copies)]
        assert reading == monitor(*layers, epoch=epoch)
    assert monitor.history[-1].learning > monitor.history[0].learning


def test_the_history_is_a_table():
    monitor = jm.MemorizationMonitor(y)
    readings = [monitor(X, X_val, epoch=1), monitor.through(linear, X, X_val)(np.eye(5, dtype=np.float32), epoch=7)]
    assert monitor.history == readings
    table = pandas.DataFrame(monitor.history)
    assert tuple(table.columns) == MemorizationReading._fields
    assert table["epoch"].tolist() == [1, 7]
    assert all(type(value) is float for value in readings[0][1:])


# --- Devices ----------------------------------------------------------------------------------------------------

ONE, BOTH = jax.devices()[:1], jax.devices()[:2]


@pytest.mark.parametrize(("classifier", "n_permutations"), [(jm.Ridge(), 5), (jm.KNeighbors(3), 20)])
def test_two_devices_read_as_one(classifier, n_permutations):
    """Six labellings are divided evenly, twenty-one are not."""
    images = X.reshape(60, 5, 1), X_val.reshape(60, 5, 1)
    params = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    histories = []
    for devices in (ONE, BOTH, None, jax.make_mesh((2,), ("permutations",))):
        options = {"classifier": classifier, "n_permutations": n_permutations, "rows": 37, "devices": devices}
        monitor = jm.MemorizationMonitor(y, **options)
        monitor(X, X_val, epoch=0)
        watch = monitor.through(linear, *images)
        watch(params, epoch=1)
        for place in (jax.devices()[1], jax.NamedSharding(jax.make_mesh((2,), ("data",)), jax.P(None, "data"))):
            watch(jax.device_put(params, place), epoch=1)  # However parameters lie.
        histories.append(monitor.history)
    assert histories[0][1:] == [histories[0][1]] * 3
    assert histories == [histories[0]] * 4


def test_all_devices_are_taken_unless_one_is_the_default(monkeypatch):
    counted, seen = monitor_room._counts, []

    def watched(*arguments):
        counts = counted(*arguments)
        seen.append({(shard.device, shard.data.shape) for shard in counts["paired"].addressable_shards})
        return counts

    monkeypatch.setattr(monitor_room, "_counts", watched)
    jm.MemorizationMonitor(y, n_permutations=20)(X, X_val)
    share = -(-21 // len(jax.devices()))
    assert seen == [{(device, (share,)) for device in jax.devices()}]
    with jax.default_device(jax.devices()[1]):
        jm.MemorizationMonitor(y, n_permutations=20)(X, X_val)
    assert seen[1] == {(jax.devices()[1], (21,))}


@pytest.mark.parametrize("devices", [jax.make_mesh((1, 2), ("permutations", "rows")), [], "cpu"], ids=str)
def test_devices_that_do_not_share_permutations_out_are_refused(devices, unchecked):
    with pytest.raises(ValueError, match=r"^devices .*list"):
        jm.MemorizationMonitor(y, devices=devices)


# --- Which rows -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 10, 99, 100])
def test_every_class_has_its_share_of_the_rows(size):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [20, 30, 50]))
    rows = jm.MemorizationMonitor(labels, rows=size).rows
    assert (np.diff(rows) > 0).all() and rows.size == size
    assert np.abs(np.bincount(labels[rows], minlength=3) - size * np.array([0.2, 0.3, 0.5])).max() < 1
    np.testing.assert_array_equal(rows, jm.MemorizationMonitor(labels, rows=size, n_permutations=3).rows)


def test_rows_are_drawn_by_the_key_each_as_often():
    labels = np.arange(20) % 2
    drawn = [jm.MemorizationMonitor(labels, rows=10, n_permutations=1, key=key).rows for key in range(200)]
    counts = np.bincount(np.concatenate(drawn), minlength=20)
    # Half of ten rows, 200 times: a hypergeometric draw each, standard deviation 7.1.
    assert counts.sum() == 2_000 and np.abs(counts - 100).max() < 5 * 7.1


@pytest.mark.parametrize("size", [None, 60, 1_000])
def test_all_rows_where_there_are_no_more(size):
    np.testing.assert_array_equal(jm.MemorizationMonitor(y, rows=size).rows, np.arange(60))


# --- Compilation ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counted(jm.Ridge):
    """Counts how often Python runs its functions, which under `jit` is once per compilation."""

    calls: ClassVar[Counter] = Counter()

    def prepare(self, X, n_classes):
        self.calls["prepare"] += 1
        return super().prepare(X, n_classes)

    def fit(self, state, labels):
        self.calls["fit"] += 1
        return super().fit(state, labels)


def test_compiles_once_for_all_epochs_monitors_and_layers_of_one_width():
    def compiled(function):
        Counted.calls.clear()
        function()
        return dict(Counted.calls)

    monitor = jm.MemorizationMonitor(y, classifier=Counted(), rows=31)
    assert compiled(lambda: monitor(X, X_val)) == {"prepare": 1, "fit": 1}
    assert compiled(lambda: [monitor(X + epoch, X_val * epoch, epoch=epoch) for epoch in range(1, 4)]) == {}
    other = jm.MemorizationMonitor(y[::-1], classifier=Counted(), rows=31, key=5)
    assert compiled(lambda: other(X[monitor.rows], X_val)) == {}
    assert compiled(lambda: monitor(X[:, :3], X_val[:, :3])) == {"prepare": 1, "fit": 1}
    assert compiled(lambda: monitor(X, X_val)) == {}


def test_a_forward_pass_is_traced_once_for_the_rows_and_once_for_the_copies():
    counted = chex.assert_max_traces(linear, n=2)
    watch = jm.MemorizationMonitor(y, rows=33).through(counted, X, X_val)
    for epoch in range(3):
        watch(np.full((5, 2), epoch + 1.0, np.float32), epoch=epoch)


# --- Refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (np.zeros(60, int), {}, "y must hold at least two classes"),
        (np.arange(60) == 7, {"rows": 10}, r"y\[rows\] must hold at least two classes"),
        (y / 2, {}, "y must hold integers or strings"),
        (y, {"rows": 0}, "rows must be an integer >= 1, but is 0"),
        (y, {"n_permutations": 0}, "n_permutations must be an integer >= 1"),
        (y, {"key": 0.5}, "key must be an integer seed"),
        (y, {"classifier": jm.Ridge}, "classifier must be one of jaxmem's"),
    ],
)
def test_what_cannot_be_monitored_is_refused(labels, options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        jm.MemorizationMonitor(labels, **options)


def test_a_classifier_of_the_host_is_refused():
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(ValueError, match=r"a monitor compiles its classifier.*LogisticRegression"):
        jm.MemorizationMonitor(y, classifier=LogisticRegression())


def with_nan(array, row):
    spoilt = array.copy()
    spoilt[row, 2] = np.nan
    return spoilt


OWN = jm.MemorizationMonitor(y, rows=20).rows


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((X[:50], X_val), r"^epoch 3: X must have one row per label, 60, or 20 for the .*, but has shape \(50, 5\)"),
        ((X, X_val[:19]), r"^epoch 3: X_val must have one row per label"),
        ((X, X_val[:, :4]), r"^epoch 3: X_val has 4 features, but X has 5"),
        ((X[:, 0], X_val), r"^epoch 3: X\[monitor.rows\] must hold one row of features per example"),
        ((1.0, X_val), r"^epoch 3: X must have one row per label"),
        (
            (with_nan(X, OWN[4]), X_val),
            r"^epoch 3: X\[monitor.rows\] has NaN or infinite features in 1 of 20 rows, the first in row 4\.",
        ),
        ((X[OWN], with_nan(X_val[OWN], 6)), r"^epoch 3: X_val has NaN or infinite features in 1 of 20.*row 6\."),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_epoch(pair, message, unchecked):
    monitor = jm.MemorizationMonitor(y, rows=20)
    with pytest.raises(ValueError, match=message):
        monitor(*pair, epoch=3)
    with pytest.raises(ValueError, match=message.replace("epoch 3: ", "")):
        monitor(*pair)
    assert monitor.history == []


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda params, X: X[:7], r"^epoch 2: features\(params, X\) must have one row for each of the 20 rows of X, "),
        (lambda params, X: params, r"but has shape \(\)"),
        (lambda params, X: X / params, rf"^epoch 2: features of X are NaN, .* in 20 of 20 rows, .* row {OWN[0]}\. Has"),
        (lambda params, X: jnp.where(X_val[OWN[4], 2] == X, 1e25, X), rf"of X_val .* in 1 of 20.* row {OWN[4]}\."),
    ],
)
def test_what_a_forward_pass_cannot_be_read_for_is_refused(function, message, unchecked):
    monitor = jm.MemorizationMonitor(y, rows=20)
    watch = monitor.through(function, X.astype(np.float32), X_val.astype(np.float32))
    with pytest.raises(ValueError, match=message):
        watch(jnp.zeros(()), epoch=2)
    assert monitor.history == []


def test_inputs_of_other_rows_are_refused_before_any_reading():
    with pytest.raises(ValueError, match=r"^X_val must have one row per label, 60, but has shape \(59, 5\)"):
        jm.MemorizationMonitor(y).through(linear, X, X_val[1:])


def test_widths_are_compared_under_a_forward_pass_too():
    watch = jm.MemorizationMonitor(y).through(lambda params, X: X, X, X_val[:, :4])
    with pytest.raises(ValueError, match="X_val has 4 features, but X has 5"):
        watch(None)


def test_several_hyperparameters_are_several_monitors():
    with pytest.raises(ValueError, match=r"alpha=\(1.0, 10.0\).* is 2 classifiers: give one value"):
        jm.MemorizationMonitor(y, classifier=jm.Ridge(alpha=(1.0, 10.0)))(X, X_val)
