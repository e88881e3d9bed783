"""Batches add up to the whole, and a batch that is told of twice counts once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmem.tally import Done, Tally

SCORES = np.random.default_rng(0).normal(size=(20, 2))
HITS = np.random.default_rng(1).integers(0, 2, (20, 3)).astype(np.int32)


def rows(start, end):
    part = slice(start, end)
    scores = {"a": {"paired": SCORES[part], "broken": -SCORES[part]}, "b": {"paired": SCORES[part, 0]}}
    return Done(end - start, scores, {"a": HITS[part].sum(axis=0)}, {"converged": SCORES[part, 1] > 0})


def assert_equal(one, other):
    assert one.n_labellings == other.n_labellings
    assert one.scores.keys() == other.scores.keys()
    for name, kinds in one.scores.items():
        for kind, values in kinds.items():
            np.testing.assert_array_equal(values, other.scores[name][kind])
    np.testing.assert_array_equal(one.recovered["a"], other.recovered["a"])
    np.testing.assert_array_equal(one.diagnostics["converged"], other.diagnostics["converged"])
    assert one.diagnostics["converged"].dtype == bool


@given(st.lists(st.integers(1, 19), unique=True).map(sorted), st.integers(0, 19))
def test_batches_add_up(cuts, n_known):
    tally = Tally(20, rows(0, n_known) if n_known else None)
    ends = [cut for cut in cuts if cut > n_known] + [20]
    for start, end in zip([n_known, *ends[:-1]], ends, strict=True):
        for _ in range(2):
            tally.add(start, rows(start, end))
        assert_equal(tally.done, rows(0, end))


def test_what_was_known_is_not_written_to():
    known = rows(0, 5)
    before = known.scores["a"]["paired"].copy()
    tally = Tally(20, known)
    tally.add(5, rows(5, 20))
    tally.done.scores["a"]["paired"][:] = 0
    np.testing.assert_array_equal(known.scores["a"]["paired"], before)


@pytest.mark.parametrize(("start", "end"), [(3, 8), (6, 9)])
def test_what_does_not_follow_is_refused_and_changes_nothing(start, end):
    tally = Tally(20, rows(0, 5))
    with pytest.raises(RuntimeError, match=f"permutations {start} .. {end - 1} do not follow on the 5"):
        tally.add(start, rows(start, end))
    assert_equal(tally.done, rows(0, 5))
