"""The same features and labels out of every kind of file, and what is said of files that hold none."""

import h5py
import numpy as np
import pandas
import pytest

from jaxmem.data.tables import read_features, read_labels

X = np.array([[1.5, 2.0], [3.0, -4.0], [0.0, 1e-3]])
WORDS = ["b", "a", "b"]
TABLE = pandas.DataFrame({"one": X[:, 0], "word": WORDS, "two": X[:, 1]})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", X)
    np.save("y.npy", np.array(WORDS))
    np.savez("a.npz", X=X, y=[1, 0, 1], other=-X)
    TABLE.to_csv("t.csv", index=False)
    TABLE.to_csv("t.tsv", index=False, sep="\t")
    np.savetxt("plain.csv", X, delimiter=",")
    with h5py.File("a.h5", "w") as file:
        file["group/X"], file["word"] = X, WORDS
    return tmp_path


@pytest.mark.parametrize("where", ["X.npy", "a.npz", "a.npz:X", "a.h5:group/X", "t.csv", "t.tsv", "plain.csv"])
def test_features_are_the_same_out_of_every_file(here, where):
    found = read_features(where, without=["word"])
    np.testing.assert_array_equal(found.values, X)
    assert found.columns == {"t": ("one", "two"), "p": ("0", "1")}.get(where[0])


@pytest.mark.parametrize(
    ("where", "beside"),
    [("y.npy", "X.npy"), ("word", "t.csv"), ("t.tsv:word", "X.npy"), ("word", "a.h5:group/X"), ("a.h5:word", "X.npy")],
)
def test_labels_stand_in_a_file_or_beside_the_features(here, where, beside):
    np.testing.assert_array_equal(read_labels(where, beside), WORDS)


def test_parquet_and_zarr(here):
    pytest.importorskip("pyarrow")
    zarr = pytest.importorskip("zarr")
    TABLE.to_parquet("t.parquet")
    zarr.save_array("x.zarr", X)
    zarr.save_group("g.zarr", X=X, y=np.array([1, 0, 1]))
    for where in ("t.parquet", "x.zarr", "g.zarr:X"):
        np.testing.assert_array_equal(read_features(where, without=["word"]).values, X)
    np.testing.assert_array_equal(read_labels("word", "t.parquet"), WORDS)
    np.testing.assert_array_equal(read_labels("y", "g.zarr"), [1, 0, 1])


@pytest.mark.parametrize(("package", "file"), [("zarr", "x.zarr"), ("pyarrow", "x.parquet")])
def test_a_package_that_is_missing_is_named(here, monkeypatch, package, file):
    (here / file).touch()
    for name in (package, "fastparquet"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ValueError, match=r"pip install 'jaxmem\[files\]'"):
        read_features(file)


def test_columns_are_taken_by_name_in_the_order_of_the_others(here):
    TABLE[["word", "two", "one"]].to_csv("turned.csv", index=False)
    np.testing.assert_array_equal(read_features("turned.csv", columns=("one", "two")).values, X)
    with pytest.raises(ValueError, match="lacks columns that the other features have: 'three'"):
        read_features("turned.csv", columns=("one", "three"))


def test_whole_numbers_are_classes_and_others_are_not(here):
    np.save("whole.npy", [[1.0], [0.0], [1.0]])
    assert read_labels("whole.npy", "X.npy").tolist() == [1, 0, 1]
    np.save("half.npy", [1.5, 0.0, 1.0])
    with pytest.raises(ValueError, match="numbers that are not whole"):
        read_labels("half.npy", "X.npy")
    np.save("infinite.npy", [1.0, np.inf, 1.0])
    with pytest.raises(ValueError, match="numbers that are not whole"):
        read_labels("infinite.npy", "X.npy")


@pytest.mark.parametrize(
    ("content", "words"), [("a,b\n1,x\n2,\n", "missing in 1 of 2"), ("a,b\n1,1\n2,\n", "missing in 1 of 2")]
)
def test_labels_that_are_missing_are_said(here, content, words):
    (here / "gaps.csv").write_text(content)
    with pytest.raises(ValueError, match=words):
        read_labels("b", "gaps.csv")


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("t.csv", "not numbers: 'word'"),
        ("t.csv:one", "leave out 'one'"),
        ("a.npz:Y", "must be one of 'X', 'y', 'other'"),
        ("a.h5", "holds 'group/X', 'word': say which"),
        ("nothing.npy", "there is no file nothing.npy"),
        ("X.txt", "of no kind that is read"),
        ("bad.npy", "bad.npy cannot be read as .npy: EOF: reading magic string, expected 8 bytes got 3"),
        ("bad.npz", "bad.npz cannot be read as .npz: it is not a zip archive"),
        ("renamed.npz", "renamed.npz cannot be read as .npz: it is not a zip archive"),
        ("bad.h5", "cannot be read as .h5"),
        ("bad.csv", "cannot be read as .csv"),
        ("objects.npy", "cannot be read as .npy"),
        ("index.csv", "column 0, counted from 0, has no name"),
        ("twice.csv", "twice.csv cannot be read as .csv: several columns are called 'one', 'two': give each a name"),
        ("X.npy:foo", "the array in X.npy cannot be 'foo', .* one array without a name: write X.npy alone"),
    ],
)
def test_files_without_features_are_refused(here, where, words):
    for name in ("bad.npy", "bad.npz", "bad.h5", "bad.csv"):
        (here / name).write_bytes(b"\xff\xfe\x00" if name != "bad.csv" else b"")
    (here / "renamed.npz").write_bytes((here / "X.npy").read_bytes())
    (here / "twice.csv").write_text("two,one,one,two,word\n1,2,3,4,5\n")
    TABLE.to_csv("index.csv")  # Of rows that are sorted by class, the index tells the class.
    np.save("objects.npy", np.array([{}, 1], object), allow_pickle=True)
    with pytest.raises(ValueError, match=words):
        read_features(where)
