"""Interrupted, or killed at any moment, a test goes on to the same null: real signals, real processes."""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
from helpers import assert_same, blobs
from sklearn.datasets import load_digits

import jaxmem as jm
from jaxmem.archives import read_archive

X, y, X_val = blobs(30, 5, 3, separation=0.7)


CALLS = []  # Not within the metric: one that has changed is another.


def run(**options):
    options = {
        "validation": jm.SharedStructure(X_val),
        "n_permutations": 29,
        "batch_size": 4,
        "progress": False,
    } | options
    return jm.permutation_test(jm.Ridge(), X, y, **options)


def test_ctrl_c_finishes_the_batch_saves_and_says_how_to_go_on(tmp_path):
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    CALLS.clear()

    def finish(value, n_rows):
        CALLS.append(n_rows)
        if len(CALLS) == 3:
            signal.raise_signal(signal.SIGINT)
        return value

    metric = jm.metrics.Metric("interrupted", lambda scores, labels: scores[0, 0], finish)
    try:
        with pytest.raises(KeyboardInterrupt) as interrupt:
            run(metric=metric, checkpoint=tmp_path / "file")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert f"11 permutations are in {tmp_path / 'file'}: the same call goes on" in " ".join(interrupt.value.__notes__)
    assert read_archive(tmp_path / "file", "checkpoint")[1]["n_labellings"] == 12
    assert_same(run(metric=metric, checkpoint=tmp_path / "file"), run(metric=metric))


# Lives of one test, each in a process of its own that is killed at a random moment; saving after every batch, so that
# many die while they write. A child is forked before JAX starts any thread, which saves it the imports.
_LIVES = """
import os, random, signal, sys, time
import numpy as np, jaxmem as jm
from jaxmem import checkpoint

checkpoint._WORK_PER_SAVE = 0
folder, n_kills, seconds, seed = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
moments = random.Random(seed)
digits = np.load(folder + "/digits.npz")


def test(**options):
    copies = jm.SharedStructure(digits["X_val"])
    return jm.permutation_test(jm.Ridge(), digits["X"], digits["y"], validation=copies, metric="margin",
        n_permutations=100_000, batch_size=4, example_scores=True, progress=False, **options)


kills = 0
while kills < n_kills:
    child = os.fork()
    if not child:
        test(checkpoint=folder + "/killed")
        os._exit(0)
    while not os.path.exists(folder + "/killed"):  # The first compiles, and lives until it has saved something.
        time.sleep(0.01)
    time.sleep(moments.uniform(0, seconds))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    kills += os.WIFSIGNALED(status)
print(kills)
"""


def lives(folder, n_kills, seconds):
    """Kill so many lives of a test, let the next one end after a few more permutations, and compare it."""
    images, digits = load_digits(return_X_y=True)
    X, y = images[:100].astype(np.float32), digits[:100]
    X_val = X + np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    np.savez(folder / "digits.npz", X=X, y=y, X_val=X_val)
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    command = [sys.executable, "-W", "ignore", "-c", _LIVES, str(folder), str(n_kills), str(seconds)]
    seed = random.randrange(2**31)
    ended = subprocess.run([*command, str(seed)], env=os.environ | cache, capture_output=True, text=True, check=False)
    assert ended.stdout.split() == [str(n_kills)], (seed, ended.stderr)
    n_kept = read_archive(folder / "killed", "checkpoint")[1]["n_labellings"]
    options = {
        "validation": jm.SharedStructure(X_val), "metric": "margin", "n_permutations": n_kept + 20, "batch_size": 4,
        "example_scores": True, "progress": False,
    }  # fmt: skip
    resumed = jm.permutation_test(jm.Ridge(), X, y, checkpoint=folder / "killed", **options)
    assert_same(resumed, jm.permutation_test(jm.Ridge(), X, y, **options))
    return n_kept


def test_killed_at_random_moments_a_test_goes_on_to_the_same_null(tmp_path):
    assert lives(tmp_path, 3, 1.4) > 4


@pytest.mark.nightly
def test_killed_at_fifty_random_moments(tmp_path):
    assert lives(tmp_path, 50, 1.4) > 4
