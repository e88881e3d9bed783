"""Places have the distances that they were made from."""

import numpy as np
import pytest

import jaxmem as jm
from jaxmem.similarity import classical_scaling, square_distance


def squares(places):
    return ((places[:, None, :] - places[None, :, :]) ** 2).sum(axis=2)


def test_distances_in_the_plane_are_kept():
    points = np.random.default_rng(0).normal(size=(7, 2))
    places, share = classical_scaling(squares(points))
    np.testing.assert_allclose(squares(places), squares(points), atol=1e-12)
    assert share == pytest.approx(1) and np.allclose(places.mean(axis=0), 0)
    # Of three dimensions two show their share.
    points = np.diag([3.0, 2, 1])[[0, 0, 1, 1, 2, 2]] * np.array([1, -1] * 3)[:, None]
    places, share = classical_scaling(squares(points))
    assert share == pytest.approx((9 + 4) / (9 + 4 + 1))
    np.testing.assert_allclose(np.abs(places[:, 0]), [3, 3, 0, 0, 0, 0], atol=1e-12)


def test_cosines_are_distances_of_vectors():
    networks = np.random.default_rng(0).normal(size=(3, 20, 4))
    found = square_distance(jm.similarities(networks), "cka")
    assert (np.diag(found) == 0).all()
    assert found[0, 1] == pytest.approx(2 - 2 * jm.pair_similarity(networks[0], networks[1]), abs=1e-6)
    divergence = jm.similarities(networks, "jensen-shannon")
    np.testing.assert_allclose(square_distance(divergence, "jensen-shannon"), divergence, atol=1e-9)


def test_bad_distances_are_refused():
    with pytest.raises(ValueError, match="more than 2 networks"):
        classical_scaling(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="finite"):
        classical_scaling(np.full((3, 3), np.nan))
