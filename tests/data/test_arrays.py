import dataclasses

import jax
import jaxtyping
import numpy as np
import pytest

from jaxmem.data.arrays import Dataset, row_keys, stratified_split


@pytest.fixture
def untyped(monkeypatch):
    """Meet the errors as users do, who run without the type checker."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def parts(n=6, m=3, shape=(2, 2, 1)):
    return {
        "name": "toy",
        "X_train": np.linspace(0, 1, n * np.prod(shape), dtype=np.float32).reshape(n, *shape),
        "y_train": np.arange(n, dtype=np.int32) % 3,
        "X_test": np.zeros((m, *shape), np.float32),
        "y_test": np.arange(m, dtype=np.int32) % 3,
        "class_names": ("a", "b", "c"),
    }


def test_a_dataset_keeps_its_arrays_and_is_frozen():
    dataset = Dataset(**parts())
    np.testing.assert_array_equal(dataset.y_train, [0, 1, 2, 0, 1, 2])
    assert repr(dataset) == "Dataset(name='toy', class_names=('a', 'b', 'c'))"
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X_train": np.zeros((6, 4), np.float32)}, "X_train has shape"),
        ({"X_test": np.zeros((0, 2, 2, 1), np.float32), "y_test": np.zeros(0, np.int32)}, "non-empty"),
        ({"X_train": np.zeros((6, 2, 2, 1), np.uint8)}, "float32"),
        ({"X_train": np.full((6, 2, 2, 1), 1.01, np.float32)}, "from 1.0"),
        ({"X_test": np.full((3, 2, 2, 1), -0.1, np.float32)}, "X_test has pixels"),
        ({"X_train": np.full((6, 2, 2, 1), np.nan, np.float32)}, "nan"),
        ({"X_test": np.zeros((3, 2, 3, 1), np.float32)}, "one size"),
        ({"y_train": np.zeros(5, np.int32)}, r"y_train has shape \(5,\)"),
        ({"y_train": np.zeros(6, np.int64)}, "int32"),
        ({"y_train": np.array([0, 1, 2, 3, 0, 1], np.int32)}, "from 0 to 3 with 3 class names"),
        ({"y_test": np.array([-1, 0, 1], np.int32)}, "from -1"),
    ],
)
def test_a_dataset_refuses(change, message, untyped):
    with pytest.raises(ValueError, match=message):
        Dataset(**(parts() | change))


@pytest.mark.parametrize("n_train", [7, 50, 93])
def test_a_split_is_exact_disjoint_complete_and_proportional(n_train):
    y = np.repeat([3, 5, 9], [50, 30, 20])
    train, test = stratified_split(y, n_train, seed=1)
    assert (len(train), len(test)) == (n_train, 100 - n_train)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(100))
    for label, share in ((3, 0.5), (5, 0.3), (9, 0.2)):
        assert abs((y[train] == label).sum() - share * n_train) < 1


def test_missing_rows_come_from_the_largest_remainders():
    # 7 of 100 rows: 3.5, 2.1 and 1.4 rows; the floors 3, 2, 1 leave one, and 0.5 is the largest remainder.
    y = np.repeat([0, 1, 2], [50, 30, 20])
    assert np.bincount(y[stratified_split(y, 7)[0]]).tolist() == [4, 2, 1]


def test_a_split_is_chosen_by_its_seed_and_shuffled():
    y = np.repeat(np.arange(10), 50)
    train, test = stratified_split(y, 400, seed=0)
    again, other = stratified_split(y, 400, seed=0), stratified_split(y, 400, seed=1)
    np.testing.assert_array_equal(train, again[0])
    np.testing.assert_array_equal(test, again[1])
    assert set(train) != set(other[0])
    # A prefix is a fair sample: sorted rows would hold 2 classes here, a shuffled hundred all ten.
    assert set(y[train[:100]]) == set(y[test[:100]]) == set(range(10))


def test_a_split_never_changes():
    """The raw bit stream of PCG64 is promised to be stable: so is every split made from it."""
    train, test = stratified_split(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 4, seed=0)
    assert (train.tolist(), test.tolist()) == ([3, 2, 6, 7], [1, 0, 4, 5])


@pytest.mark.parametrize("n_train", [0, 4, 5, -1])
def test_a_split_without_rows_on_both_sides_is_refused(n_train):
    with pytest.raises(ValueError, match="both parts need rows"):
        stratified_split(np.array([0, 0, 1, 1]), n_train)


def test_a_split_without_every_class_on_both_sides_is_refused():
    with pytest.raises(ValueError, match="class 1 has 1 rows"):
        stratified_split(np.array([0, 0, 0, 1]), 2)


def test_row_keys_belong_to_rows():
    key = jax.random.key(7)
    every = jax.random.key_data(row_keys(key, 10))
    np.testing.assert_array_equal(every[3:7], jax.random.key_data(row_keys(key, 4, first=3)))
    np.testing.assert_array_equal(every[2], jax.random.key_data(jax.random.fold_in(key, 2)))
    assert len(np.unique(every, axis=0)) == 10


def test_row_keys_take_raw_keys_too():
    raw = jax.random.key_data(row_keys(jax.random.PRNGKey(7), 4))
    np.testing.assert_array_equal(raw, jax.random.key_data(row_keys(jax.random.key(7), 4)))
