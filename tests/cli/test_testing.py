"""`jaxmem test` on files: the library's numbers, a folder, and a word for every mistake."""

import json

import h5py
import jax
import numpy as np
import pandas
import pytest
from helpers import blobs

import jaxmem as jm
from jaxmem.cli import main
from jaxmem.cli.testing import classifier_of

X, y, copies = blobs(40, 3, 2, separation=3)
OPTIONS = ["--n-permutations", "49", "--quiet"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", X)
    np.save("y.npy", y)
    np.savez("copies.npz", X=copies[::-1], source=np.arange(40)[::-1])
    frame = pandas.DataFrame(X, columns=["a", "b", "c"]).assign(
        kind=np.array(["no", "yes"])[y], site=np.arange(40) // 20
    )
    frame.to_csv("table.csv", index=False)
    return tmp_path


def result_of(*arguments, output="jaxmem-test"):
    assert main(["test", *arguments, *OPTIONS, "--output", output]) == 0
    return jm.load(f"{output}/test.npz")


def assert_same_test(found, expected):
    np.testing.assert_allclose(found.null_distribution, expected.null_distribution, atol=1e-6)
    assert found.statistic == pytest.approx(expected.statistic)


def test_folds(here):
    expected = jm.permutation_test(
        jm.KNeighbors(3), X, y, validation=jm.KFold(4), metric="balanced_accuracy", n_permutations=49, key=5
    )
    options = ["--classifier", "knn:n_neighbors=3", "--folds", "4", "--metric", "balanced_accuracy", "--seed", "5"]
    found = result_of("X.npy", "y.npy", *options)
    assert_same_test(found, expected)
    assert sorted(path.name for path in (here / "jaxmem-test").iterdir()) == ["config.toml", "null.png", "test.npz"]
    assert not list(here.glob(".*"))


def test_copies_of_rows_that_are_named(here):
    design = jm.SharedStructure(copies)
    expected = jm.permutation_test(jm.Ridge(), X, y, validation=design, n_permutations=49)
    assert_same_test(result_of("X.npy", "y.npy", "--copies", "copies.npz", "--source", "source"), expected)


def test_a_table_with_blocks_and_a_holdout(here):
    expected = jm.permutation_test(
        jm.Ridge(),
        X,
        y,
        validation=jm.Holdout(X, y),
        n_permutations=49,
        scheme="within",
        blocks=np.arange(40) // 20,
    )
    found = result_of("table.csv", "kind", "--holdout", "table.csv", "--scheme", "within", "--blocks", "site")
    assert_same_test(found, expected)
    assert found.classes.tolist() == ["no", "yes"]


def test_memorization_repeated_by_its_configuration_and_told_as_json(here, capsys):
    found = result_of("X.npy", "y.npy", "--copies", "copies.npz", "--source", "source", "--memorization")
    expected = jm.memorization_test(jm.Ridge(), X, y, jm.SharedStructure(copies), n_permutations=49)
    assert found.memorization == pytest.approx(expected.memorization)
    assert main(["test", "--config", "jaxmem-test/config.toml", "--output", "again", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["validation"] == "copies of the rows (copies.npz)"
    assert said["memorization"] == found.memorization and said["learning_pvalue"] == found.learning_pvalue
    assert (here / "again/config.toml").read_text() == (here / "jaxmem-test/config.toml").read_text()


def taking(taken, test):
    """The test, which notes the features that it is given."""
    return lambda classifier, X, *rest, **choices: taken.append(X) or test(classifier, X, *rest, **choices)


@pytest.mark.parametrize("ending", ["npy", "h5", "zarr"])
@pytest.mark.parametrize(
    ("choices", "whole"),
    [
        (["--copies", "copies"], False),
        (["--copies", "copies", "--memorization"], False),
        (["--holdout", "copies", "--holdout-labels", "y.npy", "--classifier", "naive-bayes"], False),
        (["--holdout", "copies", "--holdout-labels", "y.npy", "--metric", "roc_auc"], True),
        (["--copies", "copies", "--classifier", "knn"], True),
        (["--copies", "copies", "--classifier", "lda:shrinkage='auto'"], True),
        (["--copies", "copies", "--classifier", "lda:priors=(0.5, 0.5)"], False),
        (["--folds", "4"], True),
    ],
)
def test_arrays_stay_in_their_files_where_rows_are_read_by_blocks(ending, choices, whole, here, monkeypatch):
    np.save("copies.npy", copies)
    with h5py.File("X.h5", "w") as features, h5py.File("copies.h5", "w") as of_copies:
        features["X"], of_copies["X"] = X, copies
    if ending == "zarr":
        zarr = pytest.importorskip("zarr")
        zarr.save_array("X.zarr", X)
        zarr.save_array("copies.zarr", copies)
    taken = []
    for name in ("permutation_test", "memorization_test"):
        monkeypatch.setattr(f"jaxmem.cli.testing.{name}", taking(taken, getattr(jm, name)))
    typed = [word if word != "copies" else f"copies.{ending}" for word in choices]
    found = result_of(f"X.{ending}", "y.npy", *typed, output="found")
    assert isinstance(taken[0], jm.RowBlocks) is not whole
    # The same out of an archive, which is read as a whole.
    np.savez("X.npz", X=X)
    np.savez("copies.npz", X=copies)
    typed = [word if word != "copies" else "copies.npz" for word in choices]
    assert_same_test(found, result_of("X.npz", "y.npy", *typed))
    assert isinstance(taken[1], jax.Array)


def test_features_that_do_not_fit_into_memory_are_said_to_be_such(here, capsys, monkeypatch):
    def too_large(*_):
        raise MemoryError("Unable to allocate 3.64 TiB")

    monkeypatch.setattr("jaxmem.cli.testing.as_features", too_large)
    assert main(["test", "X.npy", "y.npy"]) == 1
    assert "X.npy does not fit into memory: Unable to allocate 3.64 TiB. Rows are read" in capsys.readouterr().err


def test_the_p_value_is_printed(here, capsys):
    assert main(["test", "X.npy", "y.npy", "--n-permutations", "49"]) == 0
    text = capsys.readouterr().out
    assert "p = 0.02 (greater)\n  validation: 5 folds of the rows\n" in text and "null.png" in text
    assert main(["test", "X.npy", "y.npy"]) == 1
    assert "--force" in capsys.readouterr().err


def test_the_verdict_is_printed(here, capsys):
    choices = ["--copies", "copies.npz", "--source", "source", "--holdout", "X.npy", "--holdout-labels", "y.npy"]
    assert main(["test", "X.npy", "y.npy", *choices, "--memorization", "--n-permutations", "49"]) == 0
    text = capsys.readouterr().out
    assert "as Ridge(alpha=1.0, standardize=False) sees it" in text
    assert "  validation: copies of the rows (copies.npz) and independent rows (X.npy)\n" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["X.npy", "nothing.npy"], "there is no file nothing.npy"),
        (["table.csv", "knid"], "Did you mean 'kind'"),
        (["table.csv", "site"], "not numbers: 'kind'"),
        (["X.npy", "copies.npz"], "holds 'X', 'source': say which is meant as labels"),
        (["X.npy", "short.npy"], "X.npy has 40 rows, but short.npy has 39 labels"),
        (["X.npy", "y.npy", "--classifier", "rigde"], "Did you mean 'ridge'"),
        (["X.npy", "y.npy", "--classifier", "ridge:alhpa=1"], "Did you mean 'alpha'"),
        (["X.npy", "y.npy", "--classifier", "ridge:alpha"], "cannot be read: write 'ridge:alpha=1.0'"),
        (["X.npy", "y.npy", "--classifier", "ridge:alpha=-1.0"], "alpha must be a finite number > 0"),
        (["X.npy", "y.npy", "--classifier", "knn:n_neighbors=0"], "jaxmem: n_neighbors must be an integer >= 1"),
        (["X.npy", "y.npy", "--metric", "accuarcy"], "Did you mean 'accuracy'"),
        (["X.npy", "y.npy", "--copies", "X.npy", "--holdout", "X.npy"], "copies and holdout are both given"),
        (["X.npy", "y.npy", "--holdout-labels", "y.npy"], "--holdout-labels are there, but no holdout"),
        (["X.npy", "y.npy", "--holdout", "X.npy"], "--holdout-labels are missing: y.npy has the labels of X.npy"),
        (["table.csv", "table.csv:kind", "--holdout", "table.csv"], "or their name in table.csv."),
        (
            ["X.npy:foo", "y.npy"],
            "the array in X.npy cannot be 'foo', for that file is one array without a name: write",
        ),
        (
            ["X.npy", "kind"],
            "labels in X.npy cannot be 'kind', for that file is one array without a name; and there is no file kind. "
            "Give a file of them: .npy,",
        ),
        (["X.npy", "y.txt"], "and the file y.txt is of no kind that is read. Give a file of them: .npy,"),
        (["table.csv", "y.txt"], "'kind', 'site', but is 'y.txt'. And the file y.txt is of no kind that is read: .npy"),
        (
            ["table.csv", "kind", "--drop", "stie"],
            "table.csv to drop must be one of 'a', 'b', 'c', 'kind', 'site', but",
        ),
        (["table.csv", "kind", "--drop", "stie"], "is 'stie'. Did you mean 'site'?"),
        (["X.npy", "y.npy", "--drop", "a"], "of columns of tables, but X.npy is an array: leave out --drop."),
        (["X.npy", "y.npy", "--copies", "X.npy", "--folds", "5"], "copies are scored, and rows are not divided: leave"),
        (
            ["X.npy", "y.npy", "--copies", "rows.npy"],
            "rows.npy has 39 rows, but X.npy has 40: without --source they must be the same rows in the same order. "
            "Pass --source, the training row that each row of rows.npy was made from.",
        ),
        (
            ["X.npy", "y.npy", "--scheme", "within"],
            "--scheme within needs blocks: pass --blocks, one integer or string",
        ),
        (["X.npy", "ones.npy"], "ones.npy must hold at least two classes, but every label is 1."),
        (
            ["X.npy", "y.npy", "--copies", "X.npy", "--memorization", "--metric", "margin", "--alternative", "less"],
            "under free permutations: leave out --metric margin, --alternative less.",
        ),
        (["X.npy", "y.npy:foo"], "write y.npy alone. Or name a file of them."),
        (["X.npy", "y.npy", "--memorization"], "memorization is about perturbed copies"),
        (["X.npy", "y.npy", "--folds", "41"], "folds must be 2 to 40, the rows of X.npy, but is 41"),
        (["X.npy", "y.npy", "--folds", "1"], "folds must be 2 to 40"),
        (["table.csv", "labels"], "but is 'labels'. Or name a file of them."),
        (["german.csv", "y"], "columns of .csv are separated by commas"),
        (["head.csv", "y"], "head.csv cannot be read as .csv: it has no rows"),
        (["X.npy", "y.npy", "--n-permutations", "0"], "--n-permutations must be an integer >= 1"),
        (["bad.npy", "y.npy"], "bad.npy has NaN or infinite features in 40 of 40 rows"),
        (["bad.npy", "y.npy", "--copies", "X.npy"], "bad.npy has NaN or infinite features in 40 of 40 rows"),
        (["y.npy", "y.npy"], "y.npy must hold one row of features per example"),
        (["X.npy", "X.npy"], "labels: X.npy holds an array of shape (40, 3), expected one a row"),
        (["X.npy", "objects.npy"], "save numbers, or strings as array.astype(str)"),
        (["X.npy"], "file with a label per example"),
    ],
)
def test_a_mistake_is_said_clearly_and_leaves_nothing(arguments, words, here, capsys):
    np.save("short.npy", y[:-1])
    np.save("rows.npy", X[:-1])
    np.save("ones.npy", np.ones_like(y))
    np.savetxt("y.txt", y)
    np.save("bad.npy", np.full_like(X, np.nan))
    np.save("objects.npy", np.array(["a", None] * 20, object), allow_pickle=True)
    (here / "german.csv").write_text("a;y\n1,5;0\n2,5;1\n")
    (here / "head.csv").write_text("a,y\n")
    before = set(here.iterdir())
    try:
        code = main(["test", *arguments])
    except SystemExit as ended:  # How tyro ends on arguments that it cannot read.
        code = ended.code
    error = capsys.readouterr().err
    assert code in (1, 2) and words in error and "Traceback" not in error and "dummy" not in error
    assert set(here.iterdir()) == before


def test_classifiers_by_name_with_settings():
    assert classifier_of("ridge:alpha=(0.1, 1.0),standardize=True") == jm.Ridge((0.1, 1.0), True)
    assert classifier_of("knn10") == jm.KNeighbors(10) and classifier_of("svm") == jm.LinearSVM()
