"""Tests go on where they were killed, to the same null bit for bit, whatever becomes of the disk."""

import os
import resource
import subprocess
import threading

import jax
import numpy as np
import pytest
from helpers import assert_same, blobs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import jaxmem as jm
from jaxmem import archives, checkpoint, scoring, tally
from jaxmem.archives import read_archive, write_archive

X, y, X_val = blobs(30, 5, 3, separation=0.7)
SHARED = jm.SharedStructure(X_val)
TREE = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0))


def run(classifier=None, X=X, y=y, validation=SHARED, **options):
    options = {"n_permutations": 29, "batch_size": 4, "progress": False} | options
    return jm.permutation_test(classifier or jm.Ridge(), X, y, validation=validation, **options)


class Killed(BaseException):
    """Ends a run as nothing else does."""


@pytest.fixture
def after(monkeypatch):
    """Kills what runs once so many batches are added, and counts those that ever were."""

    class After:
        added = 0

        def __call__(self, n_batches):
            self.left = n_batches

    after, in_batches = After(), scoring.in_batches
    after(10_000)

    def counted(launch, fetch, take, **options):
        def take_and_die(start, batch):
            enough = take(start, batch)
            after.added += 1
            after.left -= 1
            if after.left == 0:
                raise Killed
            return enough

        return in_batches(launch, fetch, take_and_die, **options)

    monkeypatch.setattr(scoring, "in_batches", counted)
    monkeypatch.setattr(checkpoint, "_WORK_PER_SAVE", 0)
    return after


def few(n_permutations):
    return {"X": X[:6], "y": [0, 0, 0, 1, 1, 1], "validation": jm.Resubstitution(), "n_permutations": n_permutations}


TESTS = {
    "counts": {"classifier": jm.KNeighbors(1), "example_scores": True},
    "floats": {"classifier": jm.Ridge(), "metric": "r2"},
    "hyperparameters": {"classifier": jm.Ridge((0.1, 10.0)), "metric": "margin"},
    "diagnostics": {"classifier": jm.Softmax(tol=1e-2), "metric": "neg_log_loss", "example_scores": True},
    "folds": {"validation": jm.KFold(3), "example_scores": True},
    "stratified folds": {"validation": jm.KFold(2, stratified=True)},
    "on the host": {"classifier": TREE, "n_permutations": 11},
    "within blocks": {"scheme": "within", "blocks": np.repeat(["a", "b", "c"], 10)},
    "every labelling": few(100),
    "stopping": {"stopping": jm.BesagClifford(20), "n_permutations": 29, "alternative": "less"},
}


LONG = {"hyperparameters", "stratified folds", "within blocks"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly if name in LONG else ()) for name in TESTS]
)
def test_a_killed_test_goes_on_to_the_same_null(name, after, tmp_path):
    whole = run(**TESTS[name])
    n_batches = after.added
    after.added = 0
    lives = 0
    while True:
        lives += 1
        after(2)
        try:
            test = run(**TESTS[name], checkpoint=tmp_path / "folder" / "file")
            break
        except Killed:
            continue
    assert_same(test, whole)
    assert lives > 1 and after.added == n_batches  # And not one batch twice.
    assert os.listdir(tmp_path / "folder") == ["file"]
    after(1)
    assert_same(run(**TESTS[name], checkpoint=tmp_path / "folder" / "file"), whole)  # Computes nothing.


def test_memorization_tests_go_on(after, tmp_path):
    def tests(**options):
        copies = {0.1: SHARED, 0.2: jm.SharedStructure(X_val + 0.1)}
        options = {"test": jm.Holdout(X_val, y), "n_permutations": 29, "batch_size": 4, "progress": False} | options
        return jm.memorization_tests(jm.KNeighbors(1), X, y, copies, **options)

    whole = tests()
    for n_batches in (1, 4):
        after(n_batches)
        with pytest.raises(Killed):
            tests(checkpoint=tmp_path / "file")
    after(4)  # 8 batches in all, one before and three after the first.
    for strength, test in tests(checkpoint=str(tmp_path / "file")).items():
        assert_same(test, whole[strength])


def test_a_family_goes_on_with_a_file_for_every_set_of_features(after, tmp_path):
    family = {"a": (X, X_val), "b": (X[:, :2], jm.SharedStructure(X_val[:, :2])), "c": (X, jm.KFold(3))}
    options = {"n_permutations": 29, "batch_size": 4, "progress": False, "alpha": 0.2}
    whole = jm.permutation_tests(family, y, **options)
    after(10)
    with pytest.raises(Killed):
        jm.permutation_tests(family, y, checkpoint=tmp_path, **options)
    assert sorted(os.listdir(tmp_path)) == ["0.npz", "1.npz"]
    after(7)  # Of the 16.
    assert_same(jm.permutation_tests(family, y, checkpoint=tmp_path, **options), whole)


def test_more_permutations_go_on_from_fewer(after, tmp_path):
    whole = run(metric="margin", example_scores=True, n_permutations=59)
    few = run(metric="margin", example_scores=True, n_permutations=27, checkpoint=tmp_path / "file")
    many = few.extend(20)
    assert_same(few, run(metric="margin", example_scores=True, n_permutations=27))
    after(4)
    again = run(metric="margin", example_scores=True, n_permutations=59, checkpoint=tmp_path / "file")
    assert_same(again, whole)
    np.testing.assert_array_equal(many.null_distribution, whole.null_distribution[:47])
    with pytest.raises(ValueError, match="has 59 permutations already, but n_permutations is 58: ask for as many"):
        run(metric="margin", example_scores=True, n_permutations=58, checkpoint=tmp_path / "file")


def test_an_enumeration_begins_the_file_of_random_permutations_anew(tmp_path):
    test = run(**few(10), checkpoint=tmp_path / "file")
    assert not test.exact
    whole, longer = run(**few(30)), test.extend(20)
    assert whole.exact
    np.testing.assert_array_equal(longer.null_distribution, whole.null_distribution)
    assert_same(run(**few(30), checkpoint=tmp_path / "file"), whole)  # Which the file now holds.
    with pytest.raises(ValueError, match="of another test: it differs in enumeration"):
        run(**few(10), checkpoint=tmp_path / "file")
    run(**few(10), key=1, checkpoint=tmp_path / "other")
    with pytest.raises(ValueError, match="of another test: it differs in enumeration, permutations"):
        run(**few(30), checkpoint=tmp_path / "other")


def test_a_test_that_is_killed_before_its_first_permutation_promises_nothing(after, tmp_path):
    after(1)
    with pytest.raises(Killed) as killed:
        run(batch_size=1, devices=jax.devices()[:1], checkpoint=tmp_path / "file")
    assert not hasattr(killed.value, "__notes__")


# --- Where a file cannot be written -----------------------------------------------------------------------------


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    """A limit on the size of files that the first saves keep within, and the later ones not."""
    monkeypatch.setattr(checkpoint, "_WORK_PER_SAVE", 0)
    whole = run(n_permutations=999, batch_size=100)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, limits[1]))
    try:
        with pytest.warns(RuntimeWarning, match="cannot be written: .*File too large.* in memory") as warned:
            test = run(n_permutations=999, batch_size=100, checkpoint=tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(warned) == 1  # And not at every batch.
    assert_same(test, whole)
    assert os.listdir(tmp_path) == ["file"]
    n_kept = read_archive(tmp_path / "file", "checkpoint")[1]["n_labellings"]
    assert 100 <= n_kept < 1_000
    assert_same(run(n_permutations=999, batch_size=100, checkpoint=tmp_path / "file"), whole)  # With space again.
    assert read_archive(tmp_path / "file", "checkpoint")[1]["n_labellings"] == 1_000


@pytest.fixture
def read_only(tmp_path):
    """A folder that nobody can write to, not even root."""
    if os.geteuid():
        tmp_path.chmod(0o555)
        yield tmp_path
        tmp_path.chmod(0o755)
        return
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("root writes everywhere, and may not mount here")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_read_only_folder_loses_nothing(read_only):
    with pytest.warns(RuntimeWarning, match="file cannot be written: .*goes on in memory") as warned:
        test = run(checkpoint=read_only / "file")
    assert len(warned) == 1
    assert_same(test, run())
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        run(checkpoint=read_only / "deeper" / "file")


def test_a_disk_that_fails_for_a_while_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_WORK_PER_SAVE", 0)
    fsync, calls = os.fsync, []

    def failing(number):
        calls.append(number)
        if len(calls) in (2, 3):
            raise OSError(28, "No space left on device")
        fsync(number)

    monkeypatch.setattr(archives.os, "fsync", failing)
    with pytest.warns(RuntimeWarning, match="No space left on device") as warned:
        run(checkpoint=tmp_path / "file")
    assert len(warned) == 1 and len(calls) == 8
    assert read_archive(tmp_path / "file", "checkpoint")[1]["n_labellings"] == 30
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("number", [1, 2])
def test_memory_that_runs_out_while_saving_loses_nothing(number, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_WORK_PER_SAVE", 0)
    options = {"n_permutations": 199, "batch_size": 5, "example_scores": True}
    calls = []

    def write(path, arrays, header):
        calls.append(path)
        if len(calls) == number:
            raise MemoryError
        write_archive(path, arrays, header)

    monkeypatch.setattr(checkpoint, "write_archive", write)
    with pytest.warns(RuntimeWarning, match="cannot be written: out of memory. The test goes on"):
        test = run(**options, checkpoint=tmp_path / "file")
    assert_same(test, run(**options))


def test_a_null_that_is_cut_off_is_no_result(monkeypatch):
    monkeypatch.setattr(scoring, "in_batches", lambda *_, size, **__: size)
    with pytest.raises(RuntimeError, match="0 of 30 labellings were scored"):
        run()


def test_saving_takes_a_hundredth_of_the_time(tmp_path, monkeypatch):
    """On a clock on which a batch takes a second, and a save four."""
    now, saves = [0.0], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])

    def write(path, arrays, header):
        now[0] += 4
        saves.append(header["n_labellings"])
        (tmp_path / "file").write_text(str(len(saves)))

    monkeypatch.setattr(checkpoint, "write_archive", write)
    file = checkpoint.Checkpoint(tmp_path / "file", {}, ["a"])
    for n in range(1, 1_000):
        now[0] += 1
        file.save(tally.Done(n, {"a": {"paired": np.zeros(n)}}, {}, {}))
    assert saves == [1, 401, 801]
    assert file.save(tally.Done(999, {"a": {"paired": np.zeros(999)}}, {}, {}), last=True) and saves[-1] == 999


# --- Two at once ------------------------------------------------------------------------------------------------


def test_two_runs_on_one_checkpoint_do_not_harm_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_WORK_PER_SAVE", 0)
    whole, tests = run(n_permutations=199), []
    options = {"n_permutations": 199, "checkpoint": tmp_path / "file"}
    threads = [threading.Thread(target=lambda: tests.append(run(**options))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tests) == 3
    for test in [*tests, run(**options)]:
        assert_same(test, whole)
    assert os.listdir(tmp_path) == ["file"]


def test_a_run_leaves_the_file_to_another_test_that_was_there_first(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_WORK_PER_SAVE", 0)

    def metric(scores, labels):
        return scores[0, 0]

    def finish(value, n_rows):
        if not (tmp_path / "file").exists():
            run(key=7, checkpoint=tmp_path / "file")  # While the other computes its first batch.
        return value

    slow = jm.metrics.Metric("slow", metric, finish)
    with pytest.warns(RuntimeWarning, match="cannot be written: another test has written to it"):
        run(metric=slow, checkpoint=tmp_path / "file")
    run(key=7, checkpoint=tmp_path / "file")  # Is its own still.


def test_of_two_runs_the_one_that_is_ahead_keeps_the_file(tmp_path, monkeypatch):
    run(n_permutations=99, checkpoint=tmp_path / "whole")
    monkeypatch.setattr(checkpoint, "_WORK_PER_SAVE", 0)
    add = tally.Tally.add

    def overtaken(self, start, batch):
        add(self, start, batch)
        if start == 4:
            os.link(tmp_path / "whole", tmp_path / "ahead")
            os.replace(tmp_path / "ahead", tmp_path / "file")

    monkeypatch.setattr(tally.Tally, "add", overtaken)
    run(n_permutations=29, checkpoint=tmp_path / "file")
    assert read_archive(tmp_path / "file", "checkpoint")[1]["n_labellings"] == 100
