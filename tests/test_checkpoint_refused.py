"""What a checkpoint refuses, and leaves as it is: files of other tests, damaged files, paths where no file can be."""

import os

import jax
import numpy as np
import pytest
from helpers import blobs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import jaxmem as jm
from jaxmem import checkpoint, scoring
from jaxmem.archives import read_archive, write_archive

X, y, X_val = blobs(30, 5, 3, separation=0.7)
SHARED = jm.SharedStructure(X_val)
TREE = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0))


def run(classifier=None, X=X, y=y, validation=SHARED, **options):
    options = {"n_permutations": 29, "batch_size": 4, "progress": False} | options
    return jm.permutation_test(classifier or jm.Ridge(), X, y, validation=validation, **options)


@pytest.mark.parametrize(
    ("differs", "change"),
    [
        ("features", {"X": X + 1e-6}),
        ("features", {"X": X.astype(np.float32)[:, ::-1]}),
        ("labels", {"y": np.roll(y, 1)}),
        ("validations", {"validation": jm.SharedStructure(X_val + 1e-6)}),
        ("validations", {"validation": jm.SharedStructure(X_val, np.arange(30)[::-1])}),
        ("validations", {"validation": jm.Holdout(X_val, y)}),
        ("validations", {"validation": jm.KFold(3)}),
        ("classifier", {"classifier": jm.Ridge(2.0)}),
        ("classifier", {"classifier": TREE}),
        ("metric", {"metric": "balanced_accuracy"}),
        ("metric", {"metric": lambda scores, labels: scores[0, 0]}),
        ("permutations", {"key": 1}),
        ("permutations", {"key": jax.random.key(0, impl="rbg")}),
        ("permutations", {"scheme": "within", "blocks": np.arange(30) % 2}),
        ("kinds", {"example_scores": True}),
        ("precision", {"precision": "bfloat16"}),
    ],
)
def test_a_checkpoint_of_another_test_is_refused_and_left(differs, change, tmp_path):
    run(checkpoint=tmp_path / "file")
    before = (tmp_path / "file").read_bytes()
    with pytest.raises(ValueError, match=f"file is of another test: it differs in .*{differs}.* It was left as it is."):
        run(**change, checkpoint=tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == before and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "change",
    [
        {"X": X.tolist(), "y": np.array(["a", "b", "c"])[y]},
        {"batch_size": 7},
        {"n_permutations": 40},
        {"alternative": "less"},
        {"key": jax.random.PRNGKey(0)},
        {"stopping": jm.BesagClifford(3)},
    ],
)
def test_what_does_not_decide_the_numbers_may_change(change, tmp_path):
    whole = run(checkpoint=tmp_path / "file")
    test = run(**change, checkpoint=tmp_path / "file")
    n = min(len(test.null_distribution), 29)
    np.testing.assert_array_equal(test.null_distribution[:n], whole.null_distribution[:n])


def test_a_pipeline_is_known_by_all_of_its_parameters(tmp_path):
    long = [("step" + "x" * 300 + str(number), StandardScaler()) for number in range(3)]
    one, other = (
        make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)).set_params(
            steps=[*long, ("tree", DecisionTreeClassifier(random_state=0, max_depth=depth))]
        )
        for depth in (2, 3)
    )
    run(one, n_permutations=3, checkpoint=tmp_path / "file")
    with pytest.raises(ValueError, match="differs in classifier"):
        run(other, n_permutations=3, checkpoint=tmp_path / "file")


def test_a_function_that_was_changed_is_another_test(tmp_path, monkeypatch):
    def options(shift):
        return {
            "classifier": make_pipeline(
                FunctionTransformer(lambda x: x + shift), DecisionTreeClassifier(random_state=0)
            ),
            "metric": lambda scores, labels: scores[0, 0] + shift,
            "n_permutations": 3,
            "checkpoint": tmp_path / "file",
        }

    before = run(**options(1))
    np.testing.assert_array_equal(run(**options(1)).null_distribution, before.null_distribution)
    with pytest.raises(ValueError, match="differs in classifier, metric"):
        run(**options(2))
    with jax.threefry_partitionable(False), pytest.raises(ValueError, match="differs in generator"):
        run(**options(1))
    monkeypatch.setattr(checkpoint, "version", lambda package: "another")
    with pytest.raises(ValueError, match="differs in versions"):
        run(**options(1))


def foreign_files(folder):
    run(checkpoint=folder / "whole").save(folder / "result")
    whole = (folder / "whole").read_bytes()
    arrays, header = read_archive(folder / "whole", "checkpoint")
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("my thesis")
    (folder / "half").write_bytes(whole[: len(whole) // 2])
    middle = whole.index(arrays["scores/0/paired"].tobytes()) + 100
    (folder / "flipped").write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    for name, change in {"count": {"n_labellings": 29}, "words": {"n_labellings": "30"}, "list": {"run": [1]}}.items():
        write_archive(folder / name, arrays, header | change)
    write_archive(folder / "bare", {}, header)
    write_archive(folder / "names", arrays | {"scores/7/paired": arrays["scores/0/paired"]}, header)
    write_archive(folder / "type", {"scores/0/paired": np.array(["x"] * 30)}, header)
    write_archive(folder / "converged", arrays | {"diagnostics/converged": np.ones(30)}, header)
    write_archive(folder / "member", arrays | {"more": np.zeros(3)}, header)
    (folder / "whole").unlink()
    return sorted(os.listdir(folder))


def test_damaged_and_foreign_files_are_refused_and_left(tmp_path):
    names = foreign_files(tmp_path)
    assert len(names) == 13
    for name in names:
        before = (tmp_path / name).read_bytes()
        with pytest.raises(ValueError, match=rf"{name} is (no checkpoint|damaged).* It was left as it is\. Remove it"):
            run(checkpoint=tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == names


@pytest.mark.parametrize("version", [0, 2, "1"])
def test_another_format_is_refused_and_left(version, tmp_path):
    run(checkpoint=tmp_path / "file")
    arrays, header = read_archive(tmp_path / "file", "checkpoint")
    write_archive(tmp_path / "file", arrays, header | {"checkpoint": version})
    before = (tmp_path / "file").read_bytes()
    with pytest.raises(ValueError, match=f"has format {version}, but this jaxmem reads 1. It was left as it is"):
        run(checkpoint=tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == before


def test_a_checkpoint_of_other_validations_is_not_called_damaged(tmp_path):
    both = {"a": SHARED, "b": jm.SharedStructure(X_val + 0.1)}
    options = {"n_permutations": 9, "progress": False, "checkpoint": tmp_path / "file"}
    jm.memorization_tests(jm.Ridge(), X, y, both, **options)
    with pytest.raises(ValueError, match=r"is of another test: it differs in .*validations"):
        run(n_permutations=9, checkpoint=tmp_path / "file")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (3, "checkpoint must be a path, or None, but is 3"),
        (".", "'.' is a folder: add a name"),
        ("", "'' is a folder: add a name"),
        ("folder", "'folder' is a folder: add a name"),
        ("a.npz/x", "would lie in a.npz, which is no folder"),
        ("a.npz/x/y", "would lie in a.npz, which is no folder"),
    ],
)
def test_a_path_where_no_file_can_be_is_refused_at_once(path, message, tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.npz").write_text("a file")
    monkeypatch.setattr(scoring, "fits_of", None)
    with pytest.raises(ValueError, match=message):
        jm.permutation_test(jm.Ridge(), X, y, validation=SHARED, checkpoint=path)


@pytest.mark.parametrize(
    ("path", "message"), [(3, "a path, or None, but is 3"), ("file", "file is a file"), ("file/x", "would lie in file")]
)
def test_a_family_needs_a_folder(path, message, tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")
    monkeypatch.setattr(scoring, "fits_of", None)
    with pytest.raises(ValueError, match=message):
        jm.permutation_tests({"a": (X, X_val)}, y, checkpoint=path)


def test_a_call_that_is_refused_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="n_neighbors is 31"):
        run(jm.KNeighbors(31), checkpoint=tmp_path / "file")
    assert os.listdir(tmp_path) == []
