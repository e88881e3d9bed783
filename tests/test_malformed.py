"""Files that are not what they should be: whatever is in them, they load as what was saved, or end in a ValueError."""

import json

import numpy as np
import pytest
from helpers import blobs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jaxmem as jm
from jaxmem.archives import read_archive, write_archive
from jaxmem.checkpoint import Checkpoint
from jaxmem.results.base import Result
from jaxmem.tally import Done

X, y, X_val = blobs(12, 3, 2)
SHARED = jm.SharedStructure(X_val)
RUN = {"features": "ab", "labels": "cd"}
OPTIONS = {"n_permutations": 19, "progress": False}

# A file is written anew in every example, and nothing else is shared.
MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
FEW, NIGHTLY = settings(MANY, max_examples=25), settings(MANY, max_examples=300)


def load_checkpoint(path):
    return Checkpoint(path, RUN, ["a", "b"]).load(30)


def saved(kind, path):
    """A file of a kind, and what loads it."""
    if kind == "checkpoint":
        scores = {name: {"paired": np.arange(20.0), "broken": -np.arange(20.0)} for name in "ab"}
        file = Checkpoint(path, RUN, ["a", "b"])
        file.save(Done(20, scores, {"a": np.arange(5)}, {"converged": np.ones(20, bool)}))
        return load_checkpoint
    result = {
        "test": lambda: jm.permutation_test(jm.KNeighbors(), X, y, validation=SHARED, example_scores=True, **OPTIONS),
        "tests": lambda: jm.permutation_tests({"a": (X, X_val)}, y, classifier=jm.KNeighbors(), **OPTIONS, alpha=0.2),
        "memorization": lambda: jm.memorization_test(jm.KNeighbors(), X, y, SHARED, **OPTIONS),
        "stopped": lambda: jm.permutation_test(
            jm.KNeighbors(), X, y, validation=SHARED, stopping=jm.Betting(0.2), **OPTIONS
        ),
    }[kind]()
    result.save(path)
    return jm.load


KINDS = ["checkpoint", "test", "tests", "memorization", "stopped"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    loaders = {kind: saved(kind, folder / kind) for kind in KINDS}
    return {kind: (load, (folder / kind).read_bytes()) for kind, load in loaders.items()}


def flat(loaded):
    return vars(loaded) if isinstance(loaded, Result) else loaded._asdict()


def assert_equal(one, other):
    for name, value in flat(one).items():
        again = flat(other)[name]
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(again, value)
        else:
            assert repr(again) == repr(value)


def loads_or_refuses(load, path, content):
    """What is loaded, None if it is refused as it should be; the file is left as it is in any case."""
    path.write_bytes(content)
    try:
        return load(path)
    except ValueError as error:
        assert str(path) in str(error) or path.name in str(error)
        return None
    finally:
        assert path.read_bytes() == content


def damaged_bytes(data, whole):
    place = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(place, min(place + 40, len(whole))))
    return whole[:place] + data.draw(st.binary(max_size=40)) + whole[end:]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 50) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ARRAYS = hnp.arrays(
    hnp.scalar_dtypes() | hnp.unicode_string_dtypes(max_len=3), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)
)


def other_values(data, path):
    """The same archive with some of its values others, lacking, or more."""
    arrays, header = read_archive(path, "archive")
    for _ in range(data.draw(st.integers(1, 2))):
        part, values = data.draw(st.sampled_from([(header, JSON), (arrays, ARRAYS)]))
        name = data.draw(st.sampled_from(sorted(part) or ["new"]) | st.text("abc/0", max_size=12))
        if data.draw(st.booleans()):
            part.pop(name, None)
        else:
            part[name] = data.draw(values)
    arrays.pop("", None)
    write_archive(path, arrays, header)


def check_bytes(data, kind, files, folder):
    load, whole = files[kind]
    content = damaged_bytes(data, whole)
    loaded = loads_or_refuses(load, folder / "damaged", content)
    if loaded is not None:  # The damage met what no reader looks at, a date say.
        (folder / "whole").write_bytes(whole)
        assert_equal(loaded, load(folder / "whole"))


def check_values(data, kind, files, folder):
    load, whole = files[kind]
    (folder / "other").write_bytes(whole)
    other_values(data, folder / "other")
    loaded = loads_or_refuses(load, folder / "other", (folder / "other").read_bytes())
    if isinstance(loaded, Result):
        assert isinstance(loaded.y, np.ndarray) and isinstance(loaded.n_permutations, int)
        json.dumps(str(loaded.classifier))
    elif loaded is not None:
        assert all(len(kinds["paired"]) == loaded.n_labellings for kinds in loaded.scores.values())


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(data=st.data())
def test_damaged_bytes(kind, data, files, tmp_path, unchecked):
    check_bytes(data, kind, files, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(data=st.data())
def test_other_values(kind, data, files, tmp_path, unchecked):
    check_values(data, kind, files, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
@NIGHTLY
@given(data=st.data())
def test_many_other_values(kind, data, files, tmp_path, unchecked):
    check_values(data, kind, files, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_damaged_files(kind, files, tmp_path, unchecked):
    """Two thousand of each kind: some bytes replaced, added or lost, anywhere."""
    (load, whole), rng = files[kind], np.random.default_rng(0)
    path = tmp_path / "whole"
    path.write_bytes(whole)
    expected, refused = load(path), 0
    for _ in range(2_000):
        start, lost, added = rng.integers(0, len(whole)), *rng.integers(0, 9, 2)
        loaded = loads_or_refuses(load, tmp_path / "file", whole[:start] + rng.bytes(added) + whole[start + lost :])
        refused += loaded is None
        if loaded is not None:
            assert_equal(loaded, expected)
    assert refused > 1_000


@given(st.binary(max_size=200))
@FEW
def test_bytes_of_any_kind_are_no_file_of_ours(tmp_path, content):
    for load in (jm.load, load_checkpoint):
        assert loads_or_refuses(load, tmp_path / "bytes", content) is None
