"""Checkpoints: an interrupted training goes on to the very same numbers; what is not its own is refused."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from jaxmem.nets import MLP, TrainConfig, train, train_ensemble

CONFIG = TrainConfig(epochs=5, batch_size=20, learning_rate=1e-2, weight_decay=0.1, keep_epochs=(0, 1, 3, 5))


def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(50, 6)).astype(np.float32), rng.integers(0, 3, 50)


def make(rngs):
    return MLP(6, 3, widths=(8,), dropout=0.5, rngs=rngs)


def one(config=CONFIG, X=None, y=None, seed=0, key=0, **options):
    X, y = rows()[0] if X is None else X, rows()[1] if y is None else y
    return train(make(nnx.Rngs(seed)), X, y, config, key, **options)


def many(config=CONFIG, **options):
    return train_ensemble(make, *rows(), config, jax.random.split(jax.random.key(0), 3), **options)


class Stopped(Exception):
    pass


def stop_at(last):
    def progress(epoch, *_):
        if epoch == last:
            raise Stopped

    return progress


def interrupted(training, folder, last):
    with pytest.raises(Stopped):
        training(checkpoint=folder, progress=stop_at(last))


def assert_identical(got, expected):
    assert list(got.snapshots) == list(expected.snapshots)
    for values, others in zip(got.history, expected.history, strict=True):
        np.testing.assert_array_equal(values, others)
        assert values.dtype == others.dtype
    for epoch, state in expected.snapshots.items():
        for leaf, other in zip(*map(jax.tree.leaves, (got.snapshots[epoch], state)), strict=True):
            assert leaf.dtype == other.dtype
            if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                leaf, other = map(jax.random.key_data, (leaf, other))
            np.testing.assert_array_equal(leaf, other)


@pytest.mark.parametrize("training", [one, many])
def test_an_interrupted_training_ends_the_same(tmp_path, training):
    expected = training()
    interrupted(training, tmp_path / "made" / "here", 4)
    told = []
    got = training(checkpoint=tmp_path / "made" / "here", progress=lambda epoch, *_: told.append(epoch))
    # Epoch 4 was not kept, so it is trained again.
    assert told == [4, 5]
    assert_identical(got, expected)
    # A finished training is read, and nothing is trained.
    again = training(checkpoint=tmp_path / "made" / "here", progress=stop_at(1))
    assert_identical(again, expected)


def test_saving_changes_no_number(tmp_path):
    assert_identical(one(checkpoint=tmp_path), one())
    assert {path.name for path in tmp_path.iterdir()} == {"1", "3", "5"}


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    interrupted(one, tmp_path, 3)
    shutil.copytree(tmp_path / "3", tmp_path / "5.orbax-checkpoint-tmp")
    (tmp_path / "5.orbax-checkpoint-tmp" / "_CHECKPOINT_METADATA").unlink()
    assert_identical(one(checkpoint=tmp_path), one())


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_training_is_refused_and_left_untouched(tmp_path):
    interrupted(one, tmp_path, 3)
    before = content(tmp_path)
    X, y = rows()
    for arguments, differs in [
        ({"config": replace(CONFIG, learning_rate=1e-3)}, "config"),
        ({"config": replace(CONFIG, epochs=6)}, "config"),
        ({"X": X + 1}, "X"),
        ({"y": y[::-1]}, "y"),
        ({"X": X[:40], "y": y[:40]}, "X, y"),
        ({"seed": 1}, "weights"),
        ({"key": 1}, "key"),
    ]:
        with pytest.raises(ValueError, match=f"epoch 1 in .* is of another training: it differs in {differs}\\."):
            one(checkpoint=tmp_path, **arguments)
    with pytest.raises(ValueError, match="differs in structure, weights"):
        wider = MLP(6, 3, widths=(9,), dropout=0.5, rngs=nnx.Rngs(0))
        train(wider, X, y, CONFIG, 0, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="is of another training"):
        many(checkpoint=tmp_path)
    assert content(tmp_path) == before


def test_the_rates_of_members_belong_to_the_training(tmp_path):
    many(checkpoint=tmp_path)
    with pytest.raises(ValueError, match="differs in learning_rate"):
        many(checkpoint=tmp_path, learning_rate=np.array([1e-2, 1e-2, 1e-3]))


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_refused_and_left_untouched(tmp_path, damage):
    interrupted(one, tmp_path, 3)
    # The largest file of the state holds the weights.
    path = max((tmp_path / "3" / "state").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    whole = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + (bytes([whole[middle] ^ 255]) + whole[middle + 1 :]) * (damage == "flip"))
    before = content(tmp_path)
    with pytest.raises(ValueError, match=r"epoch 3 in .* cannot be read: .*left as it is. Remove"):
        one(checkpoint=tmp_path)
    assert content(tmp_path) == before
    # What the message says.
    shutil.rmtree(tmp_path / "3")
    assert_identical(one(checkpoint=tmp_path), one())


def test_without_a_checkpoint_orbax_is_not_loaded():
    code = "import sys, jaxmem.nets; print('orbax.checkpoint' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


LONG = TrainConfig(epochs=40, batch_size=20, keep_epochs=tuple(range(1, 41)))


@pytest.mark.nightly
@pytest.mark.parametrize("last", ["2*", "5.*tmp*", "9*"])
def test_a_killed_process_loses_nothing_that_was_kept(tmp_path, last):
    # Killed from outside, when an epoch is on disk or is just being written; wherever it is, it must go on from there.
    folder = tmp_path / "kept"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_checkpoints as t; "
        "t.many(t.LONG, checkpoint=sys.argv[2])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent), str(folder)])
    while process.poll() is None and not list(folder.glob(last)):
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    told = []
    got = many(LONG, checkpoint=folder, progress=lambda epoch, *_: told.append(epoch))
    assert 1 < told[0] <= 40
    assert_identical(got, many(LONG))
