"""Type I error over simulated data sets whose features know nothing of the labels: the promise of the p-value."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxmem as jm
from jaxmem.inference import pvalue
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
