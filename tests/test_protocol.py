"""The law for classifiers: whatever has the four functions works, alone, compiled, batched and cut into blocks."""

import re
import textwrap
from collections import Counter
from dataclasses import FrozenInstanceError, dataclass, field, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import blobs, decisions_by_blocks, labellings
from sklearn.neighbors import NearestCentroid

import jaxmem as jm
from jaxmem.classifiers import Classifier, as_classifier, base
from jaxmem.classifiers.base import ClassSums


def documented_classifier():
    """The class that the docstring of `jaxmem.classifiers.base` shows in full, as a reader would type it."""
    code = re.search(r"in full:\n\n(.*?)\n\nand `", base.__doc__, re.DOTALL).group(1)
    namespace = {"dataclass": dataclass, "jnp": jnp, "class_sums": base.class_sums}
    exec(textwrap.dedent(code), namespace)
    return namespace["NearestMean"]()


# A new classifier joins by one line here.
CLASSIFIERS = [
    jm.Ridge(),
    jm.Ridge(alpha=0.1, standardize=True),
    jm.KNeighbors(),
    jm.KNeighbors(4),
    jm.KNeighbors(3, metric="cosine", weights="distance"),
    jm.LDA(),
    jm.LDA(shrinkage="auto"),
    jm.NearestCentroid(),
    jm.GaussianNB(),
    jm.Softmax(),
    jm.LinearSVM(),
    documented_classifier(),
]
_ITERATIVE = (jm.Softmax, jm.LinearSVM)
every_classifier = pytest.mark.parametrize(
    "classifier",
    [pytest.param(c, marks=pytest.mark.nightly if isinstance(c, _ITERATIVE) else ()) for c in CLASSIFIERS],
    ids=repr,
)

N_CLASSES = 3
X, y, X_val = blobs(30, 5, N_CLASSES, n_val=17)
X, X_val = jnp.asarray(X, jnp.float32), jnp.asarray(X_val, jnp.float32)
LABELS = jnp.asarray(labellings(y, 4), jnp.uint8)


def assert_trees_close(actual, expected):
    # Scores are sums whose rounding is that of the largest, so a small one has no digits of its own to agree in.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max()), actual, expected
    )


def scores(classifier, X, labels, X_val):
    state = classifier.prepare(X, N_CLASSES)
    return classifier.decision(state, classifier.fit(state, labels), classifier.rows(state, X_val))


compiled = jax.jit(scores, static_argnums=0)


@every_classifier
def test_is_a_frozen_and_hashable_choice_of_hyperparameters(classifier):
    assert isinstance(classifier, Classifier)
    same = type(classifier)(**{each.name: getattr(classifier, each.name) for each in fields(classifier)})
    assert same == classifier and hash(same) == hash(classifier)
    with pytest.raises(FrozenInstanceError):
        classifier.another = 1


@every_classifier
def test_rows_lead_with_the_rows_and_scores_are_one_per_class(classifier):
    state = jax.jit(classifier.prepare, static_argnums=1)(X, N_CLASSES)
    rows = jax.jit(classifier.rows)(state, X_val)
    assert all(leaf.shape[0] == len(X_val) for leaf in jax.tree.leaves(rows))
    decision = compiled(classifier, X, LABELS[0], X_val)
    assert decision.shape == (len(X_val), N_CLASSES) and decision.dtype == X.dtype
    assert np.isfinite(decision).all()


@every_classifier
def test_scores_of_some_rows_are_some_rows_of_the_scores(classifier):
    prepare, rows_of, fit, decision = map(
        jax.jit, (lambda X: classifier.prepare(X, N_CLASSES), classifier.rows, classifier.fit, classifier.decision)
    )
    state = prepare(X)
    rows, params = rows_of(state, X_val), fit(state, LABELS[1])
    whole = decision(state, params, rows)
    for some in (slice(0, 1), slice(5, 17)):
        assert_trees_close(decision(state, params, jax.tree.map(lambda a: a[some], rows)), whole[some])  # noqa: B023
    assert_trees_close(rows_of(state, X_val[5:]), jax.tree.map(lambda a: a[5:], rows))


@every_classifier
def test_compiled_and_batched_equal_eager_and_one_at_a_time(classifier):
    one_at_a_time = np.stack([scores(classifier, X, labels, X_val) for labels in LABELS])
    assert_trees_close(np.stack([compiled(classifier, X, labels, X_val) for labels in LABELS]), one_at_a_time)
    batched = jax.jit(jax.vmap(lambda labels: scores(classifier, X, labels, X_val)))
    assert_trees_close(batched(LABELS), one_at_a_time)


@every_classifier
def test_a_class_without_rows_gives_no_nan_and_is_never_predicted(classifier):
    without = np.asarray(compiled(classifier, X, jnp.asarray(y % 2, jnp.uint8), X_val))
    assert not np.isnan(without).any() and np.isfinite(without[:, :2]).all()
    if type(classifier).__module__.startswith("jaxmem."):  # The example of the docstring is too short to care.
        assert (without.argmax(axis=1) < 2).all()


@every_classifier
def test_the_batch_size_does_not_change_the_null(classifier):
    tests = [
        jm.permutation_test(
            classifier, X, y, validation=jm.Holdout(X_val, np.arange(17) % 3), n_permutations=40, batch_size=size
        )
        for size in (None, 1, 7, 64)
    ]
    for test in tests[1:]:
        assert test.statistic == tests[0].statistic
        np.testing.assert_array_equal(test.null_distribution, tests[0].null_distribution)


OF_CLASS_SUMS = [
    jm.Ridge(),
    jm.Ridge(alpha=(0.1, 10.0), standardize=True),
    jm.LDA(),
    jm.LDA(shrinkage=0.2, priors=(0.2, 0.3, 0.5)),
    jm.NearestCentroid(),
    jm.NearestCentroid("cosine"),
    jm.GaussianNB(),
]


@pytest.mark.parametrize("classifier", OF_CLASS_SUMS, ids=repr)
def test_training_rows_may_come_a_block_at_a_time(classifier):
    assert isinstance(classifier, ClassSums)
    # A feature that does not vary, but for the rows to score.
    features = X.at[:, 2].set(0.1)
    whole = np.stack([compiled(classifier, features, labels, X_val) for labels in LABELS])
    for block_rows in (7, 30):
        blocks = decisions_by_blocks(classifier, features, LABELS, X_val, N_CLASSES, X.dtype, block_rows)
        assert_trees_close(blocks, whole)


@pytest.mark.parametrize("classifier", [c for c in CLASSIFIERS if type(c) not in map(type, OF_CLASS_SUMS)], ids=repr)
def test_other_classifiers_need_all_training_rows(classifier):
    assert not isinstance(classifier, ClassSums)


@dataclass(frozen=True)
class Traced:
    """A classifier that counts how often Python runs its functions, which under `jit` is once per compilation."""

    inner: Any
    calls: Counter = field(default_factory=Counter, compare=False)

    def prepare(self, X, n_classes):
        self.calls["prepare"] += 1
        return self.inner.prepare(X, n_classes)

    def rows(self, state, X_new):
        self.calls["rows"] += 1
        return self.inner.rows(state, X_new)

    def fit(self, state, labels):
        self.calls["fit"] += 1
        return self.inner.fit(state, labels)

    def decision(self, state, params, rows):
        self.calls["decision"] += 1
        return self.inner.decision(state, params, rows)


@every_classifier
def test_compiles_once_per_classifier_shapes_and_precision(classifier):
    traced = Traced(classifier)
    shared = jm.SharedStructure(X_val, source=np.arange(17))

    def run(X=X, y=y, validation=shared, **options):
        traced.calls.clear()
        jm.permutation_test(traced, X, y, validation=validation, **{"n_permutations": 20, "batch_size": 8} | options)
        return dict(traced.calls)

    # Three batches, the last of them ragged.
    assert run() == {"prepare": 1, "rows": 1, "fit": 1, "decision": 1}
    assert run() == {}
    assert run(X=2 * X + 1, y=y[::-1], key=5, n_permutations=33) == {}
    assert run(X=X[:, :4], validation=jm.SharedStructure(X_val[:, :4], source=np.arange(17))) == {
        "prepare": 1,
        "rows": 1,
        "fit": 1,
        "decision": 1,
    }
    with jax.enable_x64(True):
        assert run(X=np.asarray(X, float)) == {"prepare": 1, "rows": 1, "fit": 1, "decision": 1}
    assert run() == {}


def test_the_documented_example_equals_nearest_centroid_of_scikit_learn():
    test = jm.permutation_test(
        documented_classifier(), X, y, validation=jm.Holdout(X_val, np.arange(17) % 3), n_permutations=15
    )
    for index, score in enumerate([test.statistic, *test.null_distribution]):
        refit = NearestCentroid().fit(X, test.labels(index))
        assert score == pytest.approx(refit.score(X_val, np.arange(17) % 3))


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "roc_auc_ovr", "margin"])
@pytest.mark.parametrize("turned", [lambda scores: scores[:, :1], jnp.transpose], ids=["one column", "transposed"])
def test_scores_of_another_shape_are_refused(metric, turned):
    @dataclass(frozen=True)
    class Turned(jm.Ridge):
        def decision(self, state, params, rows):
            return turned(super().decision(state, params, rows))

    expected = r"scores of Turned must have a row .* shape \(17, 3\), but they have \((17, 1|3, 17)\)"
    for batch_size in (None, 4):
        with pytest.raises(ValueError, match=expected):
            options = {"n_permutations": 9, "metric": metric, "batch_size": batch_size}
            jm.permutation_test(Turned(), X, y, validation=jm.Holdout(X_val, np.arange(17) % 3), **options)


def test_classifiers_that_may_change_are_refused():
    class Changeable:
        prepare = rows = fit = decision = staticmethod(lambda *_: None)

    for classifier in (Changeable(), dataclass(Changeable)()):
        with pytest.raises(ValueError, match="must be a frozen dataclass of its hyperparameters"):
            as_classifier(classifier)


def test_class_sums_are_the_sums_of_the_rows_of_each_class():
    sums, counts = base.class_sums(jnp.array([2, 0, 2, 1]), jnp.array([[1.0, 2], [3, 4], [5, 6], [7, 8]]), 3)
    np.testing.assert_array_equal(sums, [[3, 4], [7, 8], [6, 8]])
    np.testing.assert_array_equal(counts, [1, 1, 2])
    # Labels at or above the number of classes are left out.
    fewer, counts = base.class_sums(jnp.array([2, 0, 2, 1]), jnp.array([[1.0, 2], [3, 4], [5, 6], [7, 8]]), 2)
    np.testing.assert_array_equal(fewer, sums[:2])
    np.testing.assert_array_equal(counts, [1, 1])


def test_one_hot_takes_as_many_classes_as_its_labels_type_holds():
    labels = jnp.arange(256, dtype=jnp.uint8)
    np.testing.assert_array_equal(base.one_hot(labels, 256, jnp.float32), np.eye(256))
