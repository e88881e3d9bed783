"""What several test files share: small data sets, a classifier run by hand on many labellings, comparisons."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxmem.classifiers.base import contrast_sums
from jaxmem.classifiers.moments import moments_of


def blobs(n, d, n_classes, *, seed=0, n_val=None, noise=0.5, separation=1.0):
    """Gaussian classes: training rows, labels (every class occurs), and perturbed copies (or `n_val` fresh rows)."""
    rng = np.random.default_rng(seed)
    centres = separation * rng.normal(size=(n_classes, d))
    y = rng.permutation(np.arange(n) % n_classes)
    X = centres[y] + rng.normal(size=(n, d))
    X_val = X + noise * rng.normal(size=(n, d)) if n_val is None else rng.normal(size=(n_val, d))
    return X, y, X_val


def labellings(y, n_labellings):
    """`y` itself and `n_labellings - 1` shuffles of it."""
    rng = np.random.default_rng(0)
    return np.stack([y] + [rng.permutation(y) for _ in range(n_labellings - 1)])


def decisions(classifier, X, labels, X_val, n_classes, dtype):
    """Scores (B, m, C) of the classifier fitted on every row of `labels` (B, n), by its four functions alone."""
    scores = _decisions(
        classifier, n_classes, jnp.asarray(X, dtype), jnp.asarray(labels, jnp.int32), jnp.asarray(X_val, dtype)
    )
    assert scores.dtype == dtype
    return np.asarray(scores)


@partial(jax.jit, static_argnums=(0, 1))
def _decisions(classifier, n_classes, X, labels, X_val):
    state = classifier.prepare(X, n_classes)
    rows = classifier.rows(state, X_val)
    return jax.vmap(lambda one: classifier.decision(state, classifier.fit(state, one), rows))(labels)


def decisions_by_blocks(classifier, X, labels, X_val, n_classes, dtype, block_rows):
    """The same from blocks of rows, by the four functions that classifiers of class sums have for them."""
    X, X_val = jnp.asarray(X, dtype), jnp.asarray(X_val, dtype)
    blocks = [slice(start, start + block_rows) for start in range(0, len(X), block_rows)]
    moments = moments_of([X[rows] for rows in blocks], scatter=classifier.scatter)
    state = classifier.condense(moments, n_classes)
    labels = jnp.asarray(labels, jnp.int32)
    parts = [_sums(classifier, n_classes, state, labels[:, rows], X[rows]) for rows in blocks]
    scores = _scores(classifier, state, parts, X_val)
    assert scores.dtype == dtype
    return np.asarray(scores)


@partial(jax.jit, static_argnums=(0, 1))
def _sums(classifier, n_classes, state, labels, X):
    summed = jax.vmap(partial(contrast_sums, n_classes=n_classes), in_axes=(0, None))
    return summed(labels, classifier.summed(state, X))


@partial(jax.jit, static_argnums=0)
def _scores(classifier, state, parts, X_val):
    params = jax.vmap(partial(classifier.solve, state))(*(sum(part) for part in zip(*parts, strict=True)))
    return jax.vmap(partial(classifier.score, state), in_axes=(0, None))(params, X_val)


def assert_same_predictions(scores, expected, margin):
    """Every row whose two best scores lie more than `margin` apart is predicted as expected; few are closer."""
    best = np.sort(scores, axis=-1)
    clear = best[..., -1] - best[..., -2] > margin
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(scores.argmax(-1)[clear], np.asarray(expected)[clear])


def assert_mean(sample, expected, n_errors=4):
    """The mean of independent draws is the expected one, up to so many standard errors."""
    sample = np.asarray(sample, float)
    error = sample.std(ddof=1) / np.sqrt(len(sample))
    assert abs(sample.mean() - expected) <= n_errors * error, (sample.mean(), expected, error)


def assert_same(one, other):
    """Two results agree in every field, bit for bit."""
    for field, value in vars(one).items():
        if field == "diagnostics":
            assert value.keys() == other.diagnostics.keys()
            for name in value:
                np.testing.assert_array_equal(value[name], other.diagnostics[name])
        elif field != "up_to":
            np.testing.assert_array_equal(value, getattr(other, field), err_msg=field)
