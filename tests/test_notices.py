"""Warnings stand at the user's line; logs tell of a long run, in words and in attributes."""

import logging

import numpy as np
import pytest
from helpers import blobs

import jaxmem as jm
from jaxmem import batches
from jaxmem.studies.shards import complete
from jaxmem.studies.store import Store, Work

X, y, X_val = blobs(30, 3, 2)
OPTIONS = {"n_permutations": 29, "batch_size": 10, "progress": False}


def run(**options):
    return jm.permutation_test(jm.Ridge(), X, y, validation=jm.SharedStructure(X_val), **OPTIONS, **options)


def events(caplog):
    return [record.event for record in caplog.records if record.name.startswith("jaxmem.")]


def test_a_test_tells_its_start_its_batches_its_checkpoint_and_its_end(caplog, tmp_path):
    path = tmp_path / "test.npz"
    with caplog.at_level(logging.DEBUG, "jaxmem"):
        run(checkpoint=path)
        assert events(caplog)[0] == "start" and events(caplog)[-1] == "end"
        assert events(caplog).count("batch") == 3 and "saved" in events(caplog) and "resumed" not in events(caplog)
        start, *_, end = caplog.records
        assert (start.labellings, start.done, start.batch_size) == (30, 0, 10) and end.seconds > 0
        assert [record.done for record in caplog.records if record.event == "batch"] == [10, 20, 30]
        assert "0 of 30 labellings are done; batches of 10" in start.message
        caplog.clear()
        run(checkpoint=path)
    (resumed,) = (record for record in caplog.records if record.event == "resumed")
    assert resumed.path == str(path) and resumed.labellings == 30


def test_batches_are_for_those_who_ask(caplog):
    with caplog.at_level(logging.INFO, "jaxmem"):
        run()
    assert events(caplog) == ["start", "end"]


def test_pieces_of_a_study_are_told(caplog):
    with caplog.at_level(logging.INFO, "jaxmem"):
        complete(lambda: [Work(1, lambda: {"a": np.ones(1)}, "mlp")], Store(), progress=False)
    (record,) = caplog.records
    assert (record.event, record.done, record.pieces, record.title) == ("piece", 1, 1, "mlp")


def test_warnings_point_at_the_line_that_called(monkeypatch, caplog):
    softmax = jm.Softmax(max_steps=1)
    with pytest.warns(UserWarning, match="before they converged") as warned:
        jm.permutation_test(softmax, X, y, validation=jm.SharedStructure(X_val), **OPTIONS)
    assert warned[0].filename == __file__
    full = iter([True])

    def launch(start, size):
        if next(full, False):
            raise MemoryError
        return np.zeros(size)

    with pytest.warns(RuntimeWarning, match="Out of memory") as warned, caplog.at_level(logging.INFO, "jaxmem"):
        batches.in_batches(launch, lambda start, arrays: arrays, lambda *_: False, first=0, total=8, size=8)
    assert warned[0].filename == __file__
    (record,) = caplog.records
    assert (record.event, record.batch_size, record.done) == ("halved", 4, 0)
