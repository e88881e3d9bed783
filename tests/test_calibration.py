"""Type I error over simulated data sets whose features know nothing of the labels: the promise of the p-value."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_mean
from scipy import stats
from sklearn.model_selection import StratifiedKFold, permutation_test_score
from sklearn.naive_bayes import GaussianNB

import jaxmem as jm
from benchmarks import calibration
from benchmarks.calibration import ALPHAS, SOME_SETTINGS, STOPPING, Setting, bound
from jaxmem.inference import ALTERNATIVES, pvalue
from jaxmem.metrics import accuracy
from jaxmem.permutations import shuffles

N_DATA_SETS, N_PERMUTATIONS, N, D = 2_000, 99, 20, 5
ALPHA = 0.05

every_classifier = pytest.mark.parametrize("classifier", [jm.Ridge(), jm.KNeighbors(1)], ids=repr)


@partial(jax.jit, static_argnums=0)
def simulate(classifier, keys):
    """Numbers of correct copies (data set, scoring, permutation): paired, and against labels that stay unshuffled."""
    y = jnp.arange(N) % 2

    def one_data_set(key):
        features, noise, stream = jax.random.split(key, 3)
        X = jax.random.normal(features, (N, D))
        state = classifier.prepare(X, 2)
        rows = classifier.rows(state, X + 0.5 * jax.random.normal(noise, (N, D)))
        permutations = shuffles(stream, N)

        def one_permutation(index):
            labels = permutations.labels(y, index)
            scores = classifier.decision(state, classifier.fit(state, labels), rows)
            return jnp.stack([accuracy.partial(scores, labels), accuracy.partial(scores, y)])

        return jax.vmap(one_permutation, out_axes=1)(jnp.arange(N_PERMUTATIONS + 1))

    return jax.lax.map(one_data_set, keys, batch_size=250)


@cache
def counts(classifier):
    return np.asarray(simulate(classifier, jax.random.split(jax.random.key(11), N_DATA_SETS)))


def pvalues(counts):
    return np.array([pvalue(float(each[0]), each[1:].astype(float)) for each in counts])


@every_classifier
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.2])
def test_the_paired_test_rejects_at_most_alpha(classifier, alpha):
    rejections = (pvalues(counts(classifier)[:, 0]) <= alpha).sum()
    assert rejections <= stats.binom.ppf(0.995, N_DATA_SETS, alpha)


@every_classifier
def test_the_observed_labelling_is_one_among_equals(classifier):
    """Its rank among all labellings, ties broken at random, is uniform: no hidden margin on either side."""
    paired = counts(classifier)[:, 0] + np.random.default_rng(0).random((N_DATA_SETS, N_PERMUTATIONS + 1))
    ranks = (paired[:, 1:] > paired[:, :1]).sum(axis=1)
    observed = np.bincount(ranks // 5, minlength=20)
    assert stats.chisquare(observed).pvalue > 1e-3


@every_classifier
def test_shuffling_the_training_labels_alone_breaks_the_test(classifier):
    """The trap: copies that keep the true labels of their sources, while the fit has shuffled ones."""
    rejections = (pvalues(counts(classifier)[:, 1]) <= ALPHA).sum()
    assert stats.binomtest(int(rejections), N_DATA_SETS).proportion_ci(0.99).low > 0.2


@every_classifier
def test_the_public_function_computes_what_is_calibrated_here(classifier):
    """The simulation calls the pure functions; for one data set `permutation_test` gives the same counts."""
    features, noise, stream = jax.random.split(jax.random.split(jax.random.key(11), N_DATA_SETS)[7], 3)
    X = jax.random.normal(features, (N, D))
    copies = jm.SharedStructure(X + 0.5 * jax.random.normal(noise, (N, D)))
    test = jm.permutation_test(
        classifier, X, np.arange(N) % 2, validation=copies, n_permutations=N_PERMUTATIONS, key=stream
    )
    np.testing.assert_allclose([test.statistic, *test.null_distribution], counts(classifier)[7, 0] / N)


def assert_calibrated(table, n_data_sets):
    """No cell rejects too often; of tables in which no test does, one in a hundred fails."""
    chance = 0.01 / (len(table) * len(ALPHAS))
    bounds = {str(alpha): bound(n_data_sets, alpha, chance) for alpha in ALPHAS}
    too_often = {
        (cell, alpha): share
        for cell, shares in table.items()
        for alpha, share in shares.items()
        if share > bounds[alpha]
    }
    assert not too_often, bounds


@pytest.mark.nightly
def test_schemes_validations_metrics_and_stopping_rules_reject_at_most_alpha():
    """A corner of the table of `benchmarks.calibration`."""
    settings = [
        Setting(jm.LDA(shrinkage=0.1), "KFold", "within", ("neg_log_loss",), tuple(STOPPING), 299),
        Setting(jm.NearestCentroid(), "SharedStructure", "whole", ("roc_auc", "margin")),
        Setting(jm.GaussianNB(), "Resubstitution", "free", ("balanced_accuracy", "margin")),
        Setting(jm.Ridge(), "Holdout", "within", ("margin",)),
    ]
    assert_calibrated(calibration.type_one_errors(1_000, settings), 1_000)


@pytest.mark.parametrize("drawn", ["within", "whole"])
def test_free_shuffles_reject_too_often_where_labels_depend_on_blocks(drawn):
    """The same data sets as above: it is the scheme that makes the test valid there, and the table would show it."""
    setting = Setting(jm.LDA(shrinkage=0.1), "SharedStructure", metrics=("margin",))
    statistics = calibration.null_statistics(setting, 1_000, seed=0, drawn=drawn)["margin"]
    shares = calibration.rejections(statistics, "margin")
    assert all(shares[str(alpha)] > 1.5 * alpha and shares[str(alpha)] > bound(1_000, alpha) for alpha in ALPHAS)


@pytest.mark.parametrize("validation", ["Holdout", "KFold", "stratified KFold"])
def test_the_public_function_computes_what_the_table_is_made_of(validation):
    setting = Setting(jm.NearestCentroid(), validation, "within", ("accuracy",))
    data = calibration.data_sets("within", 2, seed=5)
    design = calibration.VALIDATIONS[validation]
    test = jm.permutation_test(
        setting.classifier,
        data.X[0],
        data.labels[0],
        validation=design(data.fresh[0], np.arange(calibration.N) % 2) if design is jm.Holdout else design,
        scheme="within",
        blocks=np.repeat(np.arange(4), 6),
        n_permutations=setting.n_permutations,
        key=calibration.stream_key(5),
    )
    statistics = calibration.null_statistics(setting, 2, seed=5)["accuracy"]
    np.testing.assert_allclose([test.statistic, *test.null_distribution], statistics[0])
    assert (statistics[1] != statistics[0]).any()


@pytest.mark.nightly
def test_a_third_of_the_table_rejects_at_most_alpha():
    """On a few of the data sets that the benchmark takes: a minute, not an hour."""
    assert_calibrated(calibration.type_one_errors(150, SOME_SETTINGS, seed=1), 150)


@pytest.mark.nightly
@pytest.mark.parametrize(("n_data_sets", "B"), [(20, 19), (40, 99)])
def test_power_is_that_of_scikit_learns_test(n_data_sets, B):
    """The same statistic, the same labellings to draw from: where labels matter, decisions differ by chance alone."""
    options = {"n_permutations": B}
    data = calibration.data_sets("free", n_data_sets, seed=2, signal=1.5)
    ours, theirs = np.empty((2, n_data_sets))
    for number, (X, y) in enumerate(zip(data.X, data.labels, strict=True)):
        design = jm.KFold(4, shuffle=False, stratified=True)
        test = jm.permutation_test(jm.GaussianNB(), X, y, validation=design, key=number, progress=False, **options)
        score, _, theirs[number] = permutation_test_score(
            GaussianNB(), X, y, cv=StratifiedKFold(4), random_state=number, **options
        )
        assert test.statistic == pytest.approx(score)
        ours[number] = test.pvalue
    assert_mean(ours - theirs, 0)
    only_ours, only_theirs = ((a <= ALPHA) & (b > ALPHA) for a, b in ((ours, theirs), (theirs, ours)))
    n_differ = int((only_ours | only_theirs).sum())
    assert n_differ == 0 or stats.binomtest(int(only_ours.sum()), n_differ, alternative="less").pvalue > 0.01
    # Neither never nor always: else there would be nothing to compare.
    assert 0.2 < (ours <= ALPHA).mean() < 0.9


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("metric", ["accuracy", "margin"])
def test_scipys_permutation_test_of_the_same_statistic_agrees(metric, alternative, float64):
    """SciPy goes through all 7! orders of the labels, jaxmem through the 35 labellings that differ."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((7, 2)), np.array([0, 0, 1, 0, 1, 1, 0])
    X[:, 0] += 1.5 * y
    Z = X - X.mean(axis=0)
    smoother = Z @ np.linalg.solve(Z.T @ Z + np.eye(2), Z.T) + 1 / 7

    def statistic(labels, axis):
        """Ridge by its normal equations, scored on its own training rows."""
        margins = (2 * labels - 1) * (2 * labels @ smoother - 1)
        return (margins > 0).mean(axis=axis) if metric == "accuracy" else margins.mean(axis=axis)

    theirs = stats.permutation_test(
        (y,), statistic, permutation_type="pairings", n_resamples=np.inf, alternative=alternative, vectorized=True
    )
    test = jm.permutation_test(
        jm.Ridge(), X, y, validation=jm.Resubstitution(), metric=metric, alternative=alternative, progress=False
    )
    assert test.exact and len(test.null_distribution) == 34
    assert test.statistic == pytest.approx(theirs.statistic, rel=1e-12)
    assert test.pvalue == pytest.approx(theirs.pvalue, rel=1e-12)
