"""Which rows are fitted and scored: folds as scikit-learn cuts them, and cross-validation that keeps its level."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import blobs
from scipy import stats
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import jaxmem as jm
from jaxmem.metrics import accuracy
from jaxmem.permutations import shuffles

rng = np.random.default_rng(3)
X = rng.standard_normal((61, 4)).astype(np.float32)
y = np.where(X[:, 0] + rng.standard_normal(61) > 0.5, "yes", "no")
OPTIONS = {"n_permutations": 19, "progress": False}


@pytest.mark.parametrize("n_splits", [2, 3, 5])
@pytest.mark.parametrize(("ours", "peer"), [(True, StratifiedKFold), (False, KFold)])
def test_folds_are_scikit_learns(ours, peer, n_splits):
    for seed in range(5):
        codes = np.unique(np.random.default_rng(seed).integers(0, 4, 57), return_inverse=True)[1]
        expected = np.zeros(57, int)
        for k, (_, inside) in enumerate(peer(n_splits).split(codes, codes)):
            expected[inside] = k
        design = jm.KFold(n_splits, shuffle=False, stratified=ours)
        folds = jax.jit(lambda codes, design=design: design.folds(codes, 4))(jnp.asarray(codes, jnp.uint8))
        np.testing.assert_array_equal(folds, expected)
        assert [design.size(k, 57) for k in range(n_splits)] == np.bincount(expected).tolist()


def test_shuffled_folds_part_the_rows_and_follow_the_seed():
    codes = jnp.asarray(np.arange(40) % 2, jnp.uint8)
    for stratified in (False, True):
        first, again, other = (
            np.asarray(jm.KFold(4, shuffle=True, stratified=stratified, seed=seed).folds(codes, 2))
            for seed in (0, 0, 1)
        )
        assert np.bincount(first).tolist() == [10] * 4
        assert (first == again).all() and (first != other).any()


@pytest.mark.parametrize("classifier", [jm.Ridge(), RidgeClassifier()], ids=["ours", "scikit-learn's"])
@pytest.mark.parametrize(
    ("design", "peer"),
    [
        (jm.KFold(4, shuffle=False), KFold(4)),
        (jm.KFold(4, shuffle=False, stratified=True), StratifiedKFold(4)),
    ],
    ids=["fixed", "stratified"],
)
def test_cross_validation_equals_scikit_learns_permutation_by_permutation(classifier, design, peer):
    test = jm.permutation_test(classifier, X, y, validation=design, **OPTIONS)
    expected = [cross_val_score(RidgeClassifier(), X, test.labels(b), cv=peer).mean() for b in range(20)]
    np.testing.assert_allclose([test.statistic, *test.null_distribution], expected, rtol=1e-12)
    assert test.pvalue == (1 + np.sum(np.array(expected[1:]) >= expected[0] - 1e-12)) / 20


def test_resubstitution_scores_the_training_rows():
    test = jm.permutation_test(jm.Ridge(), X, y, validation=jm.Resubstitution(), **OPTIONS)
    for b in (0, 7):
        labels = test.labels(b)
        expected = RidgeClassifier().fit(X, labels).score(X, labels)
        assert [test.statistic, *test.null_distribution][b] == pytest.approx(expected)


@pytest.mark.parametrize("design", [jm.SharedStructure(X + 0.3), jm.Holdout(X[:20], y[:20]), jm.KFold(3)])
@pytest.mark.parametrize("metric", ["accuracy", "roc_auc"])
def test_any_scikit_learn_pipeline_is_refitted_on_the_same_permutations(design, metric):
    pipeline = make_pipeline(StandardScaler(), RidgeClassifier())
    slow = jm.permutation_test(pipeline, X, y, validation=design, metric=metric, **OPTIONS)
    fast = jm.permutation_test(jm.Ridge(standardize=True), X, y, validation=design, metric=metric, **OPTIONS)
    np.testing.assert_allclose(
        slow.null_distribution, fast.null_distribution, atol=2e-3 if metric == "roc_auc" else 1e-9
    )


def test_estimators_give_probabilities_where_they_have_them():
    shared = {"validation": jm.KFold(3), "metric": "neg_brier_score", **OPTIONS}
    slow = jm.permutation_test(KNeighborsClassifier(5), X, y, **shared)
    fast = jm.permutation_test(jm.KNeighbors(5), X, y, **shared)
    np.testing.assert_allclose(slow.null_distribution, fast.null_distribution, rtol=1e-6)
    with pytest.raises(ValueError, match="needs class probabilities"):
        jm.permutation_test(RidgeClassifier(), X, y, **shared)


def test_example_scores_of_folds_are_those_of_the_rows():
    test = jm.permutation_test(jm.KNeighbors(3), X, y, validation=jm.KFold(3), example_scores=True, **OPTIONS)
    assert test.example_scores.shape == (61,)
    with pytest.raises(ValueError, match="folds that stay"):
        jm.permutation_test(jm.Ridge(), X, y, validation=jm.KFold(3, stratified=True), example_scores=True, **OPTIONS)


@pytest.mark.parametrize("stratified", [False, True])
def test_cross_validation_rejects_at_most_alpha(stratified):
    """Folds that balance the observed labels alone would reject several times too often, at n = 20 most of all."""
    design, classifier, n, B = jm.KFold(5, stratified=stratified), jm.Ridge(alpha=100.0), 20, 39

    def one_data_set(key):
        features = jax.random.normal(jax.random.fold_in(key, 0), (n, 3))
        stream = shuffles(jax.random.fold_in(key, 1), n)
        # Under the hypothesis the observed labels are in a random order too.
        labels = jax.random.permutation(jax.random.fold_in(key, 2), jnp.arange(n) % 2)

        def one(index):
            shuffled = stream.labels(labels, index)
            fold, total = design.folds(shuffled, 2), 0
            for k in range(5):
                (inside,), (outside,) = jnp.nonzero(fold == k, size=4), jnp.nonzero(fold != k, size=16)
                state = classifier.prepare(features[outside], 2)
                params = classifier.fit(state, shuffled[outside])
                scores = classifier.decision(state, params, classifier.rows(state, features[inside]))
                total += accuracy.partial(scores, shuffled[inside])
            return total

        return jax.vmap(one)(jnp.arange(B + 1))

    n_sets = 1_000
    # One data set after the other: with fifty at once, XLA on CPU (jax 0.10.2) now and then waits for ever on the
    # thousands of factorisations.
    totals = np.asarray(
        jax.jit(lambda keys: jax.lax.map(one_data_set, keys))(jax.random.split(jax.random.key(5), n_sets))
    )
    pvalues = (1 + (totals[:, 1:] >= totals[:, :1]).sum(axis=1)) / (1 + B)
    for alpha in (0.05, 0.2):
        assert (pvalues <= alpha).sum() <= stats.binom.ppf(0.995, n_sets, alpha)


@pytest.mark.parametrize(
    ("design", "message"),
    [
        (lambda: jm.KFold(1), "n_splits must be an integer >= 2"),
        (lambda: jm.KFold(seed=None), "seed must be an integer >= 0, but is None"),
        (lambda: jm.KFold(62), "n_splits is 62, but there are only 61 rows"),
        (lambda: jm.KFold(40, stratified=True), "fewer than n_splits = 40"),
    ],
)
def test_folds_that_cannot_be_filled_are_refused(design, message, unchecked):
    with pytest.raises(ValueError, match=message):
        jm.permutation_test(jm.Ridge(), X, y, validation=design(), **OPTIONS)


def test_folds_drawn_anew_report_the_worst_of_their_fits():
    X, y, _ = blobs(40, 4, 2)
    with pytest.warns(UserWarning, match="stopped before they converged"):
        test = jm.permutation_test(
            jm.Softmax(max_steps=1, tol=1e-6),
            X,
            y,
            validation=jm.KFold(2, stratified=True),
            n_permutations=9,
            progress=False,
        )
    assert test.diagnostics["converged"].shape == (10,) and not test.diagnostics["converged"].any()
    assert (test.diagnostics["gradient_norm"] > 1e-6).all()
