"""Moments of rows that come a block at a time: mean, spread and scatter, beside those of all rows at once."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmem.classifiers._linear import centre, shifted
from jaxmem.classifiers.moments import moments_of


def cut(X, sizes):
    ends = np.cumsum(sizes)
    assert ends[-1] == len(X)
    return [jnp.asarray(X[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def test_moments_by_hand(float64):
    moments = moments_of(cut(np.array([[0.0, 3], [2, 3], [7, 3]]), [2, 1]), scatter=True)
    np.testing.assert_array_equal(moments.shift.origin, [1, 3])  # The mean of the first block.
    np.testing.assert_allclose(moments.shift.offset, [2, 0])
    np.testing.assert_array_equal(moments.shift.varies, [True, False])
    np.testing.assert_allclose(moments.spread, [np.sqrt((9 + 1 + 16) / 3), 0])
    np.testing.assert_allclose(moments.condensed.T @ moments.condensed, [[26, 0], [0, 0]], atol=1e-9)
    np.testing.assert_allclose(shifted(moments.shift, jnp.array([[4.0, 8]])), [[1, 0]])


@pytest.mark.parametrize("scatter", [True, False])
@pytest.mark.parametrize("sizes", [[50], [1] * 50, [20, 20, 10], [49, 1], [3, 47]])
def test_blocks_of_any_size_have_the_moments_of_the_whole(sizes, scatter, float64):
    X = 3 + np.random.default_rng(0).normal(size=(50, 6)) * np.geomspace(1, 100, 6)
    moments = moments_of(cut(X, sizes), scatter=scatter)
    Z = X - X.mean(axis=0)
    assert moments.n == 50
    np.testing.assert_allclose(moments.shift.origin + moments.shift.offset, X.mean(axis=0))
    np.testing.assert_allclose(moments.spread, X.std(axis=0))
    assert moments.condensed.shape == (6 if scatter else 0, 6)
    if scatter:
        np.testing.assert_allclose(moments.condensed.T @ moments.condensed, Z.T @ Z, atol=1e-9)


def test_what_does_not_vary_is_as_for_rows_in_memory():
    X = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    X[:, 1], X[:, 2], X[:, 3] = 0.1, 0, 1e4 + 1e-3 * X[:, 3]  # The last varies by less than its rounding.
    X[7, 4] = 1e6
    np.testing.assert_array_equal(
        moments_of(cut(X, [100, 150, 50]), scatter=True).shift.varies, centre(jnp.asarray(X))[0].varies
    )


def test_sums_of_shifted_rows_vanish_far_from_zero():
    X = (1_000 + np.random.default_rng(0).normal(size=(30_000, 3))).astype(np.float32)
    X[:10_000] += 5  # The first blocks are no sample of the others.
    shift = moments_of(cut(X, [1_000] * 30), scatter=False).shift
    sums = np.asarray(shifted(shift, jnp.asarray(X)), np.float64).sum(axis=0)
    assert np.abs(sums).max() < 0.5  # Beside about 100 for the sum of a class of a third of the rows.


def test_small_directions_are_those_of_the_singular_value_decomposition():
    """Beyond what any Gram matrix in single precision knows, which is the root of its rounding error, 3e-4."""
    rng = np.random.default_rng(0)
    d, sizes = 40, [100] * 200
    mix = np.linalg.qr(rng.normal(size=(d, d)))[0]
    X = (rng.normal(size=(sum(sizes), d)) * np.geomspace(1, 1e-5, d) @ mix + 5).astype(np.float32)
    exact = np.linalg.svd(X - X.mean(axis=0, dtype=float), compute_uv=False)
    found = np.linalg.svd(np.asarray(moments_of(cut(X, sizes), scatter=True).condensed, float), compute_uv=False)
    np.testing.assert_allclose(found, exact, rtol=0.02)
    Z = X - X.mean(axis=0)
    gram = np.sqrt(np.maximum(np.linalg.eigvalsh(Z.T @ Z), 0))[::-1]
    assert np.abs(gram / exact - 1).max() > 0.5
