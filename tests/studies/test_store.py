"""Pieces of work are found again by what decides them, and by nothing else; damage is not believed."""

import numpy as np
import pytest

from jaxmem.studies.shards import complete
from jaxmem.studies.store import Store, Work, claim_folder


def get(store, key, compute):
    complete(lambda: iter([Work(key, compute)]), store, progress=False)
    return store[key]


def counting(calls, value):
    def compute():
        calls.append(value)
        return {"a": np.array([value]), "b/c": np.array(2.5)}

    return compute


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_piece_is_computed_once(tmp_path, on_disk):
    store, calls = Store(tmp_path if on_disk else None), []
    for _ in range(2):
        piece = get(store, ("key", 1), counting(calls, 7))
    assert calls == [7] and piece["a"] == [7] and piece["b/c"] == 2.5
    assert ("key", 1) in store and ("key", 2) not in store
    get(store, ("key", 2), counting(calls, 8))
    assert calls == [7, 8]


def test_another_store_in_the_same_folder_finds_it(tmp_path):
    calls = []
    get(Store(tmp_path), "key", counting(calls, 7))
    np.testing.assert_array_equal(get(Store(tmp_path), "key", counting(calls, 9))["a"], [7])
    assert calls == [7]


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"", lambda raw: raw[:80] + b"x" * 9])
def test_a_damaged_piece_is_computed_again(tmp_path, damage):
    get(Store(tmp_path), "key", counting([], 7))
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert "key" not in Store(tmp_path)
    assert get(Store(tmp_path), "key", counting([], 8))["a"] == [8]
    assert get(Store(tmp_path), "key", counting([], 9))["a"] == [8]


def test_a_computation_that_fails_leaves_nothing(tmp_path):
    def fails():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(Store(tmp_path), "key", fails)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_other_work_is_refused_and_left_alone(tmp_path):
    about = {"study": "epochs", "config": {"seed": 1, "widths": (8,)}}
    claim_folder(tmp_path, about)
    claim_folder(tmp_path, about)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="another config: remove it"):
        claim_folder(tmp_path, about | {"config": {"seed": 9, "widths": (8,)}})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "about.json").rename(tmp_path / "mine.txt")
    with pytest.raises(ValueError, match="it holds other things"):
        claim_folder(tmp_path, about)
