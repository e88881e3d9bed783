"""Features that are read a block at a time: the test of those in memory, whatever holds them and whatever is asked."""

import threading
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest
import zarr
from helpers import blobs
from sklearn.linear_model import RidgeClassifier

import jaxmem as jm
from jaxmem import fits, passes, streaming
from jaxmem.inputs import as_features, as_key, as_labels
from jaxmem.permutations import random_stream
from jaxmem.streaming import RowBlocks, as_rows
from jaxmem.validation import Part

X, y, X_val = (part.astype(np.float32) if part.ndim == 2 else part for part in blobs(60, 4, 3, separation=0.5))
X_test, y_test = X_val[:33] + 0.5, y[:33]
# Scores are rounded in another order than in memory; those of classes go through one small system more.
FLOATS = {"rtol": 1e-5, "atol": 2e-5}


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    """Blocks of 14 rows: five of them, the last of which is short."""
    monkeypatch.setattr(streaming, "_BLOCK_BYTES", 14 * 4 * 4)


@pytest.fixture
def on_disk(tmp_path):
    def write(rows):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        np.save(path, rows)
        return np.load(path, mmap_mode="r")

    return write


def run(X, validation, classifier=None, **options):
    options = {"n_permutations": 29, "progress": False} | options
    return jm.permutation_test(classifier or jm.Ridge(), X, y, validation=validation, **options)


def nightly(*options):
    return pytest.param(*options, marks=pytest.mark.nightly)


def assert_same_test(streamed, in_memory):
    for name in ("statistic", "null_distribution"):
        compare = np.testing.assert_array_equal if in_memory.metric == "accuracy" else np.testing.assert_allclose
        compare(getattr(streamed, name), getattr(in_memory, name), **({} if in_memory.metric == "accuracy" else FLOATS))
    np.testing.assert_array_equal(streamed.example_scores, in_memory.example_scores)
    np.testing.assert_array_equal(streamed.pvalue, in_memory.pvalue)


# --- What holds them --------------------------------------------------------------------------------------------------


def in_blocks_of_seven(rows):
    return RowBlocks(lambda: (rows[start : start + 7] for start in range(0, len(rows), 7)), rows.shape, rows.dtype)


HOLDERS = {
    "memory map": lambda rows, tmp_path: np.memmap(tmp_path / "map", rows.dtype, "w+", shape=rows.shape),
    "HDF5": lambda rows, tmp_path: h5py.File(tmp_path / "file.h5", "w").create_dataset("X", rows.shape, rows.dtype),
    "HDF5 in chunks": lambda rows, tmp_path: h5py.File(tmp_path / "file.h5", "w").create_dataset(
        "X", rows.shape, rows.dtype, chunks=(10, 4)
    ),
    "Zarr": lambda rows, tmp_path: zarr.create_array(
        str(tmp_path / "rows.zarr"), shape=rows.shape, dtype=rows.dtype, chunks=(9, 2)
    ),
}


@pytest.mark.parametrize("holder", ["memory map", nightly("HDF5"), nightly("HDF5 in chunks"), "Zarr"])
def test_what_is_on_disk_is_read_by_blocks(holder, tmp_path):
    stored = HOLDERS[holder](X, tmp_path)
    stored[:] = X
    rows = as_rows(stored)
    assert isinstance(rows, RowBlocks) and len(rows) == 60 and rows.dtype == np.float32
    blocks = list(rows)
    assert len(blocks) > 3 and len({len(block) for block in blocks[:-1]}) == 1
    np.testing.assert_array_equal(np.concatenate(blocks), X)
    chunk = {"HDF5 in chunks": 10, "Zarr": 9}.get(holder, 1)
    assert len(blocks[0]) % chunk == 0
    assert_same_test(run(stored, jm.SharedStructure(X_val)), run(X, jm.SharedStructure(X_val)))


@pytest.mark.parametrize(("chunk", "expected"), [(1, 14), (10, 10), (14, 14), (20, 20), (60, 60)])
def test_whole_chunks_are_read(chunk, expected, tmp_path):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        rows = RowBlocks(file.create_dataset("X", data=X, chunks=(chunk, 4)))
        assert rows.block_rows == expected and len(next(iter(rows))) == expected
        np.testing.assert_array_equal(np.asarray(rows), X)


def test_blocks_of_a_function_and_of_anything_that_can_be_sliced():
    for rows in (in_blocks_of_seven(X), RowBlocks(X), RowBlocks(lambda: iter([X[:50], X[50:]]), (60, 4))):
        assert as_rows(rows) is rows
        for _ in range(2):
            assert [len(block) for block in rows] == [14] * 4 + [4]
            np.testing.assert_array_equal(np.concatenate(list(rows)), X)
    np.testing.assert_array_equal(np.asarray(in_blocks_of_seven(X)), X)


def test_a_function_may_fill_the_same_array_again_and_again():
    def blocks():
        block = np.empty((5, 4), np.float32)
        for start in range(0, 60, 5):
            block[:] = X[start : start + 5]
            yield block

    np.testing.assert_array_equal(np.asarray(RowBlocks(blocks, X.shape)), X)


def test_arrays_in_memory_and_no_longer_than_wide_ones_are_not_read_by_blocks(on_disk):
    assert isinstance(as_rows(X), jax.Array) and isinstance(as_rows(on_disk(X[:4])), jax.Array)
    assert isinstance(as_rows(on_disk(X[:5])), RowBlocks)
    assert isinstance(as_features(on_disk(X)), jax.Array)  # For those who take all rows at once.


def test_numbers_keep_or_take_the_precision_of_those_in_memory(on_disk):
    assert as_rows(on_disk(X.astype(float))).dtype == np.float32
    assert as_rows(on_disk((10 * X).astype(np.int16))).dtype == np.float32
    with jax.enable_x64(True):
        rows = as_rows(on_disk(X.astype(float)))
        assert rows.dtype == np.float64 and next(iter(rows)).dtype == np.float64


@pytest.mark.nightly
def test_double_precision_is_double_precision(on_disk, float64):
    wide = on_disk(X.astype(float)), jm.SharedStructure(on_disk(X_val.astype(float)))
    in_memory = run(X.astype(float), jm.SharedStructure(X_val.astype(float)), metric="margin")
    np.testing.assert_allclose(run(*wide, metric="margin").null_distribution, in_memory.null_distribution, rtol=1e-10)


def test_the_next_block_is_read_by_another_thread_while_this_one_is_worked_on():
    readers, read = set(), []

    class Watched:
        shape, dtype = X.shape, X.dtype

        def __getitem__(self, rows):
            readers.add(threading.current_thread())
            read.append(rows.start)
            return X[rows]

    blocks = iter(RowBlocks(Watched()))
    next(blocks)
    next(blocks)  # The reader had to begin with this one before it was asked for, and is now at the third.
    blocks.close()
    assert read in ([0, 14], [0, 14, 28]) and threading.current_thread() not in readers


def resident(path):
    """Bytes of a mapped file that count as this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    sizes = [next(line for line in lines if line.startswith("Rss:")) for line in lines if line.endswith(str(path))]
    return sum(int(line.split()[1]) << 10 for line in sizes)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says what is resident")
def test_pages_of_a_memory_map_are_given_back(on_disk):
    rows = on_disk(np.tile(X, (5_000, 1)))
    assert np.isfinite(rows).all() and resident(rows.filename) >= rows.nbytes
    assert sum(len(block) for block in RowBlocks(rows[3:])) == len(rows) - 3
    assert resident(rows.filename) == 0


def test_what_was_written_to_a_private_map_is_nowhere_else_and_stays(on_disk):
    rows = np.load(on_disk(X).filename, mmap_mode="c")
    rows[:] = 1
    assert (np.asarray(RowBlocks(rows)) == 1).all() and (rows == 1).all()


# --- What is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classifier", "options"),
    [
        (jm.Ridge(), {"example_scores": True, "batch_size": 7}),
        nightly(jm.Ridge((0.1, 10.0), standardize=True), {"metric": "r2"}),
        (jm.LDA(), {"metric": "neg_log_loss"}),
        nightly(jm.LDA(shrinkage=0.3), {}),
        nightly(jm.NearestCentroid(), {"scheme": "within", "blocks": np.arange(60) // 20}),
        nightly(jm.NearestCentroid("cosine"), {"metric": "margin"}),
        nightly(jm.GaussianNB(), {"metric": "balanced_accuracy", "stopping": jm.BesagClifford(5)}),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("streamed", ["both", nightly("X"), nightly("X_val")])
def test_the_test_is_that_of_rows_in_memory(classifier, options, streamed, on_disk):
    expected = run(X, jm.SharedStructure(X_val), classifier, **options)
    rows = X if streamed == "X_val" else on_disk(X)
    copies = X_val if streamed == "X" else on_disk(X_val)
    assert_same_test(run(rows, jm.SharedStructure(copies), classifier, **options), expected)


@pytest.mark.parametrize(
    "design",
    [
        lambda rows: jm.SharedStructure(rows(X_val[::-1]), source=np.arange(60)[::-1]),
        lambda rows: jm.Holdout(rows(X_test), y_test),
        nightly(lambda rows: jm.Resubstitution()),
    ],
    ids=["copies in another order", "rows with labels of their own", "the same rows"],
)
def test_every_design_but_folds(design, on_disk):
    assert_same_test(run(on_disk(X), design(on_disk)), run(X, design(lambda rows: rows)))


@pytest.mark.parametrize("classifier", [jm.KNeighbors(3), nightly(jm.Softmax(tol=1e-2))], ids=repr)
def test_rows_to_score_are_streamed_for_every_classifier(classifier, on_disk):
    options = {"example_scores": True}
    expected = run(X, jm.SharedStructure(X_val), classifier, **options)
    streamed = run(X, jm.SharedStructure(on_disk(X_val)), classifier, **options)
    assert_same_test(streamed, expected)
    assert streamed.diagnostics.keys() == expected.diagnostics.keys()


def test_a_metric_that_compares_rows_takes_all_of_those_in_memory(on_disk):
    options = {"metric": "roc_auc_ovr", "n_permutations": 9}
    expected = run(X, jm.SharedStructure(X_val), **options)
    assert_same_test(run(on_disk(X), jm.SharedStructure(X_val), **options), expected)


@pytest.mark.parametrize("devices", [nightly(1), 2])
def test_memorization(devices, on_disk):
    options = {"n_permutations": 39, "progress": False, "devices": jax.devices()[:devices]}
    copies, test = jm.SharedStructure(X_val), jm.Holdout(X_test, y_test)
    expected = jm.memorization_test(jm.Ridge(), X, y, copies, test=test, **options)
    streamed = jm.memorization_test(
        jm.Ridge(),
        on_disk(X),
        y,
        jm.SharedStructure(on_disk(X_val)),
        test=jm.Holdout(on_disk(X_test), y_test),
        **options,
    )
    for name in ("null_distribution", "chance_distribution", "test_null_distribution", "example_scores"):
        np.testing.assert_array_equal(getattr(streamed, name), getattr(expected, name))
    assert streamed.memorization_pvalue == expected.memorization_pvalue


@pytest.mark.nightly
def test_families_and_margins(on_disk):
    family = {"a": (X, X_val), "b": (X[:, :3], jm.Holdout(X_test[:, :3], y_test))}
    stored = {"a": (on_disk(X), on_disk(X_val)), "b": (on_disk(X[:, :3]), jm.Holdout(on_disk(X_test[:, :3]), y_test))}
    one, other = (jm.permutation_tests(tests, y, n_permutations=39, progress=False) for tests in (family, stored))
    np.testing.assert_array_equal(one.null_distribution, other.null_distribution)
    validation = jm.SharedStructure(on_disk(X_val))  # Of all rows at once, wherever they are.
    margins = [jm.example_margins(jm.Ridge(), X, y, validation=v) for v in (jm.SharedStructure(X_val), validation)]
    np.testing.assert_array_equal(*margins)


def test_a_test_goes_on_where_it_was(on_disk, tmp_path):
    rows, validation = on_disk(X), jm.SharedStructure(on_disk(X_val))
    expected = run(X, jm.SharedStructure(X_val), n_permutations=40)
    assert_same_test(run(rows, validation, n_permutations=9).extend(31), expected)
    run(rows, validation, n_permutations=9, checkpoint=tmp_path / "file")
    # The same numbers in another file, and the first ten are not computed again.
    same = run(
        on_disk(X), jm.SharedStructure(in_blocks_of_seven(X_val)), n_permutations=40, checkpoint=tmp_path / "file"
    )
    assert_same_test(same, expected)
    changed = X.copy()
    changed[59, 3] += 1e-3
    for other in (on_disk(changed), X):  # Those in memory go through another kernel.
        with pytest.raises(ValueError, match="differs in features"):
            run(other, validation, n_permutations=40, checkpoint=tmp_path / "file")


@pytest.mark.nightly
def test_labels_are_the_same_however_many_are_drawn_at_once(monkeypatch):
    key, codes = as_key(0), as_labels(y).codes
    expected = passes._draw(random_stream(key, codes), codes, 0, 10, None)
    monkeypatch.setattr(passes, "BATCH_BYTES", 3 * 8 * 60)
    passes._draw.clear_cache()
    np.testing.assert_array_equal(passes._draw(random_stream(key, codes), codes, 0, 10, None), expected)
    passes._draw.clear_cache()


def test_every_block_is_one_of_two_shapes_and_compiles_once(on_disk):
    from jaxmem.fits import blockwise

    functions = blockwise._sums, blockwise._scores, blockwise._solved
    for function in functions:
        function.clear_cache()
    for _ in range(2):
        run(on_disk(X), jm.SharedStructure(on_disk(X_val)), batch_size=5)
    assert [function._cache_size() for function in functions] == [2, 2, 1]


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classifier", "options", "message"),
    [
        (jm.KNeighbors(), {}, r"KNeighbors needs all training rows at once.*np.asarray\(X\)"),
        (jm.LDA(shrinkage="auto"), {}, r"needs all rows at once for every label vector.*LDA\(shrinkage=0.1\)"),
        (RidgeClassifier(), {}, "Estimator needs all training rows at once"),
        (jm.Ridge(), {"metric": "roc_auc_ovr"}, r"compares all rows that are scored.*np.asarray\(X_val\)"),
        (jm.LDA(priors=(0.5, 0.5)), {}, "there are 3 classes"),
    ],
    ids=repr,
)
def test_what_needs_all_rows_is_refused_before_any_is_computed(classifier, options, message, on_disk, monkeypatch):
    monkeypatch.setattr(fits.BlockwiseFit, "__init__", None)
    with pytest.raises(ValueError, match=message):
        run(on_disk(X), jm.SharedStructure(on_disk(X_val)), classifier, **options)


def test_rows_to_score_are_not_streamed_to_the_host(on_disk):
    with pytest.raises(ValueError, match=r"Estimator needs all rows to score at once.*np.asarray\(X_val\)"):
        run(X, jm.SharedStructure(on_disk(X_val)), RidgeClassifier())


@pytest.mark.parametrize("stratified", [True, False])
def test_folds_are_refused(stratified, on_disk):
    with pytest.raises(ValueError, match=r"KFold takes the rows.*np.asarray\(X\).*jm.Holdout"):
        run(on_disk(X), jm.KFold(3, stratified=stratified))


def test_a_design_that_fits_some_rows_is_refused(on_disk):
    class FirstHalf:
        def parts(self, X, labels):
            return [Part(np.arange(30), X_test, own=labels.codes[:33])]

    with pytest.raises(ValueError, match=r"fits some rows of X by their numbers.*np.asarray\(X\)"):
        run(on_disk(X), FirstHalf())


def test_bad_numbers_are_found_in_whatever_block_they_are(on_disk):
    bad = X.copy()
    bad[[17, 41], 2] = np.nan, np.inf
    with pytest.raises(ValueError, match="X has NaN or infinite features in 2 of 60 rows, the first in row 17"):
        run(on_disk(bad), jm.SharedStructure(X_val))
    with pytest.raises(ValueError, match="X_val has features as large as 1"):
        run(X, jm.SharedStructure(on_disk(1e19 * np.ones_like(X))))
    with pytest.raises(ValueError, match="X has NaN or infinite features in 60 of 60 rows"):
        run(on_disk(np.full((60, 4), 1e300)), jm.SharedStructure(X_val))  # Infinite in single precision.
    with pytest.raises(ValueError, match=r"shape \(60, 2, 2\). Flatten"):
        run(on_disk(X.reshape(60, 2, 2)), jm.SharedStructure(X_val))
    with pytest.raises(ValueError, match=r"^X must hold real numbers, but its dtype is complex64"):
        run(on_disk(X.astype(np.complex64)), jm.SharedStructure(X_val))
    with pytest.raises(ValueError, match=r"^X_val must hold real numbers, but its dtype is complex64"):
        run(X, jm.SharedStructure(on_disk(X.astype(np.complex64))))


def test_an_array_that_holds_less_than_it_says_is_refused():
    class Short:
        shape, dtype = X.shape, X.dtype

        def __getitem__(self, rows):
            return X[rows][:-1]

    with pytest.raises(ValueError, match=r"of shape \(60, 4\) got \(13, 4\) from row 0 on"):
        run(RowBlocks(Short()), jm.SharedStructure(X_val))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((lambda: iter([X]),), "together with shape"),
        (([1, 2], (2, 1)), "but got a list"),
        ((X, (120, 4)), r"said to have shape \(120, 4\) got an array of shape \(60, 4\): leave shape out"),
    ],
)
def test_what_are_no_blocks_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RowBlocks(*arguments)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([X[:59]], "ended after 59 rows"),
        ([X, X[:1]], r"got a block of shape \(1, 4\) after 60 rows"),
        ([X[:, :3]], r"got a block of shape \(60, 3\) after 0 rows"),
        ([X.astype(str)], "must hold real numbers, but its dtype is <U32"),
        ([X + 1j], "must hold real numbers, but its dtype is complex64"),
    ],
)
def test_blocks_that_are_not_what_was_said_are_refused(blocks, message):
    with pytest.raises(ValueError, match=message):
        run(RowBlocks(lambda: iter(blocks), X.shape), jm.SharedStructure(X_val))


def test_an_error_of_the_disk_is_passed_on():
    calls = []

    def failing():
        calls.append(None)
        yield X[:30]
        if len(calls) > 3:  # It was read to be checked, and twice for the scatter.
            raise OSError("disk gone")
        yield X[30:]

    with pytest.raises(OSError, match="disk gone"):
        run(RowBlocks(failing, X.shape), jm.SharedStructure(X_val))
