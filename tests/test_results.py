"""Results: saved and loaded whole, without running code, or not at all."""

import gc
import json
import os
import pickle
import zipfile
from dataclasses import replace
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import blobs
from scipy import stats

import jaxmem as jm
from jaxmem.permutations import shuffles
from jaxmem.results import base as results

X, y, X_val = blobs(30, 5, 3)
NAMES = np.array(["ant", "bee", "elephant"])[y]
OPTIONS = {"n_permutations": 19, "key": 4}


@pytest.fixture(scope="module")
def permuted():
    return jm.permutation_test(jm.Ridge(0.5), X, NAMES, validation=jm.SharedStructure(X_val), **OPTIONS)


@pytest.fixture(scope="module")
def memorized():
    return jm.memorization_test(jm.KNeighbors(), X, y, jm.SharedStructure(X_val), **OPTIONS)


@pytest.fixture(scope="module")
def memorized_and_tested():
    test = jm.Holdout(X_val, y)
    return jm.memorization_test(jm.KNeighbors(), X, y, jm.SharedStructure(X_val), test=test, **OPTIONS)


ALL = ["permuted", "memorized", "memorized_and_tested"]


@pytest.mark.parametrize("name", ALL)
def test_loading_gives_back_what_was_saved(name, request, tmp_path):
    saved = request.getfixturevalue(name)
    saved.save(tmp_path / "result")
    assert os.listdir(tmp_path) == ["result"]  # under the very name asked for, and nothing beside it
    loaded = jm.load(str(tmp_path / "result"))
    assert type(loaded) is type(saved)
    for field, value in vars(saved).items():
        if field == "up_to":  # Holds the features, and is neither saved nor pickled.
            continue
        again = getattr(loaded, field)
        assert type(again) is type(value)
        np.testing.assert_array_equal(again, value)
        if isinstance(value, np.ndarray):
            assert again.dtype == value.dtype
    assert repr(loaded) == repr(saved)
    for index in (0, 1, 19):
        np.testing.assert_array_equal(loaded.labels(index), saved.labels(index))


@pytest.mark.parametrize("name", ALL)
def test_nothing_in_the_file_is_pickled(name, request, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a result was pickled or unpickled")

    for function in ("dump", "dumps", "load", "loads"):
        monkeypatch.setattr(pickle, function, refuse)
    request.getfixturevalue(name).save(tmp_path / "result.npz")
    jm.load(tmp_path / "result.npz")
    with np.load(tmp_path / "result.npz", allow_pickle=False) as archive:
        assert all(archive[member].dtype != object for member in archive)


def test_statements_of_a_test_by_hand():
    values = {"statistic": 3.0, "pvalue": 0.6, "null_distribution": np.array([5.0, 3.0, 1.0, 1.0])}
    common = {"classifier": "Ridge()", "y": np.array([0, 1]), "classes": np.array([0, 1]), "metric": "accuracy"}
    key = {"key_data": np.zeros(2, np.uint32), "key_impl": "threefry2x32", "n_permutations": 4}
    test = jm.PermutationTest(**values, **common, **key, alternative="greater")
    assert test.min_pvalue == 1 / 5
    assert test.mid_pvalue == (1 + 1) / 5  # 5 above; 3 and the observed one half each.
    assert test.zscore == pytest.approx(0.5 / np.std([5, 3, 1, 1]))
    # Two of four at least as extreme.
    assert test.confidence_interval() == pytest.approx(tuple(stats.binomtest(2, 4).proportion_ci(0.95)))
    assert "Phipson & Smyth" in test.pvalue_method
    assert np.isnan(replace(test, null_distribution=np.full(60, 1 / 3 + 1e-17)).zscore)
    two_sided = replace(test, alternative="two-sided", pvalue=1.0)
    low, high = two_sided.confidence_interval(0.9, "wilson")
    interval = stats.binomtest(2, 4).proportion_ci(0.9, "wilson")  # Twice the smaller tail, 3 / 5, capped.
    assert (low, high) == pytest.approx((2 * interval.low, min(1, 2 * interval.high)))
    assert two_sided.min_pvalue == 2 / 5
    exact = replace(test, exact=True)
    assert exact.confidence_interval() == (0.6, 0.6) and "every labelling" in exact.pvalue_method


def test_statements_about_every_value_of_a_hyperparameter():
    test = jm.permutation_test(
        jm.Ridge((0.1, 10.0)), X, NAMES, validation=jm.SharedStructure(X_val), progress=False, **OPTIONS
    )
    low, high = test.confidence_interval()
    assert test.zscore.shape == test.mid_pvalue.shape == low.shape == (2,)
    assert (low < test.pvalue).all() and (test.mid_pvalue < test.pvalue).all() and (low <= high).all()


class _Trap:
    def __reduce__(self):
        return (_spring, ())


def _spring():
    raise AssertionError("the file ran code")


def test_loading_runs_no_code_of_the_file(permuted, tmp_path):
    permuted.save(tmp_path / "result.npz")
    with np.load(tmp_path / "result.npz") as archive:
        arrays = dict(archive)
    arrays["y"] = np.array([_Trap()], object)
    np.savez(tmp_path / "result.npz", **arrays)
    with pytest.raises(ValueError, match=r"is no result that jaxmem saved.*allow_pickle"):
        jm.load(tmp_path / "result.npz")


def test_labels_are_the_permutations_of_the_observed_ones(permuted):
    stream = shuffles(jax.random.key(4), 30)
    np.testing.assert_array_equal(permuted.labels(0), NAMES)
    for index in (1, 19, 1_000):
        np.testing.assert_array_equal(permuted.labels(index), NAMES[np.asarray(stream.permutation(index))])
    with pytest.raises(ValueError, match="index must be >= 0"):
        permuted.labels(-1)


def test_saving_replaces_an_older_result(permuted, memorized, tmp_path):
    memorized.save(tmp_path / "result.npz")
    permuted.save(tmp_path / "result.npz")
    assert isinstance(jm.load(tmp_path / "result.npz"), jm.PermutationTest)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(permuted, memorized, tmp_path, monkeypatch):
    memorized.save(tmp_path / "result.npz")

    def half_a_file(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(results.np, "savez", half_a_file)
        with pytest.raises(OSError, match="disk full"):
            permuted.save(tmp_path / "result.npz")
    assert os.listdir(tmp_path) == ["result.npz"]
    assert isinstance(jm.load(tmp_path / "result.npz"), jm.MemorizationTest)


def test_a_path_that_cannot_be_written_leaves_nothing(permuted, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        permuted.save(tmp_path / "folder")
    with pytest.raises(FileNotFoundError):
        permuted.save(tmp_path / "nowhere" / "result.npz")
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == []


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        jm.load(tmp_path / "result.npz")


def write(path, header, **arrays):
    np.savez(path, __jaxmem__=np.array(json.dumps(header)), **arrays)


def test_a_file_of_a_newer_version_asks_for_an_upgrade(permuted, tmp_path):
    permuted.save(tmp_path / "result.npz")
    with np.load(tmp_path / "result.npz") as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays.pop("__jaxmem__")))
    write(tmp_path / "newer.npz", header | {"jaxmem": results.FORMAT + 1}, **arrays)
    with pytest.raises(ValueError, match=f"format {results.FORMAT + 1}, .* up to {results.FORMAT}: upgrade jaxmem"):
        jm.load(tmp_path / "newer.npz")


def foreign_files(path, saved):
    saved.save(path / "whole.npz")
    whole = (path / "whole.npz").read_bytes()
    (path / "empty").write_bytes(b"")
    (path / "text").write_text("not a result")
    middle = whole.index(b"null_distribution") + 200
    (path / "flipped").write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    np.save(path / "array.npy", np.zeros(3))
    np.savez(path / "archive.npz", a=np.zeros(3))
    np.savez(path / "objects.npz", __jaxmem__=np.array({"jaxmem": 1}, object))
    write(path / "type.npz", {"jaxmem": results.FORMAT, "type": "os.system"})
    write(path / "list.npz", [1, 2])
    with zipfile.ZipFile(path / "zip.npz", "w") as archive:
        archive.writestr("__jaxmem__.npy", "nonsense")
    (path / "whole.npz").unlink()
    return sorted(os.listdir(path))


def test_foreign_and_corrupted_files_are_refused(permuted, tmp_path):
    names = foreign_files(tmp_path, permuted)
    assert len(names) == 9
    for name in names:
        with pytest.raises(ValueError, match=f"{name} is no result that jaxmem saved"):
            jm.load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("array.npy", "it is no archive of arrays, or only the beginning of one"),
        ("text.txt", "it is no archive of arrays, or only the beginning of one"),
        ("foreign.npz", "it is an archive that something else than jaxmem wrote"),
        ("checkpoint.npz", "it holds something else, the checkpoint of a test say"),
    ],
)
def test_what_is_loaded_instead_of_a_result_is_told_in_plain_words(name, why, tmp_path):
    np.save(tmp_path / "array.npy", np.eye(2))
    (tmp_path / "text.txt").write_text("0\n1\n")
    np.savez(tmp_path / "foreign.npz", X=np.eye(2))
    write(tmp_path / "checkpoint.npz", {"run": {}})
    with pytest.raises(ValueError, match=rf"{name} is no result that jaxmem saved: {why}\.$"):
        jm.load(tmp_path / name)


def test_a_truncated_file_is_refused_and_closed_again(permuted, tmp_path):
    permuted.save(tmp_path / "whole.npz")
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half.npz is no result that jaxmem saved"):
        jm.load(tmp_path / "half.npz")
    gc.collect()  # A handle left open would warn here.


@pytest.mark.parametrize("change", [{"type": "SimilarityTest"}, {"type": "SimilarityTest", "groups": 3}])
def test_a_kind_of_result_that_came_later_asks_for_an_upgrade(change, tmp_path):
    write(tmp_path / "newer.npz", {"jaxmem": results.FORMAT + 1} | change)
    with pytest.raises(ValueError, match="upgrade jaxmem"):
        jm.load(tmp_path / "newer.npz")


@pytest.mark.parametrize("header", [{"type": "PermutationTest"}, {"type": "PermutationTest", "unknown": 1}])
def test_a_result_with_missing_or_unknown_parts_is_refused(header, tmp_path):
    write(tmp_path / "parts.npz", {"jaxmem": results.FORMAT} | header)
    with pytest.raises(ValueError, match="is no result that jaxmem saved"):
        jm.load(tmp_path / "parts.npz")


@pytest.mark.skipif(os.name == "nt", reason="permission bits")
def test_a_saved_file_is_as_readable_as_any_other(permuted, tmp_path):
    permuted.save(tmp_path / "result.npz")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "result.npz").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("implementation", ["rbg", "unsafe_rbg"])
def test_labels_belong_to_the_kind_of_key_that_drew_them(implementation, tmp_path):
    key = jax.random.key(4, impl=implementation)
    test = jm.permutation_test(jm.KNeighbors(), X, y, validation=jm.SharedStructure(X), n_permutations=19, key=key)
    expected = y[np.asarray(shuffles(key, 30).permutation(2))]
    np.testing.assert_array_equal(test.labels(2), expected)
    test.save(tmp_path / "result.npz")
    np.testing.assert_array_equal(jm.load(tmp_path / "result.npz").labels(2), expected)


def test_results_print_their_numbers(permuted, memorized):
    assert "Ridge(alpha=0.5" in repr(permuted) and f"statistic {permuted.statistic:.4f}" in repr(permuted)
    assert f"p = {permuted.pvalue:.4g} (greater)" in repr(permuted) and "B = 19" in repr(permuted)
    assert f"observed {memorized.statistic:.4f}" in repr(memorized)


def test_results_keep_a_key_of_the_old_kind():
    old = jm.permutation_test(
        jm.Ridge(), X, y, validation=jm.SharedStructure(X_val), n_permutations=19, key=jax.random.PRNGKey(4)
    )
    np.testing.assert_array_equal(old.key_data, jax.random.key_data(jax.random.key(4)))
    np.testing.assert_array_equal(
        old.labels(2), y[np.asarray(shuffles(jax.random.key(4), 30).permutation(jnp.int32(2)))]
    )


@pytest.mark.parametrize(
    "change",
    [
        {"statistic": "0.5"},
        {"n_permutations": 19.0},
        {"n_permutations": True},
        {"exact": None},
        {"classifier": ["Ridge"]},
        {"y": np.zeros((3, 2), int)},
        {"y": np.zeros(30)},
        {"null_distribution": np.array(["x"] * 19)},
        {"pvalue": np.zeros((2, 2))},
    ],
    ids=str,
)
def test_fields_of_another_type_or_shape_are_refused(change, permuted, tmp_path, unchecked):
    permuted.save(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays.pop("__jaxmem__")))
    (name,) = change
    header.pop("members")
    header.pop(name, None)
    arrays.pop(name, None)
    is_array = isinstance(change[name], np.ndarray)
    write(tmp_path / "other.npz", header | ({} if is_array else change), **arrays, **(change if is_array else {}))
    with pytest.raises(ValueError, match=f"other.npz is no result that jaxmem saved.*{name} is "):
        jm.load(tmp_path / "other.npz")


def html_of(result):
    """Of its HTML, the words by element; it parses, brings no colours, and loads nothing."""
    page = result._repr_html_()
    assert not any(word in page for word in ("background", "color:", "<script", "http", "src="))
    assert len(page) < 6_000
    root = ElementTree.fromstring(page)
    return [element.text for element in root.iter() if element.tag in ("strong", "th", "td", "div") and element.text]


def test_a_test_is_a_small_table_in_a_notebook(permuted, memorized_and_tested):
    words = html_of(permuted)
    assert words[0] == f"PermutationTest: {permuted.classifier}, accuracy"
    assert words[words.index("statistic") + 1] == f"{permuted.statistic:.4f}"
    assert words[words.index("p-value") + 1] == f"{permuted.pvalue:.4g} (greater)"
    bars = [e for e in ElementTree.fromstring(permuted._repr_html_()).iter() if e.tag.endswith("rect")]
    heights = np.array([float(bar.get("height")) for bar in bars])
    counts = np.histogram(
        permuted.null_distribution,
        bins=24,
        range=(permuted.null_distribution.min(), max(permuted.statistic, permuted.null_distribution.max())),
    )[0]
    np.testing.assert_allclose(heights, 44 * counts[counts > 0] / counts.max(), atol=0.06)
    words = html_of(memorized_and_tested)
    assert words[words.index("memorization index") + 1].startswith(f"{memorized_and_tested.memorization:.3f}")
    assert words[words.index("independent test") + 1] == f"{memorized_and_tested.test_statistic:.4f}"


def test_families_and_similarities_are_tables_too():
    tests = {"<b>layer & one</b>": (X, X_val), "two": (X[:, :2], X_val[:, :2])}
    family = jm.permutation_tests(tests, y, **OPTIONS)
    words = html_of(family)
    assert "<b>layer & one</b>" in words and f"{family.pvalue_adjusted[1]:.4g}" in words
    assert "Bold: rejected at level 0.05." in words and family._repr_html_().count("font-weight:bold") in (5, 10)
    pair = jm.similarity_test(X, X_val, "cka", n_permutations=19)
    assert f"{pair.excess:.4f}" in html_of(pair)
    matrix = np.corrcoef(np.random.default_rng(0).normal(size=(6, 9)))
    groups = jm.group_similarity_test(matrix, list("aaabbb"), first="a", second="b", n_permutations=9)
    assert f"{groups.difference():.4f}" in html_of(groups)
    many = jm.similarity_tests({f"{k}": (X, X_val) for k in range(40)}, "cka", n_permutations=19)
    words = html_of_long(many)
    assert "Bold: rejected at level 0.05. 10 more are in to_dataframe()." in words


def html_of_long(result):
    root = ElementTree.fromstring(result._repr_html_())
    return [element.text for element in root.iter() if element.text]


def test_several_hyperparameters_and_stopped_tests_are_tables_too(permuted):
    both = {"statistic": np.ones(2), "pvalue": np.ones(2), "null_distribution": np.ones((19, 2))}
    two = replace(permuted, **both)
    assert html_of(two).count("statistic") == 2 and "<svg" not in two._repr_html_()
    assert "stopped by" in html_of(replace(permuted, stopping=jm.BesagClifford(3)))
