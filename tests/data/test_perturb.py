import chex
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jaxmem.data import perturb
from jaxmem.data.perturb import PERTURBATIONS, GaussianNoise, Shift, parse

KEY = jax.random.key(0)
EVERY = [GaussianNoise(0.3), Shift(2)]
IMAGES = jax.random.uniform(jax.random.key(1), (12, 7, 9, 3))


@pytest.fixture
def untyped(monkeypatch):
    """Meet the errors as users do, who run without the type checker."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def shifted(image, down, across):
    """Shift by whole pixels with zeros coming in, written with loops."""
    out = np.zeros_like(image)
    height, width, _ = image.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - across < width:
                out[row, column] = image[row - down, column - across]
    return out


def test_gaussian_noise_is_gaussian_of_the_given_sd_and_not_clipped():
    X = jnp.tile(jnp.array([0.0, 0.5, 1.0]), (2_000, 4, 1))[..., None]
    noise = np.asarray(GaussianNoise(0.2)(KEY, X) - X)
    assert stats.kstest(noise.ravel() / 0.2, "norm").pvalue > 1e-3
    # Black and white pixels are moved as far as grey ones.
    np.testing.assert_allclose(noise.std(axis=(0, 1, 3)), 0.2, rtol=0.03)
    np.testing.assert_allclose(noise.mean(axis=(0, 1, 3)), 0, atol=0.01)


def test_every_shift_is_one_of_the_whole_pixel_shifts_and_all_occur_equally():
    image = np.asarray(jax.random.uniform(KEY, (5, 6, 2))) + 0.1
    X = jnp.tile(image[None], (2_500, 1, 1, 1))
    moved = np.asarray(Shift(2)(KEY, X))
    counts = [
        (moved == shifted(image, down, across)).all(axis=(1, 2, 3)).sum()
        for down in range(-2, 3)
        for across in range(-2, 3)
    ]
    assert sum(counts) == 2_500
    assert stats.chisquare(counts).pvalue > 1e-3


def test_each_row_comes_from_the_same_row():
    X = jnp.arange(1.0, 31.0)[:, None, None, None] * jnp.ones((1, 5, 5, 1))
    middle = Shift(2)(KEY, X)[:, 2, 2, 0]  # a move of 2 leaves the middle pixel of 5 inside
    np.testing.assert_array_equal(middle, jnp.arange(1.0, 31.0))


@pytest.mark.parametrize("perturbation", EVERY, ids=str)
class TestEvery:
    def test_keeps_shape_and_dtype_and_depends_on_the_key(self, perturbation):
        result = perturbation(KEY, IMAGES)
        chex.assert_trees_all_equal_shapes_and_dtypes(result, IMAGES)
        np.testing.assert_array_equal(result, perturbation(KEY, np.asarray(IMAGES)))
        assert not np.array_equal(result, IMAGES)
        assert not np.array_equal(result, perturbation(jax.random.key(1), IMAGES))

    def test_a_row_is_perturbed_alike_whatever_comes_with_it(self, perturbation):
        result = perturbation(KEY, IMAGES)
        for alike, part in (
            (perturbation(KEY, IMAGES[:5]), result[:5]),
            (perturbation(KEY, IMAGES[5:], first=5), result[5:]),
            (perturbation.one(jax.random.fold_in(KEY, 3), IMAGES[3], perturbation.amount), result[3]),
        ):
            np.testing.assert_allclose(alike, part, atol=1e-6)  # vector lanes may round the last digit otherwise

    def test_equal_rows_are_perturbed_differently(self, perturbation):
        result = perturbation(KEY, jnp.tile(IMAGES[:1], (12, 1, 1, 1)))
        assert len(np.unique(np.asarray(result), axis=0)) > 1

    def test_compiles_to_the_same(self, perturbation):
        np.testing.assert_allclose(perturbation(KEY, IMAGES), jax.jit(perturbation)(KEY, IMAGES), atol=1e-6)

    def test_a_sweep_over_amounts_and_keys_compiles_once(self, perturbation):
        X = jnp.ones((3, 11, 5, 1))  # a shape of this test's own
        before = perturb._over_rows._cache_size()
        for amount in (1, 2, 3):
            parse(f"{perturbation.name}:{amount}")(jax.random.key(amount), X)
        assert perturb._over_rows._cache_size() == before + 1

    def test_keeps_double_precision(self, perturbation, float64):
        assert perturbation(KEY, jnp.ones((2, 5, 5, 1), jnp.float64)).dtype == jnp.float64

    def test_amount_zero_makes_exact_copies(self, perturbation):
        nothing = parse(f"{perturbation.name}:0")
        np.testing.assert_array_equal(nothing(KEY, IMAGES), IMAGES)

    def test_the_label_reads_back(self, perturbation):
        assert parse(str(perturbation)) == perturbation

    def test_vectors_are_refused(self, perturbation, untyped):
        with pytest.raises(ValueError, match=r"X has shape \(12, 189\)"):
            perturbation(KEY, IMAGES.reshape(12, -1))

    def test_bytes_are_refused(self, perturbation, untyped):
        with pytest.raises(ValueError, match="divide bytes by 255"):
            perturbation(KEY, np.zeros((2, 5, 5, 1), np.uint8))


def test_every_registered_perturbation_is_tested_here():
    assert {type(perturbation) for perturbation in EVERY} == set(PERTURBATIONS.values())


def test_labels():
    assert str(GaussianNoise(0.1)) == "gaussian-noise:0.1"
    assert str(GaussianNoise(1.0)) == "gaussian-noise:1"
    assert str(Shift(2)) == "shift:2"
    assert parse("gaussian-noise:0.1") == GaussianNoise(0.1)
    assert parse("gaussian-noise:1e-3") == GaussianNoise(0.001)
    assert parse("shift:2") == Shift(2)


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_labels_lose_no_digit(sd):
    assert parse(str(GaussianNoise(sd))) == GaussianNoise(sd)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("gausian-noise:0.1", "nearest: gaussian-noise"),
        ("shfit:2", "nearest: shift"),
        ("blurring", "nearest: gaussian-noise, shift"),
        ("", "nearest: gaussian-noise, shift"),
        ("shift", "expected a whole number after the colon, as in 'shift:1'"),
        ("shift:1.5", "a whole number"),
        ("shift:-1", "pixels is -1"),
        ("gaussian-noise:", "a number after the colon"),
        ("gaussian-noise:much", "'much'"),
        ("gaussian-noise:0.1:2", "'0.1:2'"),
        ("gaussian-noise:-0.1", "sd is -0.1"),
        ("gaussian-noise:nan", "sd is nan"),
        ("gaussian-noise:inf", "sd is inf"),
    ],
)
def test_bad_labels_are_refused(label, message):
    with pytest.raises(ValueError, match=message):
        parse(label)


def test_fractional_shifts_are_refused(untyped):
    with pytest.raises(ValueError, match=r"pixels is 1\.5"):
        Shift(1.5)  # pyright: ignore[reportArgumentType]


def test_a_shift_that_could_lose_the_image_is_refused():
    Shift(6)(KEY, IMAGES)
    with pytest.raises(ValueError, match="7 by 9 pixels out of the frame: shift by 6 at most"):
        Shift(7)(KEY, IMAGES)
