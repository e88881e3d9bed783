"""The permutation test: the loop that one would write by hand, whatever the design, and nothing refused in silence."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_mean, blobs
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

import jaxmem as jm
from jaxmem import blocks
from jaxmem.metrics import Metric

X, y, X_val = blobs(30, 5, 3, separation=0.7)
SHARED = jm.SharedStructure(X_val)
PEERS = [(jm.Ridge(), RidgeClassifier()), (jm.KNeighbors(3), KNeighborsClassifier(3))]


def by_hand(test, model, X, X_val, labels_of):
    """Accuracy of one scikit-learn refit per permutation; `labels_of` takes shuffled labels to those of the rows."""
    n_permutations = len(test.null_distribution)
    refits = ((model.fit(X, labels), labels) for labels in map(test.labels, range(n_permutations + 1)))
    return np.array([(fit.predict(X_val) == labels_of(labels)).mean() for fit, labels in refits])


def run(classifier=None, X=X, y=y, validation=SHARED, **options):
    return jm.permutation_test(
        classifier or jm.Ridge(), X, y, validation=validation, **{"n_permutations": 19} | options
    )


# --- Equal to the loop by hand ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("classifier", "model"), PEERS, ids=["ridge", "knn"])
@pytest.mark.parametrize("source", [None, np.arange(30)[::-1], [3, 3, 29, 0], np.repeat(np.arange(30), 2)])
def test_shared_structure_equals_refitting_by_hand(classifier, model, source):
    rows = slice(None) if source is None else source
    copies = X_val[rows] + 0.1 * np.arange(len(X_val[rows]))[:, None] / 60
    test = run(classifier, validation=jm.SharedStructure(copies, source), key=5)
    expected = by_hand(test, model, X, copies, lambda labels: labels[rows])
    np.testing.assert_allclose([test.statistic, *test.null_distribution], expected, rtol=1e-12)
    assert test.pvalue == (1 + (expected[1:] >= expected[0]).sum()) / 20


@pytest.mark.parametrize(("classifier", "model"), PEERS, ids=["ridge", "knn"])
def test_holdout_equals_refitting_by_hand_and_takes_strings(classifier, model):
    names = np.array(["zebra", "ant", "mole"])[y]
    rng = np.random.default_rng(2)
    X_test, y_test = rng.normal(size=(11, 5)), np.array(["zebra", "ant"])[rng.integers(0, 2, 11)]
    test = run(classifier, y=names, validation=jm.Holdout(X_test, y_test), alternative="two-sided")
    assert test.classes.tolist() == ["ant", "mole", "zebra"]
    np.testing.assert_array_equal(test.labels(0), names)
    expected = by_hand(test, model, X, X_test, lambda labels: y_test)
    np.testing.assert_allclose([test.statistic, *test.null_distribution], expected, rtol=1e-12)
    greater, less = ((1 + c.sum()) / 20 for c in (expected[1:] >= expected[0], expected[1:] <= expected[0]))
    assert test.pvalue == min(1, 2 * min(greater, less))


def test_double_precision_equals_refitting_by_hand(float64):
    test = run()
    expected = by_hand(test, RidgeClassifier(), X, X_val, lambda labels: labels)
    np.testing.assert_allclose([test.statistic, *test.null_distribution], expected, rtol=1e-12)


def test_more_rows_than_a_block_holds():
    source = np.random.default_rng(1).integers(0, 30, 2 * blocks.BLOCK_ROWS + 100)
    copies = X[source] + np.random.default_rng(2).normal(size=(len(source), 5))
    test = run(jm.KNeighbors(3), validation=jm.SharedStructure(copies, source))
    expected = by_hand(test, KNeighborsClassifier(3), X, copies, lambda labels: labels[source])
    np.testing.assert_allclose([test.statistic, *test.null_distribution], expected, rtol=1e-12)


def test_more_classes_than_a_byte_holds():
    many, features = np.arange(300) % 257, np.random.default_rng(0).normal(size=(300, 4))
    copies = features + 0.3 * np.random.default_rng(2).normal(size=(300, 4))
    test = run(jm.KNeighbors(), features, many, jm.SharedStructure(copies), n_permutations=4)
    nearest = NearestNeighbors(n_neighbors=1).fit(features).kneighbors(copies)[1][:, 0]
    assert (nearest == np.arange(300)).mean() < 0.9
    expected = [(test.labels(index)[nearest] == test.labels(index)).mean() for index in range(5)]
    np.testing.assert_allclose([test.statistic, *test.null_distribution], expected, rtol=1e-12)


def test_a_metric_of_ones_own_is_computed_block_by_block_and_its_ties_are_tolerant():
    def margin(scores, labels):
        own = jnp.take_along_axis(scores, labels[:, None].astype(int), axis=1)[:, 0]
        return {"own": own.sum(), "all": scores.mean(axis=1).sum()}

    metric = Metric("margin", margin, lambda totals, n: (totals["own"] - totals["all"]) / n)
    test = run(metric=metric)
    assert test.metric == "margin"
    expected = []
    for index in range(20):
        labels = test.labels(index)
        scores = (RidgeClassifier().fit(X, labels).decision_function(X_val) + 1) / 2
        expected.append((scores[np.arange(30), labels] - scores.mean(axis=1)).mean())
    np.testing.assert_allclose([test.statistic, *test.null_distribution], expected, rtol=1e-4, atol=1e-6)
    # A metric that is constant but for rounding: the observed one ties with every permutation.
    constant = Metric("total", lambda scores, labels: scores.sum(), lambda total, n: total / n)
    assert run(metric=constant).pvalue == 1.0


# --- What the result depends on, and what not -------------------------------------------------------------------


@pytest.mark.parametrize("stopping", [None, jm.BesagClifford(5)], ids=str)
def test_the_scale_of_a_statistic_does_not_matter(stopping):
    options = {"metric": "margin", "n_permutations": 99, "stopping": stopping}
    for scale in (1, 1e-3, 1e-5):
        test = run(jm.NearestCentroid(), scale * X, validation=jm.SharedStructure(scale * X_val), **options)
        shown = float(repr(test).split("statistic ")[1].split()[0])
        assert test.pvalue == 0.01 and shown == pytest.approx(test.statistic, rel=1e-3)


def test_a_score_that_is_the_same_for_all_labels_is_said_to_be():
    blind = run(X=1e-7 * X, validation=jm.SharedStructure(1e-7 * X_val))  # Beside the penalty there is nothing left.
    perfect = run(jm.KNeighbors(1), validation=jm.SharedStructure(X))
    for test in (blind, perfect):
        assert test.pvalue == 1 and "the same for all labels" in repr(test) and "no power" in test._repr_html_()
    assert "the same for all labels" not in repr(run())


def test_more_permutations_only_add_to_the_null():
    few, many = run(n_permutations=5), run(n_permutations=19)
    np.testing.assert_array_equal(few.null_distribution, many.null_distribution[:5])
    np.testing.assert_array_equal(run(n_permutations=5, batch_size=4).null_distribution, few.null_distribution)


def test_a_seed_is_a_key_and_keys_matter():
    test = run(key=3)
    for key in (jax.random.key(3), jax.random.PRNGKey(3), np.int32(3)):
        np.testing.assert_array_equal(run(key=key).null_distribution, test.null_distribution)
    assert not np.array_equal(run(key=4).null_distribution, test.null_distribution)
    assert run(key=4).statistic == test.statistic


def test_arrays_of_any_kind_give_the_same_test(tmp_path):
    expected = run(X=X.astype(np.float32), validation=jm.SharedStructure(X_val.astype(np.float32)))
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    memory_map = np.load(tmp_path / "X.npy", mmap_mode="r")
    for features, labels in (
        (memory_map, y.tolist()),
        (jnp.asarray(X), jnp.asarray(y)),
        (X.tolist(), y.astype(np.uint8)),
    ):
        test = run(X=features, y=labels, validation=jm.SharedStructure(jnp.asarray(X_val)))
        assert test.statistic == expected.statistic
        np.testing.assert_array_equal(test.null_distribution, expected.null_distribution)


def test_identical_labels_by_any_name_give_the_same_null():
    named = run(y=np.array(["a", "b", "c"])[y])
    np.testing.assert_array_equal(named.null_distribution, run().null_distribution)


def test_features_that_tell_the_classes_are_found():
    telling, copies = 5 * np.eye(3)[y] + 0.1 * X[:, :3], 5 * np.eye(3)[y]
    test = run(X=telling, validation=jm.SharedStructure(copies), n_permutations=99)
    assert test.statistic == 1 and test.pvalue == 0.01
    assert run(X=telling, validation=jm.SharedStructure(copies), alternative="less").pvalue == 1


@pytest.mark.parametrize("classifier", [jm.Ridge(), jm.KNeighbors(1)], ids=repr)
def test_the_null_on_independent_rows_is_centred_on_chance(classifier):
    """Real digits, as many of every class: whatever the features, shuffled labels predict true ones one time in ten."""
    images, digits = load_digits(return_X_y=True)
    order = np.concatenate([np.flatnonzero(digits == digit)[:40] for digit in range(10)]).reshape(10, 40)
    train, test = order[:, :20].ravel(), order[:, 20:].ravel()
    result = jm.permutation_test(
        classifier,
        images[train],
        digits[train],
        validation=jm.Holdout(images[test], digits[test]),
        n_permutations=999,
    )
    assert result.statistic > 0.8 and result.pvalue == 0.001
    assert_mean(result.null_distribution, 0.1)


def test_a_bar_counts_every_permutation_once(monkeypatch):
    import tqdm

    counts = []

    class Bar:
        def __init__(self, total, **_):
            counts.append(-total)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def update(self, n):
            counts.append(n)

    monkeypatch.setattr(tqdm, "tqdm", Bar)  # Not that of `tqdm.auto`, which warns in notebooks.
    run(batch_size=8, progress=True)
    assert counts == [-20, 8, 8, 4]
    run(batch_size=8, progress=False)
    assert len(counts) == 4


# --- Refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": y[:-1]}, "X has 30 rows, but y has 29 labels"),
        ({"y": np.zeros(30, int)}, "at least two classes, but every label is"),
        ({"y": y / 2}, r"y must hold integers or strings.*astype\(int\)"),
        ({"X": np.vstack([X[1:], np.full(5, np.nan)])}, "X has NaN or infinite features in 1 of 30 rows"),
        ({"X": X[:, 0]}, r"X must hold one row of features per example.*\(30,\)"),
        ({"X": X[None]}, r"shape \(1, 30, 5\). Flatten"),
        ({"X": X[:, :4]}, "X_val has 5 features, but X has 4"),
        (
            {"validation": jm.SharedStructure(np.full((30, 5), np.inf))},
            "X_val has NaN or infinite features in 30 of 30",
        ),
        ({"validation": jm.SharedStructure(X_val[:, 0])}, "X_val must hold one row of features"),
        ({"validation": jm.SharedStructure(X_val[:9])}, "X_val has 9 rows, but X has 30.*Pass source="),
        ({"validation": jm.SharedStructure(X_val, np.arange(29))}, "for each of the 30 rows.*has shape"),
        ({"validation": jm.SharedStructure(X_val, np.arange(30.0))}, "dtype float64"),
        ({"validation": jm.SharedStructure(X_val, np.ones(30, bool))}, "dtype bool"),
        ({"validation": jm.SharedStructure(X_val, np.arange(1, 31))}, r"source must lie in 0 .. 29.* from 1 to 30"),
        ({"validation": jm.SharedStructure(X_val, np.arange(30) - 1)}, "reaches from -1 to 28"),
        ({"validation": jm.Holdout(X_val, y[:-1])}, "X_val has 30 rows, but y_val has 29 labels"),
        ({"validation": jm.Holdout(X_val, y + 1)}, r"y_val has classes that the training labels lack: \[3\]"),
        ({"validation": jm.Holdout(X_val, y / 2)}, "y_val must hold integers or strings"),
        ({"validation": X_val}, r"must be jm.SharedStructure, .* but is a ndarray"),
        ({"validation": jm.KFold}, "but is the class KFold; call it first"),
        ({"classifier": jm.Ridge}, "classifier must be one of .* but is the class Ridge; call it first"),
        ({"classifier": "ridge"}, "classifier must be one of .* but is 'ridge'"),
        ({"classifier": jm.KNeighbors(31)}, "n_neighbors is 31, but there are only 30 training rows"),
        ({"n_permutations": 0}, "n_permutations must be an integer >= 1, but is 0"),
        ({"n_permutations": 10.5}, "n_permutations must be an integer >= 1"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1, but is 0"),
        ({"metric": "accurate"}, "metric must be one of .*Did you mean 'accuracy'"),
        ({"alternative": "bigger"}, "alternative must be one of 'greater', 'less', 'two-sided'"),
        ({"alternative": "great"}, "Did you mean 'greater'"),
        ({"key": "seed"}, "key must be an integer seed"),
    ],
)
def test_what_cannot_be_tested_is_refused_with_a_remedy(arguments, message, unchecked):
    with pytest.raises(ValueError, match=message):
        run(**arguments)


@pytest.mark.parametrize("classifier", [jm.Ridge(), jm.KNeighbors()], ids=repr)
def test_features_too_large_for_their_precision_are_not_tested_in_silence(classifier):
    with pytest.raises(ValueError, match=r"overflow|finite|NaN"):
        run(classifier, X=1e25 * X, validation=jm.SharedStructure(1e25 * X_val))


@pytest.mark.parametrize("classifier", [jm.Ridge(), jm.Ridge((0.1, 10.0)), jm.Softmax(tol=1e-2)], ids=repr)
def test_extending_equals_asking_for_all_at_once(classifier):
    options = {"validation": jm.SharedStructure(X_val), "progress": False, "batch_size": 8}
    options["example_scores"] = not isinstance(classifier, jm.Ridge) or classifier.alpha == 1.0
    whole = jm.permutation_test(classifier, X, y, n_permutations=39, **options)
    parts = jm.permutation_test(classifier, X, y, n_permutations=10, **options).extend(20).extend(9)
    np.testing.assert_array_equal(parts.null_distribution, whole.null_distribution)
    np.testing.assert_array_equal(parts.statistic, whole.statistic)
    np.testing.assert_array_equal(parts.pvalue, whole.pvalue)
    assert parts.n_permutations == 39 and repr(parts) == repr(whole)
    if options["example_scores"]:
        np.testing.assert_allclose(parts.example_scores, whole.example_scores, rtol=1e-12)
    assert set(parts.diagnostics) == set(whole.diagnostics)
    for name, values in whole.diagnostics.items():
        np.testing.assert_allclose(parts.diagnostics[name], values, rtol=1e-3)


def test_extending_goes_by_the_features_and_blocks_that_the_test_began_with():
    def aligned(rows):
        # Where JAX would take the array as it is: at a round address.
        memory = np.zeros(rows.size + 64, np.float32)
        copy = memory[-memory.ctypes.data % 256 // 4 :][: rows.size].reshape(rows.shape)
        copy[:] = rows
        return copy

    features, copies, blocks = aligned(X), aligned(X_val), np.arange(len(X)) % 2
    options = {"scheme": "within", "progress": False, "metric": "margin"}
    shared = [jm.SharedStructure(rows) for rows in (X_val, copies)]
    whole = jm.permutation_test(
        jm.Ridge(), X, y, validation=shared[0], blocks=blocks.copy(), n_permutations=19, **options
    )
    test = jm.permutation_test(
        jm.Ridge(), features, y, validation=shared[1], blocks=blocks, n_permutations=9, **options
    )
    features[:], copies[:], blocks[:] = 0, 0, 0
    test = test.extend(10)
    np.testing.assert_allclose(test.null_distribution, whole.null_distribution, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(test.blocks, np.arange(len(X)) % 2)


def test_extending_to_every_labelling_enumerates_them_and_then_no_further():
    few = {"validation": jm.Resubstitution(), "progress": False}
    test = jm.permutation_test(jm.Ridge(), X[:6], [0, 0, 0, 1, 1, 1], n_permutations=10, **few)
    whole = test.extend(10)
    assert not test.exact and whole.exact and whole.null_distribution.size == 19
    with pytest.raises(ValueError, match="every distinct labelling"):
        whole.extend(1)


def test_a_result_without_its_features_says_how_to_extend_it(tmp_path):
    test = jm.permutation_test(jm.Ridge(), X, y, validation=jm.SharedStructure(X_val), n_permutations=9, progress=False)
    test.save(tmp_path / "test.npz")
    for again in (jm.load(tmp_path / "test.npz"), pickle.loads(pickle.dumps(test))):
        assert again.pvalue == test.pvalue
        with pytest.raises(ValueError, match="n_permutations=19 and all else the same; its first 9"):
            again.extend(10)
    with pytest.raises(ValueError, match="integer >= 1"):
        test.extend(0)
