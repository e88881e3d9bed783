"""What enters the library: taken as it is where it can be, refused with a remedy where it cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas
import pytest
import scipy.sparse

import jaxmem as jm
from jaxmem.data.perturbations import Cutout, Shift
from jaxmem.inputs import all_as_features, as_features, as_key, as_labels, as_number, one_of
from jaxmem.similarity import NeighborOverlap
from jaxmem.streaming import as_rows

# --- Features ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_])
def test_features_of_any_real_type_become_single_precision(given):
    X = np.array([[0, 1], [1, 1]], given)
    features = as_features(X)
    assert isinstance(features, jax.Array) and features.dtype == jnp.float32
    np.testing.assert_array_equal(features, X.astype(float))


def test_features_keep_double_precision_where_jax_has_it(float64):
    assert as_features(np.eye(2)).dtype == jnp.float64
    assert as_features(jnp.eye(2)).dtype == jnp.float64
    assert as_features(np.eye(2, dtype=np.float32)).dtype == jnp.float32
    assert as_features(np.eye(2, dtype=int)).dtype == jnp.float32


def test_features_come_from_lists_jax_and_memory_maps(tmp_path):
    X = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save(tmp_path / "X.npy", X)
    for given in (
        X.tolist(),
        jnp.asarray(X),
        np.load(tmp_path / "X.npy", mmap_mode="r"),
        X[::-1][::-1],
        X.astype(">f4"),
    ):
        np.testing.assert_array_equal(as_features(given), X)
    np.testing.assert_array_equal(as_features(jnp.asarray(X, jnp.bfloat16)), X)


@pytest.mark.parametrize("kind", ["alike", "of two types", "of JAX"])
def test_several_arrays_are_taken_as_each_of_them_is(kind):
    arrays = list(np.random.default_rng(0).normal(size=(3, 4, 2)))
    given = {"alike": arrays, "of two types": [arrays[0].astype(np.float32), *arrays[1:]]}
    taken = all_as_features(given.get(kind, [jnp.asarray(X) for X in arrays]), "abc")
    assert isinstance(taken, list) == (kind == "of two types")  # Small ones of one kind go over as one.
    for X, own in zip(arrays, taken, strict=True):
        np.testing.assert_array_equal(own, as_features(X))
    arrays[1][2, 1] = np.nan
    with pytest.raises(ValueError, match="b has NaN or infinite features in 1 of 4 rows, the first in row 2"):
        all_as_features(given.get(kind, arrays), "abc")


@pytest.mark.parametrize("shape", [(), (3,), (2, 2, 2), (0, 3), (3, 0)])
def test_features_that_are_not_a_table_are_refused(shape):
    with pytest.raises(ValueError, match=r"features must hold one row.*shape \(.*\)\. Flatten"):
        as_features(np.ones(shape), "features")


@pytest.mark.parametrize("X", [np.array([["a", "b"]]), np.array([[1j, 2]]), np.array([[None, 1.0]])])
def test_features_that_are_not_real_numbers_are_refused(X):
    with pytest.raises(ValueError, match="X must hold real numbers, but its dtype is"):
        as_features(X)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused_and_located(bad):
    X = np.ones((5, 3))
    X[3, 1] = X[4, 0] = bad
    with pytest.raises(ValueError, match="X_val has NaN or infinite features in 2 of 5 rows, the first in row 3"):
        as_features(X, "X_val")


@pytest.mark.parametrize("where", [0, 1])
def test_small_arrays_of_jax_stay_on_their_device(where):
    device = jax.devices()[where]
    taken = all_as_features([jax.device_put(jnp.eye(3), device)] * 2, "ab")
    assert taken.shape == (2, 3, 3) and taken.devices() == {device}


def masked(array):
    """With two entries masked."""
    mask = np.zeros(np.shape(array), bool)
    mask.flat[:2] = True
    return np.ma.masked_array(array, mask)


def test_what_is_masked_is_refused_and_an_empty_mask_is_none():
    X, y = np.eye(3), np.array([0, 1, 0])
    np.testing.assert_array_equal(as_features(np.ma.masked_array(X)), X)
    for given, take, of in ((X, as_features, 9), (y, as_labels, 3)):
        with pytest.raises(ValueError, match=rf"mine has 2 masked entries of {of}: drop these rows, or fill them in"):
            take(masked(given), "mine")


def test_what_is_masked_is_refused_block_by_block():
    X, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    for source in (masked(X), lambda: iter([X[:10], masked(X[10:])])):
        with pytest.raises(ValueError, match="RowBlocks has 2 masked entries"):
            jm.permutation_test(jm.Ridge(), jm.RowBlocks(source, shape=X.shape), y, validation=jm.Resubstitution())


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (1e40, r"X has features as large as 1\.0e\+40: their squares overflow in float32\. Divide"),
        (1e25, r"as large as 1\.0e\+25: their squares overflow in float32"),
        (1e-19, r"X has no feature larger than 1\.0e-19: their squares vanish in float32\. Multiply X by a constant"),
        (1e-42, r"no feature larger than 1\.0e-42: their squares vanish"),
        (1e-60, r"no feature larger than 1\.0e-60: their squares vanish"),
    ],
)
def test_features_whose_squares_overflow_or_vanish_are_refused(scale, message):
    with pytest.raises(ValueError, match=message):
        as_features(np.eye(3) * scale)


def test_features_whose_squares_vanish_are_refused_block_by_block():
    X = np.full((20, 2), 1e-19, np.float32)
    with pytest.raises(ValueError, match="X has no feature larger than"):
        as_rows(jm.RowBlocks(X))
    assert as_rows(jm.RowBlocks(np.zeros_like(X))).shape == X.shape


def test_small_features_that_are_none_or_compared_at_unit_length_are_taken(float64):
    np.testing.assert_array_equal(as_features(np.zeros((3, 2))), np.zeros((3, 2)))
    np.testing.assert_array_equal(as_features(np.eye(2) * 1e-40), np.eye(2) * 1e-40)
    assert all_as_features([np.eye(2, dtype=np.float32) * 1e-19], "a")[0].max() > 0


def test_numbers_that_a_block_cannot_hold_may_be_the_infinite_ones():
    with pytest.raises(ValueError, match=r"in 20 of 20 rows.*beyond 3\.4e\+38 is infinite in float32"):
        as_rows(jm.RowBlocks(np.full((20, 2), 1e40)))


def test_sparse_matrices_are_told_how_to_be_dense():
    with pytest.raises(ValueError, match=r"X is a sparse matrix of SciPy.*pass X\.toarray\(\)"):
        as_features(scipy.sparse.csr_matrix(np.eye(3)))


@pytest.mark.parametrize("several", [False, True])
def test_digits_that_a_cast_loses_are_told_by_column(several):
    """Column 1 is 1e7 and -3 to 3 beside it, where numbers of single precision are 1 apart; column 2 disappears."""
    X = np.random.default_rng(0).uniform(-3, 3, size=(200, 4)) + np.array([1e3, 1e7, 1e9, 0])
    X[:, 3] = 1e9  # Constant as it was given.
    words = r"[XZ] varies by little.*column 1 keeps 0\.8 digits, column 2 becomes constant\. Subtract X\.mean"
    with pytest.warns(RuntimeWarning, match=words) as told:
        all_as_features([X, X[::-1]], ["X", "Z"]) if several else as_features(X)
    assert len(told) == 1 + several


def test_whole_numbers_lose_digits_only_beyond_those_of_a_float():
    X = np.arange(100)[:, None] % 5
    np.testing.assert_array_equal(as_features(X + 10**7), X + 10**7)
    for offset in (2**40, 2**60):
        with pytest.warns(RuntimeWarning, match="column 0 becomes constant"):
            as_features(X + offset)


def test_double_precision_keeps_what_varies_beside_an_offset(float64):
    X = np.random.default_rng(0).normal(size=(20, 2)) + 1e7
    np.testing.assert_array_equal(as_features(X), X)


# --- Labels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        ([3, -1, 3, 7], [-1, 3, 7]),
        (np.array([3, 1, 3], np.uint8), [1, 3]),
        (["cat", "ant", "cat", "bee"], ["ant", "bee", "cat"]),
        (np.array(["b", "a"], object), ["a", "b"]),
        (np.array([b"b", b"a"]), [b"a", b"b"]),
        (np.array([True, False]), [False, True]),
        (jnp.array([5, 2, 5]), [2, 5]),
    ],
)
def test_labels_become_positions_among_the_sorted_classes(y, classes):
    labels = as_labels(y)
    assert labels.classes.tolist() == classes
    assert labels.codes.dtype == jnp.uint8
    np.testing.assert_array_equal(labels.classes[np.asarray(labels.codes)], np.asarray(y))


@pytest.mark.parametrize(("n_classes", "dtype"), [(256, jnp.uint8), (257, jnp.int32)])
def test_labels_take_one_byte_where_it_is_enough(n_classes, dtype):
    labels = as_labels(np.arange(n_classes))
    assert labels.codes.dtype == dtype
    np.testing.assert_array_equal(labels.codes, np.arange(n_classes))


def test_labels_of_a_test_set_are_positions_among_the_training_classes():
    classes = as_labels(["a", "b", "c"]).classes
    np.testing.assert_array_equal(as_labels(["c", "c", "a"], "y_val", classes).codes, [2, 2, 0])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0.0, 1.0], r"y must hold integers or strings, but its dtype is float64\. If .* y\.astype\(int\)"),
        ([[0, 1], [1, 0]], r"one label per row, shape \(n,\), but has shape \(2, 2\)"),
        ([], r"one label per row, shape \(n,\), but has shape \(0,\)"),
        (1, r"shape \(n,\), but has shape \(\)"),
        ([2, 2, 2], r"at least two classes, but every label is 2\."),
        (np.array(["a", 3], object), "but its dtype is object"),
        (["a", None], r"y is missing in 1 of 2 rows \(NaN or None\): drop these rows"),
        ([0.0, np.nan, np.nan], r"y is missing in 2 of 3 rows"),
        (pandas.array([1, None, 2]), r"y is missing in 1 of 3 rows"),
    ],
)
def test_labels_that_are_none_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        as_labels(y)


@pytest.mark.parametrize(
    ("y", "strangers"), [(["a", "z", "0"], "'0', 'z'"), ([0, 1], "0, 1")], ids=["other strings", "integers"]
)
def test_labels_of_unknown_classes_are_refused_by_name(y, strangers):
    with pytest.raises(ValueError, match=rf"y_val has classes that the training labels lack: \[{strangers}\]"):
        as_labels(y, "y_val", np.array(["a", "b"]))


# --- Keys, numbers and words -----------------------------------------------------------------------------------


def test_seeds_old_and_new_keys_are_the_same_key():
    expected = jax.random.key_data(jax.random.key(3))
    for key in (3, np.int64(3), jax.random.key(3), jax.random.PRNGKey(3)):
        taken = as_key(key)
        assert jnp.issubdtype(taken.dtype, jax.dtypes.prng_key) and taken.shape == ()
        np.testing.assert_array_equal(jax.random.key_data(taken), expected)


@pytest.mark.parametrize("key", [1.0, "0", None, True, np.zeros(2, np.uint32), jnp.zeros(2), jnp.zeros((), jnp.int32)])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ValueError, match="key must be an integer seed or one JAX key"):
        as_key(key)


def test_several_keys_are_refused():
    with pytest.raises(ValueError, match="one JAX key"):
        as_key(jax.random.split(jax.random.key(0)))


@pytest.mark.parametrize(
    "choice",
    [
        jm.KFold,
        lambda number: jm.KFold(seed=number),
        jm.KNeighbors,
        lambda number: jm.Softmax(max_steps=number),
        lambda number: jm.LinearSVM(max_steps=number),
        lambda number: jm.LDA(number - 2),
        jm.BesagClifford,
        NeighborOverlap,
        Shift,
        Cutout,
    ],
)
def test_integers_of_numpy_are_those_of_python(choice, unchecked):
    """To the last letter, for checkpoints and results know choices by that."""
    assert repr(choice(np.int64(3))) == repr(choice(np.uint8(3))) == repr(choice(3))
    assert choice(np.int64(3)) == choice(3) and hash(choice(np.int64(3))) == hash(choice(3))


@pytest.mark.parametrize(("value", "at_least"), [(1, 2), (-1, 0), (2.0, 1), (True, 0), ("3", 1), (None, 1)])
def test_what_is_no_number_of_things_is_refused(value, at_least, unchecked):
    with pytest.raises(ValueError, match=f"folds must be an integer >= {at_least}, but is {value!r}"):
        as_number(value, "folds", at_least)


def test_words_are_taken_or_the_nearest_named():
    assert one_of("less", ("greater", "less"), "alternative") == "less"
    with pytest.raises(ValueError, match=r"must be one of 'greater', 'less', but is 'lesser'\. Did you mean 'less'"):
        one_of("lesser", ("greater", "less"), "alternative")
    with pytest.raises(ValueError, match=r"but is 'xyz'\.$"):
        one_of("xyz", ("greater", "less"), "alternative")


def test_labels_that_are_identifiers_are_refused():
    with pytest.raises(ValueError, match="2000 classes for 2000 rows: these look like identifiers"):
        as_labels(np.arange(2_000))
    assert as_labels(np.arange(1_000)).classes.size == 1_000
    assert as_labels(np.repeat(np.arange(2_000), 2)).classes.size == 2_000
