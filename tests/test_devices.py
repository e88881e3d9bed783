"""Permutations shared out among devices: the same labels, the same counts, and nothing sent from one to another."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import blobs
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import jaxmem as jm
from jaxmem import passes
from jaxmem.devices import mesh_of, n_devices, on_all, shared_out
from jaxmem.fits import prepared
from jaxmem.metrics import accuracy
from jaxmem.validation import Part

X, y, X_val = blobs(30, 5, 3, separation=0.7)
SHARED = jm.SharedStructure(X_val)
ONE, BOTH = jax.devices()[:1], jax.devices()[:2]
# The scores of one labelling may be rounded differently in batches of another size.
FLOATS = {"rtol": 1e-5, "atol": 1e-6}


def nightly(options):
    return pytest.param(options, marks=pytest.mark.nightly)


def run(classifier=None, X=X, y=y, validation=SHARED, **options):
    options = {"n_permutations": 29, "progress": False} | options
    return jm.permutation_test(classifier or jm.Ridge(), X, y, validation=validation, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"classifier": jm.KNeighbors(3), "example_scores": True},
        {"metric": "r2"},
        nightly({"classifier": jm.Ridge((0.1, 10.0)), "metric": "margin"}),
        nightly({"classifier": jm.Softmax(tol=1e-2), "metric": "neg_log_loss", "example_scores": True}),
        {"validation": jm.KFold(3), "example_scores": True},
        {"validation": jm.KFold(2, stratified=True)},
        {"validation": jm.Holdout(X_val, y), "scheme": "whole", "blocks": np.arange(30) // 3},
        nightly({"classifier": jm.Estimator(KNeighborsClassifier(1)), "n_permutations": 5}),
        {"stopping": jm.BesagClifford(20), "alternative": "less", "batch_size": 4},
        {"X": X[:6], "y": [0, 0, 0, 1, 1, 1], "validation": jm.Resubstitution()},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
def test_two_devices_give_the_test_of_one(options):
    one, both = (run(**options, devices=devices) for devices in (ONE, BOTH))
    counts = options.get("metric", "accuracy") == "accuracy"
    compare = np.testing.assert_array_equal if counts else lambda a, b: np.testing.assert_allclose(a, b, **FLOATS)
    for field in ("statistic", "null_distribution", "pvalue"):
        compare(getattr(one, field), getattr(both, field))
    assert one.exact == both.exact
    np.testing.assert_array_equal(one.example_scores, both.example_scores)
    for name, values in one.diagnostics.items():
        np.testing.assert_allclose(both.diagnostics[name], values, rtol=1e-2)


@pytest.mark.parametrize(("n_permutations", "batch_size"), [(1, None), (28, 5), (30, 1_000)])
def test_any_number_of_permutations_in_batches_of_any_size(n_permutations, batch_size):
    one, both = (
        run(
            jm.KNeighbors(1), example_scores=True, n_permutations=n_permutations, batch_size=batch_size, devices=devices
        )
        for devices in (ONE, BOTH)
    )
    np.testing.assert_array_equal(one.null_distribution, both.null_distribution)
    np.testing.assert_array_equal(one.example_scores, both.example_scores)


@pytest.mark.parametrize("axis_type", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit], ids=str)
def test_features_that_lie_on_several_devices_are_brought_together(axis_type):
    jax.clear_caches()  # What is compiled for one type of axis may run for the other, which could not be compiled.
    mesh = jax.make_mesh((2,), ("rows",), (axis_type,), devices=BOTH)
    spread = jax.device_put(X, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows")))
    for devices in (None, ONE, BOTH):
        np.testing.assert_array_equal(
            run(X=spread, devices=devices).null_distribution, run(devices=devices).null_distribution
        )


def test_memorization_is_that_of_one_device():
    one, both = (
        jm.memorization_test(
            jm.KNeighbors(1),
            X,
            y,
            SHARED,
            test=jm.Holdout(X_val, y),
            n_permutations=39,
            progress=False,
            devices=devices,
        )
        for devices in (ONE, BOTH)
    )
    for field in ("null_distribution", "chance_distribution", "test_null_distribution", "example_scores"):
        np.testing.assert_array_equal(getattr(one, field), getattr(both, field))
    assert one.memorization_pvalue == both.memorization_pvalue


@pytest.mark.nightly
def test_a_family_is_that_of_one_device():
    family = {"a": (X, X_val), "b": (X[:, :2], X_val[:, :2])}
    one, both = (jm.permutation_tests(family, y, n_permutations=39, devices=d, progress=False) for d in (ONE, BOTH))
    np.testing.assert_array_equal(one.null_distribution, both.null_distribution)
    np.testing.assert_array_equal(one.pvalue_adjusted, both.pvalue_adjusted)


def test_all_devices_are_taken_unless_one_is_the_default(monkeypatch):
    seen = []
    draw = passes._draw

    def watched(*arguments):
        labels = draw(*arguments)
        seen.append((labels.sharding.device_set, {shard.data.shape for shard in labels.addressable_shards}))
        return labels

    monkeypatch.setattr(passes, "_draw", watched)
    run(batch_size=6)
    assert seen[0] == (set(jax.devices()), {(6 // len(jax.devices()), 30)})
    seen.clear()
    run(batch_size=6, devices=jax.devices()[1:])
    assert seen[0] == (set(jax.devices()[1:]), {(6, 30)})
    seen.clear()
    with jax.default_device(jax.devices()[1]):
        run(batch_size=6)
    assert seen[0] == ({jax.devices()[1]}, {(6, 30)})


def test_features_may_lie_on_any_device():
    expected = run(n_permutations=9)
    for devices in (ONE, BOTH):
        elsewhere = jax.device_put(np.float32(X), jax.devices()[1])
        copies = jm.SharedStructure(jax.device_put(np.float32(X_val), jax.devices()[1]))
        test = run(X=elsewhere, validation=copies, n_permutations=9, devices=devices)
        np.testing.assert_array_equal(test.null_distribution, expected.null_distribution)


def test_features_may_lie_on_a_device_each():
    placed, copies = (jax.device_put(array, device) for array, device in zip((X, X_val), BOTH, strict=True))
    test = run(X=placed, validation=jm.SharedStructure(copies))
    np.testing.assert_array_equal(test.null_distribution, run().null_distribution)
    np.testing.assert_allclose(jm.similarities([placed, copies]), jm.similarities([X, X_val]), rtol=1e-6)


@pytest.mark.parametrize("axis_type", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit], ids=str)
def test_a_monitor_takes_some_rows_of_features_that_lie_on_several_devices(axis_type):
    jax.clear_caches()
    mesh = jax.make_mesh((2,), ("rows",), (axis_type,), devices=BOTH)
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
    placed = [jax.device_put(array, spread) for array in (X, X_val)]
    monitor = jm.MemorizationMonitor(y, rows=20)
    assert monitor(*placed) == monitor(X, X_val)


def test_batches_that_memory_does_not_hold_stay_a_multiple_of_the_devices(monkeypatch):
    draw, sizes = passes._draw, []

    def greedy(stream, codes, start, size, mesh):
        sizes.append(size)
        if size > 4:
            jax.block_until_ready(jnp.zeros(2**50))
        return draw(stream, codes, start, size, mesh)

    expected = run().null_distribution
    monkeypatch.setattr(passes, "_draw", greedy)
    with pytest.warns(RuntimeWarning, match="Out of memory after 0 of 30"):
        test = run(batch_size=13, devices=BOTH)
    assert sizes[:4] == [14, 8, 4, 4]
    np.testing.assert_array_equal(test.null_distribution, expected)


def test_a_test_goes_on_with_more_devices(tmp_path):
    run(jm.KNeighbors(1), n_permutations=9, devices=ONE, checkpoint=tmp_path / "file")
    test = run(jm.KNeighbors(1), devices=BOTH, checkpoint=tmp_path / "file")
    np.testing.assert_array_equal(test.null_distribution, run(jm.KNeighbors(1), devices=ONE).null_distribution)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ([], "devices must be a list of JAX devices"),
        ("cpu", "devices must be a list of JAX devices"),
        ([0, 1], "devices must be a list of JAX devices"),
        (2, "but is 2"),
        (np.array(jax.devices()), r"Of an array of devices take list\(devices.flat\)"),
        (jax.devices()[0], "devices must be a list"),
        ([jax.devices()[0]] * 2, "each of them once"),
    ],
)
def test_what_are_no_devices_is_refused(devices, message, unchecked):
    with pytest.raises(ValueError, match=message):
        run(devices=devices)


def test_shared_out_is_the_function():
    mesh = mesh_of(BOTH)
    assert n_devices(mesh) == 2 and n_devices(None) == 1
    whole, split = on_all(np.arange(3.0, dtype=np.float32), mesh), np.arange(8, dtype=np.int32).reshape(4, 2)

    def function(whole, split):
        return {"rows": split * whole.sum().astype(int), "one a device": split.sum()[None]}

    shared = shared_out(function, mesh, whole, split)
    np.testing.assert_array_equal(shared["rows"], 3 * split)
    assert shared["one a device"].tolist() == [6, 22]
    assert shared_out(function, None, whole, split)["one a device"].tolist() == [28]


# --- Eight of them, in a process of their own -------------------------------------------------------------------

_EIGHT = """
import json, sys
import jax, numpy as np, jaxmem as jm
from jaxmem.fits import prepared
from jaxmem import passes

rows = np.load(sys.argv[1])
options = dict(validation=jm.SharedStructure(rows["X_val"]), n_permutations=101, batch_size=16, progress=False)
found = {"devices": len(jax.devices())}
for name, classifier, more in (
    ("ridge", jm.Ridge(), {"metric": "margin"}), ("neighbours", jm.KNeighbors(3), {"example_scores": True}),
):
    # Of one device, of all of them, and of three, which do not divide anything.
    one, all_of_them, three = (
        jm.permutation_test(classifier, rows["X"], rows["y"], **options | more, devices=devices)
        for devices in (jax.devices()[:1], None, jax.devices()[5:])
    )
    scores = [np.append(test.statistic, test.null_distribution).tolist() for test in (one, all_of_them, three)]
    examples = [test.example_scores is None or test.example_scores.tolist() for test in (one, all_of_them, three)]
    found[name] = scores, examples
# Every number of devices compiles once, whatever the number of batches; and the labels are drawn by one program each.
found["compiled"] = [function._cache_size() for function in (passes._draw, prepared._batch)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eight")
    images, digits = load_digits(return_X_y=True)
    X, y = images[:80].astype(np.float32), digits[:80]
    X_val = X + 4 * np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    np.savez(folder / "rows.npz", X=X, y=y, X_val=X_val)
    flags = (
        "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false"
    )
    command = [sys.executable, "-c", _EIGHT, str(folder / "rows.npz")]
    ended = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.nightly
def test_eight_devices_give_the_test_of_one(eight):
    assert eight["devices"] == 8
    (one, *others), _ = eight["ridge"]
    for scores in others:
        np.testing.assert_allclose(scores, one, **FLOATS)
    (one, *others), (examples, *other_examples) = eight["neighbours"]
    assert len(one) == 102 and len(set(one)) > 5
    assert others == [one, one] and other_examples == [examples, examples]


@pytest.mark.nightly
def test_every_number_of_devices_compiles_once(eight):
    drawn, batches = eight["compiled"]
    assert drawn == 3 and batches == 2 * 3


def test_nothing_is_sent_from_one_device_to_another(unchecked):
    mesh, rows = mesh_of(BOTH), {"copies": Part(None, jnp.float32(X_val))}
    fit = prepared.PreparedFit(jm.Ridge(), accuracy, jnp.float32(X), 3, rows, examples=True, mesh=mesh)
    whole = fit._state, fit._views, None
    split = np.tile(y.astype(np.uint8), (4, 1)), None, np.ones(4, bool)
    program = prepared._batch.lower(jm.Ridge(), accuracy, 3, True, mesh, whole, split).compile().as_text()
    assert "num_partitions=2" in program
    for collective in ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter"):
        assert collective not in program
    assert all(f"/{stage}/" in program for stage in ("fit", "score"))  # What a profiler shows.
