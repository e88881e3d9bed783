import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from scipy import stats

from jaxmem.data.noise import class_noise, gaussian_noise_inputs, random_labels, shuffled_pixels

KEY = jax.random.key(0)


def test_random_labels_keep_the_class_counts_and_the_dtype():
    y = np.repeat(np.arange(4), [10, 20, 30, 40]).astype(np.int32)
    shuffled = random_labels(KEY, y)
    assert shuffled.dtype == jnp.int32
    np.testing.assert_array_equal(np.bincount(shuffled), [10, 20, 30, 40])
    assert not np.array_equal(shuffled, y)
    np.testing.assert_array_equal(shuffled, random_labels(KEY, jnp.asarray(y)))
    assert not np.array_equal(shuffled, random_labels(jax.random.key(1), y))


def test_random_labels_are_uniform_over_the_orders():
    # 4!/(2! 2!) = 6 orders of 0, 0, 1, 1, each as likely as any other.
    keys = jax.random.split(KEY, 6_000)
    orders = jax.vmap(lambda key: random_labels(key, jnp.array([0, 0, 1, 1])))(keys)
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_labels_is_shuffled_and_the_others_stay(share):
    y = np.arange(400)  # Every label its own: only one in some hundred stays by chance.
    mixed = np.asarray(random_labels(KEY, y, share))
    np.testing.assert_array_equal(np.sort(mixed), y)
    assert share * 400 - 8 <= (mixed != y).sum() <= share * 400
    rows = np.flatnonzero(mixed != np.asarray(random_labels(KEY, y, 0.0)))
    assert share == 0 or stats.kstest(rows / 400, "uniform").pvalue > 1e-3  # From anywhere.
    with pytest.raises(ValueError, match=r"share is 1\.5"):
        random_labels(KEY, y, 1.5)


def test_class_noise_mistakes_as_it_is_told():
    transition = np.array([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]])
    y = np.tile(np.arange(3, dtype=np.int32), 3_000)
    noisy = np.asarray(class_noise(KEY, y, transition))
    assert noisy.dtype == np.int32
    for label in range(3):
        counts = np.bincount(noisy[y == label], minlength=3)
        possible = transition[label] > 0
        assert counts[~possible].sum() == 0
        for count, probability in zip(counts[possible], transition[label][possible], strict=True):
            assert stats.binomtest(int(count), 3_000, probability).pvalue > 1e-3
    np.testing.assert_array_equal(noisy[:10], class_noise(KEY, y[:10], transition))  # Row by row.


@pytest.mark.parametrize(
    ("y", "transition", "message"),
    [
        ([0, 1], [[0.5, 0.4], [0.0, 1.0]], "rows that sum to 1"),
        ([0, 1], [[1.5, -0.5], [0.0, 1.0]], "must hold probabilities"),
        ([0, 2], np.eye(2), "labels from 0 to 2, but transition has 2 classes"),
    ],
)
def test_class_noise_refuses_what_is_no_transition(y, transition, message):
    with pytest.raises(ValueError, match=message):
        class_noise(KEY, np.array(y), np.array(transition, float))


def test_shuffled_pixels_are_the_same_pixels_elsewhere():
    X = jax.random.uniform(KEY, (40, 5, 6, 3))
    for each in (False, True):
        shuffled = shuffled_pixels(KEY, X, each)
        flat, before = np.asarray(shuffled).reshape(40, 30, 3), np.asarray(X).reshape(40, 30, 3)
        # Where each pixel came from; the channels came along.
        places = [[int(np.flatnonzero((b == p).all(axis=1))[0]) for p in f] for f, b in zip(flat, before, strict=True)]
        assert all(sorted(row) == list(range(30)) for row in places)
        assert len({tuple(row) for row in places}) == (40 if each else 1)
        np.testing.assert_array_equal(shuffled[:7], shuffled_pixels(KEY, X[:7], each))


def test_random_labels_refuse_one_hot_rows(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"shape \(4, 2\)"):
        random_labels(KEY, jnp.zeros((4, 2), jnp.int32))


def test_standard_noise_is_standard_normal_whatever_the_inputs():
    X = np.full((500, 8, 8, 1), 7, np.float32)
    noise = gaussian_noise_inputs(KEY, X)
    assert noise.shape == X.shape and noise.dtype == jnp.float32
    assert stats.kstest(np.asarray(noise).ravel(), "norm").pvalue > 1e-3
    # Rows and pixels are independent: no two of the 64 pixels go together more than chance allows.
    correlations = np.corrcoef(np.asarray(noise).reshape(500, -1), rowvar=False) - np.eye(64)
    assert np.abs(correlations).max() < 5 / np.sqrt(500)


def test_matched_noise_has_each_pixels_own_moments():
    rng = np.random.default_rng(0)
    mean, sd = np.array([[0.2, 0.9], [0.5, 0.4]]), np.array([[0.1, 0.02], [0.3, 0.0]])
    X = (mean + sd * rng.standard_normal((20_000, 2, 2))).astype(np.float32)[..., None]
    noise = np.asarray(gaussian_noise_inputs(KEY, X, "matched"))[..., 0]
    np.testing.assert_allclose(noise.mean(0), mean, atol=0.01)
    np.testing.assert_allclose(noise.std(0), sd, atol=0.01)
    np.testing.assert_allclose(noise[:, 1, 1], 0.4, atol=1e-3)  # a pixel that never changes stays as it is
    assert not np.allclose(noise, X[..., 0], atol=0.1)


def test_noise_belongs_to_rows_and_compiles_to_the_same():
    X = jnp.zeros((9, 3, 3, 2))
    noise = gaussian_noise_inputs(KEY, X)
    np.testing.assert_allclose(noise[:4], gaussian_noise_inputs(KEY, X[:4]), atol=1e-6)
    np.testing.assert_allclose(noise, jax.jit(gaussian_noise_inputs)(KEY, X), atol=1e-6)


def test_noise_takes_vectors_and_keeps_double_precision(float64):
    assert gaussian_noise_inputs(KEY, jnp.zeros((5, 7), jnp.float64)).dtype == jnp.float64


def test_unknown_moments_are_refused():
    with pytest.raises(ValueError, match="'standard' or 'matched'"):
        gaussian_noise_inputs(KEY, jnp.zeros((2, 2)), "matching")
