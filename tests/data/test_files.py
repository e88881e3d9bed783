import gzip
import struct

import numpy as np
import pytest

import jaxmem.data as data
from jaxmem.data.arrays import stratified_split

RNG = np.random.default_rng(0)
X_TRAIN = RNG.integers(0, 256, (12, 5, 4), dtype=np.uint8)
X_TEST = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)
Y_TRAIN, Y_TEST = np.arange(12, dtype=np.uint8) % 3, np.arange(6, dtype=np.uint8) % 3
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture
def npz(tmp_path):
    """Write arrays and say where."""

    def write(**arrays):
        path = tmp_path / "own.npz"
        np.savez(path, **arrays)
        return path

    return write


def assert_own(dataset, name="own"):
    np.testing.assert_array_equal(dataset.X_train, X_TRAIN[..., None] / np.float32(255))
    np.testing.assert_array_equal(dataset.X_test, X_TEST[..., None] / np.float32(255))
    np.testing.assert_array_equal(dataset.y_train, Y_TRAIN)
    np.testing.assert_array_equal(dataset.y_test, Y_TEST)
    assert (dataset.name, dataset.class_names) == (name, ("0", "1", "2"))


@pytest.mark.parametrize("letter", "Xx")
def test_four_arrays_are_read_under_either_name(npz, letter):
    arrays = {f"{letter}_train": X_TRAIN, "y_train": Y_TRAIN, f"{letter}_test": X_TEST, "y_test": Y_TEST, "note": [1]}
    path = npz(**arrays)
    assert_own(data.load(path))
    assert_own(data.load(str(path), seed=3))


def test_colours_floats_and_columns_of_labels_are_read(npz):
    X = RNG.random((12, 5, 4, 3))
    dataset = data.load(npz(X_train=X, y_train=Y_TRAIN[:, None], X_test=X[:6], y_test=Y_TEST[:, None]))
    np.testing.assert_array_equal(dataset.X_train, X.astype(np.float32))
    np.testing.assert_array_equal(dataset.y_test, Y_TEST)


def test_one_pair_is_split_in_four_fifths_and_one_by_class(npz):
    X, y = RNG.integers(0, 256, (50, 3, 3), dtype=np.uint8), np.repeat([0, 1], [20, 30])
    path = npz(X=X, y=y)
    for seed in (0, 1):
        train, test = stratified_split(y, 40, seed)
        dataset = data.load(path, seed=seed)
        np.testing.assert_array_equal(dataset.X_train, X[train][..., None] / np.float32(255))
        np.testing.assert_array_equal(dataset.X_test, X[test][..., None] / np.float32(255))
        np.testing.assert_array_equal(dataset.y_train, y[train])
        np.testing.assert_array_equal(np.bincount(dataset.y_test), [4, 6])
    assert not np.array_equal(data.load(path).X_train, data.load(path, seed=1).X_train)


@pytest.mark.parametrize(
    ("values", "expected", "names"),
    [
        ([7, 3, 9], [1, 0, 2], ("3", "7", "9")),
        ([-1, 10, 2], [0, 2, 1], ("-1", "2", "10")),
        (["cat", "ant", "bee"], [2, 0, 1], ("ant", "bee", "cat")),
    ],
)
def test_classes_are_numbered_in_order_and_keep_their_names(npz, values, expected, names):
    y_train, y_test = np.array(values)[Y_TRAIN], np.array(values)[Y_TEST]
    dataset = data.load(npz(X_train=X_TRAIN, y_train=y_train, X_test=X_TEST, y_test=y_test))
    np.testing.assert_array_equal(dataset.y_train, np.array(expected)[Y_TRAIN])
    np.testing.assert_array_equal(dataset.y_test, np.array(expected)[Y_TEST])
    assert dataset.class_names == names


def test_a_class_that_only_one_part_has_counts_for_both(npz):
    dataset = data.load(npz(X_train=X_TRAIN, y_train=Y_TRAIN + 4, X_test=X_TEST, y_test=Y_TEST.astype(np.int64)))
    assert dataset.class_names == ("0", "1", "2", "4", "5", "6")
    np.testing.assert_array_equal(dataset.y_train, Y_TRAIN + 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_test": None}, r"holds the arrays \['X_test', 'X_train', 'y_train'\]; expected X_train, y_train, X_test"),
        ({"X_train": X_TRAIN.astype(int)}, r"X_train is int64; expected uint8, or floats in \[0, 1\]"),
        ({"X_train": X_TRAIN.astype(float)}, r"pixels from .* expected \[0, 1\]: rescale"),
        ({"X_train": np.full((12, 5, 4), np.nan)}, r"pixels from nan"),
        ({"X_train": X_TRAIN.reshape(12, 20)}, r"X_train has shape \(12, 20\); expected images of shape \(n, h, w\)"),
        ({"X_train": np.uint8(3)}, r"X_train has shape \(\)"),
        ({"X_train": np.zeros((12, 3, 8, 8))}, r"channels last: write X.transpose\(0, 2, 3, 1\)"),
        ({"X_test": X_TEST[:, :3]}, "one network must read both"),
        ({"X_test": X_TEST[:0], "y_test": Y_TEST[:0]}, "non-empty"),
        ({"y_train": Y_TRAIN[:11]}, r"y_train has shape \(11,\); expected \(12,\), one label per image"),
        ({"y_train": np.eye(3)[Y_TRAIN]}, r"write y.argmax\(1\)"),
        ({"y_train": Y_TRAIN / 2}, "y_train is float64; expected integers or strings"),
        ({"y_test": Y_TEST > 0}, "y_test is bool; expected integers or strings"),
        ({"y_test": np.array([{}] * 6)}, "arrays of Python objects are never loaded"),
    ],
)
def test_malformed_arrays_are_refused(npz, unchecked, change, message):
    arrays = {"X_train": X_TRAIN, "y_train": Y_TRAIN, "X_test": X_TEST, "y_test": Y_TEST} | change
    with pytest.raises(ValueError, match=message):
        data.load(npz(**{key: array for key, array in arrays.items() if array is not None}))


def test_a_class_too_rare_to_split_is_named(npz):
    with pytest.raises(ValueError, match="class 1 has 1 rows"):
        data.load(npz(X=X_TRAIN, y=(np.arange(12) == 3).astype(int)))


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "own.npz"
    with pytest.raises(ValueError, match=r"there is no file .*own.npz"):
        data.load(path)
    np.savez(path, X=X_TRAIN, y=Y_TRAIN)
    whole = path.read_bytes()
    array = tmp_path / "array.npy"
    np.save(array, X_TRAIN)
    flipped = whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]
    for content in (b"", b"words", whole[: len(whole) // 2], flipped, array.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot be read as an .npz archive"):
            data.load(str(path))


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, array in zip(NAMES, (X_TRAIN, Y_TRAIN, X_TEST, Y_TEST), strict=True):
        (folder / name).write_bytes(idx(array))
    return folder


def test_a_folder_of_idx_files_is_read(folder, monkeypatch):
    (folder / "README").write_text("about")
    assert_own(data.load(folder), "mine")
    monkeypatch.chdir(folder.parent)
    for name in ("mine", "./mine", "mine/", "../" + folder.parent.name + "/mine"):
        assert_own(data.load(name), "mine")


def test_gzipped_files_other_spellings_and_four_paths_are_read(folder):
    for name in NAMES:
        raw = (folder / name).read_bytes()
        (folder / name).unlink()
        spelling = name.replace("-idx", ".idx").replace("t10k", "test") + ".gz"
        (folder / spelling).write_bytes(gzip.compress(raw))
    assert_own(data.load(folder), "mine")
    assert_own(data.load(tuple(sorted(folder.iterdir()))), "mine")
    assert_own(data.load([str(path) for path in folder.iterdir()]), "mine")


def test_of_two_copies_the_plain_one_is_read(folder):
    (folder / f"{NAMES[0]}.gz").write_bytes(gzip.compress(idx(X_TRAIN[::-1])))
    assert_own(data.load(folder), "mine")


def test_a_name_means_the_data_set_and_a_path_the_folder(folder, monkeypatch):
    folder.rename(folder.with_name("mnist"))
    monkeypatch.chdir(folder.parent)
    with pytest.raises(ValueError, match="'mnist' is not prepared"):
        data.load("mnist")
    assert_own(data.load("./mnist"), "mnist")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-1], r"announces \(12, 5, 4\), 240 values, and holds 239: download it again"),
        (lambda raw: raw + b"\0", "240 values, and holds 241"),
        (lambda raw: raw[:9], "ends within its header"),
        (lambda raw: b"", "begins with nothing; expected 00 00 08 03"),
        (lambda raw: b"\0\0\x0d" + raw[3:], "begins with 00 00 0d 03; expected 00 00 08 03"),
        (lambda raw: idx(Y_TRAIN), "begins with 00 00 08 01; expected 00 00 08 03, IDX of unsigned bytes with 3 axes"),
        (lambda raw: b"<html>", "begins with 3c 68 74 6d"),
        (lambda raw: gzip.compress(raw)[:-12], "damaged gzip"),
        (lambda raw: gzip.compress(raw)[:20] + b"damage" + gzip.compress(raw)[26:], "damaged gzip"),
        (lambda raw: idx(X_TRAIN[:11]), r"train labels has shape \(12,\); expected \(11,\)"),
    ],
)
def test_malformed_idx_files_are_refused(folder, damage, message):
    path = folder / NAMES[0]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        data.load(folder)


def test_missing_idx_files_are_named(folder, tmp_path):
    (folder / NAMES[3]).unlink()
    (folder / NAMES[1]).unlink()
    with pytest.raises(ValueError, match=f"'mine' lacks {NAMES[1]}, {NAMES[3]}; found"):
        data.load(folder)
    with pytest.raises(ValueError, match="lacks train-images"):
        data.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="lacks train-images"):
        data.load([])
    with pytest.raises(ValueError, match="cannot be read"):
        data.load([tmp_path / "nowhere" / name for name in NAMES])
    with pytest.raises(ValueError, match="is not prepared in"):  # a word that is neither a folder nor a name
        data.load(str(tmp_path / "nowhere"))
