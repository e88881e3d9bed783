"""Rows that several devices share out: the test of one device, and no device that has more than its part."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import blobs
from jax.sharding import NamedSharding, PartitionSpec
from sklearn.linear_model import RidgeClassifier

import jaxmem as jm
from jaxmem import fits
from jaxmem.classifiers.moments import moments_of
from jaxmem.devices import mesh_of
from jaxmem.digests import digest
from jaxmem.fits import blockwise
from jaxmem.inputs import as_labels
from jaxmem.metrics import accuracy
from jaxmem.sharding import ShardedRows
from jaxmem.streaming import as_rows
from jaxmem.validation import Part

X, y, X_val = (part.astype(np.float32) if part.ndim == 2 else part for part in blobs(61, 4, 3, separation=0.5))
TWO = (y[:61] % 2).astype(int)
SOURCE = np.random.default_rng(1).integers(0, 61, 34)
COPIES = jm.SharedStructure(X_val)
ONE = jax.devices()[:1]
# Sums over devices are rounded in another order; scores of classes go through one small system more.
FLOATS = {"rtol": 1e-5, "atol": 2e-5}


def mesh(*shape):
    return jax.make_mesh(shape, ("permutations", "rows"), devices=jax.devices()[: np.prod(shape)])


def nightly(options):
    return pytest.param(options, marks=pytest.mark.nightly)


def run(classifier=None, X=X, y=y, validation=COPIES, **options):
    options = {"n_permutations": 29, "progress": False} | options
    return jm.permutation_test(classifier or jm.Ridge(), X, y, validation=validation, **options)


def assert_same_test(shared, whole):
    counts = whole.metric in ("accuracy", "balanced_accuracy")
    compare = np.testing.assert_array_equal if counts else lambda a, b: np.testing.assert_allclose(a, b, **FLOATS)
    for field in ("statistic", "null_distribution", "pvalue"):
        compare(getattr(shared, field), getattr(whole, field))
    np.testing.assert_array_equal(shared.example_scores, whole.example_scores)


@pytest.mark.parametrize(
    "options",
    [
        {"example_scores": True},
        {"classifier": jm.Ridge((0.1, 10.0)), "y": TWO, "metric": "margin"},
        {"classifier": jm.LDA(shrinkage=0.1), "metric": "neg_log_loss"},
        {
            "classifier": jm.GaussianNB(),
            "validation": jm.SharedStructure(X_val[SOURCE], SOURCE),
            "example_scores": True,
        },
        {"classifier": jm.NearestCentroid(), "validation": jm.Holdout(X_val[:35], y[:35]), "batch_size": 7},
        nightly({"classifier": jm.LDA(), "y": TWO, "example_scores": True}),
        nightly({"classifier": jm.NearestCentroid("cosine"), "metric": "balanced_accuracy"}),
        nightly({"classifier": jm.GaussianNB(), "y": TWO, "metric": "neg_brier_score"}),
        nightly({"validation": jm.Resubstitution(), "scheme": "within", "blocks": np.arange(61) // 8}),
        nightly({"validation": jm.Holdout(X_val[:1], y[:1])}),
        nightly({"validation": jm.Holdout(X_val[:9], y[:9]), "metric": "r2"}),
        nightly({"stopping": jm.BesagClifford(5), "batch_size": 4}),
        nightly({"X": X[:6], "y": [0, 0, 0, 1, 1, 1], "validation": jm.Resubstitution()}),
    ],
    ids=lambda options: "-".join(map(str, options)),
)
def test_rows_on_two_devices_give_the_test_of_one(options):
    assert_same_test(run(**options, devices=mesh(1, 2)), run(**options, devices=ONE))


def test_memorization_is_that_of_one_device():
    asked = {"test": jm.Holdout(X_val[:35], y[:35]), "n_permutations": 39, "progress": False}
    one, both = (jm.memorization_test(jm.Ridge(), X, y, COPIES, **asked, devices=d) for d in (ONE, mesh(1, 2)))
    for field in ("null_distribution", "chance_distribution", "test_null_distribution", "example_scores"):
        np.testing.assert_array_equal(getattr(both, field), getattr(one, field))
    assert both.memorization_pvalue == one.memorization_pvalue


@pytest.mark.nightly
def test_a_family_is_that_of_one_device():
    family = {"a": (X, X_val), "b": (X[:, :2], jm.Holdout(X_val[:, :2], y))}
    one, both = (
        jm.permutation_tests(family, y, n_permutations=39, devices=d, progress=False) for d in (ONE, mesh(1, 2))
    )
    np.testing.assert_array_equal(both.null_distribution, one.null_distribution)
    np.testing.assert_array_equal(both.pvalue_adjusted, one.pvalue_adjusted)


@pytest.mark.nightly
def test_double_precision_is_double_precision(float64):
    wide = {"X": X.astype(float), "validation": jm.SharedStructure(X_val), "metric": "margin"}
    one, both = (run(**wide, devices=devices).null_distribution for devices in (ONE, mesh(1, 2)))
    np.testing.assert_allclose(both, one, rtol=1e-10)


def test_a_test_goes_on_where_it_was(tmp_path):
    begun = {"devices": mesh(1, 2), "example_scores": True, "checkpoint": tmp_path / "file"}
    run(**begun, n_permutations=9)
    assert_same_test(run(**begun), run(devices=ONE, example_scores=True))
    # Rows that lie otherwise are summed otherwise, and the observed score has to come out of the kernel of the null.
    with pytest.raises(ValueError, match="differs in features, validations"):
        run(**begun | {"devices": mesh(2, 1)})
    other = X.copy()
    other[60, 3] += 1  # In the row that is on both devices.
    with pytest.raises(ValueError, match="differs in features"):
        run(**begun, X=other)


def test_few_rows_of_many_features():
    wide = np.random.default_rng(0).normal(size=(61, 90)).astype(np.float32)
    asked = {"X": wide, "validation": jm.SharedStructure(wide + 0.1), "metric": "margin"}
    assert_same_test(run(**asked, devices=mesh(1, 2)), run(**asked, devices=ONE))


# --- Where the rows are -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "expected"), [(58, [[29, 29]]), (61, [[30, 30], [1, 1]]), (1, [[1, 1]])])
def test_a_device_has_its_part_of_the_rows_and_what_is_left(n, expected):
    rows = as_rows(X[:n], mesh=mesh_of(mesh(1, 2)))
    assert isinstance(rows, ShardedRows) and rows.shape == (n, 4) and len(rows) == n
    held = [[shard.data.shape[0] for shard in block.rows.addressable_shards] for block in rows.blocks]
    assert held == expected
    np.testing.assert_array_equal(np.concatenate([np.asarray(block) for block in rows]), X[:n])


def test_whatever_rows_are_given_in():
    expected = run(devices=ONE)
    user = jax.make_mesh((2,), ("rows",), devices=jax.devices()[:2])
    divided = jax.device_put(X[:60], NamedSharding(user, PartitionSpec("rows")))
    assert_same_test(run(X=jm.RowBlocks(X), devices=user), expected)
    assert_same_test(run(X=jax.device_put(X, jax.devices()[1]), devices=user), expected)
    even = {"y": y[:60], "validation": jm.Holdout(X_val[:60], y[:60])}
    assert_same_test(run(X=divided, devices=user, **even), run(X=X[:60], devices=ONE, **even))


def test_rows_on_disk_are_read_by_slices():
    slices = []

    class Watched:
        shape, dtype = X.shape, X.dtype

        def __getitem__(self, rows):
            slices.append((rows.start, rows.stop))
            return X[rows]

    rows = as_rows(jm.RowBlocks(Watched()), mesh=mesh_of(mesh(1, 2)))
    assert sorted(slices) == [(0, 30), (30, 60), (60, 61)]
    np.testing.assert_array_equal(np.concatenate([np.asarray(block) for block in rows]), X)


def test_what_the_caller_does_to_an_array_afterwards_changes_nothing():
    # At an address that JAX takes an array from without copying it.
    buffer = np.empty(X.size + 16, np.float32)
    start = -buffer.ctypes.data % 64 // 4
    mine = buffer[start : start + X.size].reshape(X.shape)
    mine[:] = X
    test = run(X=mine, devices=mesh(1, 2))
    mine[:] = 0
    np.testing.assert_array_equal(test.extend(10).null_distribution, run(n_permutations=39).null_distribution)


def test_no_program_brings_rows_together(unchecked):
    shared = mesh_of(mesh(1, 2))
    rows, copies = as_rows(X[:60], mesh=shared), as_rows(X_val[:60], mesh=shared)
    fit = fits.BlockwiseFit(jm.Ridge(), accuracy, rows, 3, {"copies": Part(None, copies)}, examples=True, mesh=shared)
    labels = jnp.tile(as_labels(y[:60]).codes, (4, 1))
    params = fit._fitted(labels)
    programs = {
        "sums": blockwise._sums.lower(jm.Ridge(), 3, shared, rows.blocks[0], fit._state, labels),
        "scores": blockwise._scores.lower(
            *(jm.Ridge(), accuracy, 3, True, shared, copies.blocks[0]),
            *((fit._state, None, None), (params, labels, labels, np.ones(4, bool))),
        ),
        "moments": jax.jit(lambda X: moments_of([X], scatter=True)).lower(rows.blocks[0].rows),
    }
    for name, program in programs.items():
        text = program.compile().as_text()
        assert "num_partitions=2" in text and "all-reduce" in text, name
        for collective in ("all-gather", "all-to-all", "collective-permute"):
            assert collective not in text, f"{name}: {collective}"


def test_moments_are_as_accurate_as_those_of_one_device():
    rng = np.random.default_rng(0)
    singular = np.geomspace(1, 1e-5, 8)
    axes = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    rows = (rng.normal(size=(200, 8)) * singular @ axes + 100).astype(np.float32)
    exact = np.linalg.svd(rows.astype(float) - rows.astype(float).mean(axis=0), compute_uv=False)
    for blocks in ([rows], as_rows(rows, mesh=mesh_of(mesh(1, 2)))):
        condensed = np.asarray(moments_of(blocks, scatter=True).condensed, float)
        # As near as any method in single precision is bound to come; what a Gram matrix alone knows ends at its root.
        rounding = float(np.finfo(np.float32).eps) * exact[0]
        np.testing.assert_allclose(np.linalg.svd(condensed, compute_uv=False), exact, rtol=1e-4, atol=rounding)


def test_a_digest_tells_rows_apart():
    def of(rows, *shape):
        return digest(as_rows(rows, mesh=mesh_of(mesh(*shape))))

    assert of(X, 1, 2) == of(X.copy(), 1, 2)
    for row in (0, 40, 60):  # On the first device, on the second, on both.
        other = X.copy()
        other[row] += 1
        assert of(other, 1, 2) != of(X, 1, 2)


# --- What is refused --------------------------------------------------------------------------------------------------


class Lying:
    """One that has fewer features than it says, from some row on."""

    shape, dtype = X.shape, X.dtype

    def __init__(self, start):
        self.start = start

    def __getitem__(self, asked):
        return X[asked, : 1 if asked.start >= self.start else 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"classifier": jm.KNeighbors()},
            "KNeighbors needs all training rows at once.*Ridge, LDA, .*permutations alone",
        ),
        ({"classifier": RidgeClassifier()}, "Estimator needs all training rows at once"),
        ({"classifier": jm.LDA(shrinkage="auto")}, r"X comes by blocks.*LDA\(shrinkage=0.1\)"),
        ({"metric": "roc_auc_ovr"}, "compares all rows that are scored, but devices share out the rows of X_val"),
        ({"validation": jm.KFold(3)}, "KFold takes the rows of every fold.*permutations alone"),
        ({"validation": jm.KFold(3, stratified=True)}, "KFold takes the rows of every fold"),
        ({"X": jm.RowBlocks(lambda: iter([X]), X.shape)}, "X is RowBlocks of a function.*rows to slice"),
        ({"X": np.where(np.arange(61)[:, None] == 40, np.nan, X)}, "NaN .* in 1 of 61 rows, the first in row 40"),
        ({"X": np.where(np.arange(61)[:, None] == 60, np.inf, X)}, "infinite .* in 1 of 61 rows, the first in row 60"),
        ({"X": jm.RowBlocks(Lying(30))}, r"shape is \(61, 4\), but its rows 30 .. 59 have shape \(30, 1\), and not"),
        ({"X": jm.RowBlocks(Lying(60))}, r"its rows 60 .. 60 have shape \(1, 1\), and not \(1, 4\)"),
        ({"X": X[:, 0]}, r"X must hold one row of features per example.*\(61,\)"),
        ({"X": X.astype(str)}, "X must hold real numbers"),
        ({"validation": jm.SharedStructure(X_val[:5])}, "X_val has 5 rows, but X has 61"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_what_rows_on_several_devices_cannot_have_is_refused(options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        run(**options, devices=mesh(1, 2))


def test_other_axes_are_refused(unchecked):
    with pytest.raises(ValueError, match=r"are 'permutations' and 'rows', one or both, but are \('data', 'rows'\)"):
        run(devices=jax.make_mesh((1, 2), ("data", "rows"), devices=jax.devices()[:2]))


def test_axes_may_come_in_any_order_and_one_may_be_left_out():
    given = jax.make_mesh((2, 1), ("rows", "permutations"), devices=jax.devices()[:2])
    assert mesh_of(given) == mesh_of(jax.make_mesh((2,), ("rows",), devices=jax.devices()[:2])) == mesh_of(mesh(1, 2))
    alone = jax.make_mesh((2,), ("permutations",), devices=jax.devices()[:2])
    assert mesh_of(alone) == mesh_of(jax.devices()[:2])


# --- Eight of them, in a process of their own -------------------------------------------------------------------------

_EIGHT = """
import json, sys
import jax, numpy as np, jaxmem as jm

rows = np.load(sys.argv[1])
X, y, X_val = rows["X"], rows["y"], rows["X_val"]
found = {}
for shape in json.loads(sys.argv[2]):
    k = shape[0] * shape[1]
    mesh = jax.make_mesh(shape, ("permutations", "rows"), devices=jax.devices()[:k])
    for classifier in (jm.Ridge(), jm.LDA(), jm.NearestCentroid(), jm.GaussianNB())[: int(sys.argv[3])]:
        test = jm.permutation_test(
            classifier, X, y, validation=jm.SharedStructure(X_val), n_permutations=29, example_scores=True,
            devices=mesh, progress=False,
        )
        found[f"{type(classifier).__name__} {shape}"] = test.null_distribution.tolist(), test.example_scores.tolist()
print(json.dumps(found))
"""
CLASSIFIERS = (jm.Ridge(), jm.LDA(), jm.NearestCentroid(), jm.GaussianNB())


@pytest.mark.parametrize(
    ("shapes", "n_classifiers"),
    [
        ([(2, 4)], 1),
        pytest.param([(1, 8), (4, 2), (1, 5), (2, 3), (8, 1)], 4, marks=pytest.mark.nightly),
    ],
)
def test_meshes_of_eight_devices_give_the_test_of_one(shapes, n_classifiers, tmp_path):
    np.savez(tmp_path / "rows.npz", X=X, y=y, X_val=X_val)
    flags = (
        "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false"
    )
    command = [sys.executable, "-c", _EIGHT, str(tmp_path / "rows.npz"), json.dumps(shapes), str(n_classifiers)]
    ended = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert len(found) == len(shapes) * n_classifiers
    for classifier in CLASSIFIERS[:n_classifiers]:
        one = run(classifier, example_scores=True, devices=ONE)
        for shape in shapes:
            null, examples = found[f"{type(classifier).__name__} {list(shape)}"]
            assert null == one.null_distribution.tolist() and examples == one.example_scores.tolist(), shape
