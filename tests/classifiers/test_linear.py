"""What happens before the labels enter: centring far from zero, constant features, axes of tall and wide rows."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmem.classifiers._linear import centre, gram_matrix, right_singular


def test_the_mean_and_what_varies_by_hand():
    X = jnp.array([[1.0, 0.1, -5.0], [3.0, 0.1, -5.0], [5.0, 0.1, -5.0]])
    shift, centred = centre(X)
    np.testing.assert_allclose(shift.origin + shift.offset, [3, 0.1, -5], rtol=1e-6)
    np.testing.assert_array_equal(centred, [[-2, 0, 0], [0, 0, 0], [2, 0, 0]])
    np.testing.assert_array_equal(shift.varies, [True, False, False])


def test_sums_of_centred_rows_vanish_far_from_zero():
    X = (1_000 + np.random.default_rng(0).normal(size=(30_000, 3))).astype(np.float32)
    sums = np.asarray(centre(jnp.asarray(X))[1], np.float64).sum(axis=0)
    assert np.abs(sums).max() < 0.5  # Beside about 100 for the sum of a class of a third of the rows.


@pytest.mark.parametrize("d", [1, 2, 5, 8])
def test_a_gram_matrix_of_few_or_an_odd_number_of_features(d):
    Z = np.random.default_rng(0).integers(-9, 10, size=(30, d)).astype(np.float32)
    np.testing.assert_array_equal(gram_matrix(jnp.asarray(Z)), Z.T @ Z)


@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (12, 12)])
def test_axes_equal_those_of_the_singular_value_decomposition(float64, shape):
    Z = np.random.default_rng(0).normal(size=shape)
    Z -= Z.mean(axis=0)
    squares, right = right_singular(jnp.asarray(Z), len(Z))
    expected = np.linalg.svd(Z, compute_uv=False)[::-1] ** 2
    np.testing.assert_allclose(squares, expected, atol=1e-10)
    np.testing.assert_allclose(Z @ right @ right.T, Z, atol=1e-10)
    np.testing.assert_allclose(right.T @ right, np.diag(np.asarray(squares) > 1e-9), atol=1e-10)
