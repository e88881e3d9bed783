import chex
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import jaxmem as jm
from jaxmem.data import (
    PERTURBATIONS,
    Blur,
    Contrast,
    Cutout,
    Elastic,
    GaussianNoise,
    PatchShuffle,
    PixelDropout,
    Rotation,
    SaltAndPepper,
    Shift,
    UniformNoise,
    Zoom,
    noisy_features,
    parse,
)
from jaxmem.data.perturbations import base
from jaxmem.data.perturbations.regions import smoothed

KEY = jax.random.key(0)
EVERY = [
    GaussianNoise(0.3),
    UniformNoise(0.3),
    SaltAndPepper(0.2),
    PixelDropout(0.2),
    Contrast(0.5),
    Shift(2),
    Rotation(30.0),
    Zoom(0.3),
    Elastic(1.0),
    Blur(1.0),
    Cutout(3),
    PatchShuffle(0.5),
]
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


def test_uniform_noise_is_uniform():
    noise = np.asarray(UniformNoise(0.2)(KEY, IMAGES * 0)).ravel()
    assert stats.kstest(noise, stats.uniform(-0.2, 0.4).cdf).pvalue > 1e-3


@pytest.mark.parametrize("kind", [SaltAndPepper, PixelDropout])
def test_so_many_pixels_are_lost_and_the_others_stay(kind):
    X = jnp.full((50, 20, 20, 3), 0.5)
    result = np.asarray(kind(0.3)(KEY, X))
    changed = result != 0.5
    assert (changed.all(axis=3) == changed.any(axis=3)).all()  # All channels alike.
    assert stats.binomtest(int(changed[..., 0].sum()), 20_000, 0.3).pvalue > 1e-3
    white = int((result[..., 0] == 1).sum())
    assert set(np.unique(result)) <= {0, 0.5, 1}
    assert (
        stats.binomtest(white, int(changed[..., 0].sum()), 0.5).pvalue > 1e-3 if kind is SaltAndPepper else white == 0
    )


def test_contrast_keeps_the_mean_and_stretches_by_a_log_uniform_factor():
    X = jnp.tile(IMAGES[:1], (2_000, 1, 1, 1))
    result = np.asarray(Contrast(0.5)(KEY, X))
    np.testing.assert_allclose(result.mean(axis=(1, 2, 3)), IMAGES[0].mean(), rtol=1e-4)
    factors = result.std(axis=(1, 2, 3)) / np.asarray(IMAGES[0]).std()
    reach = np.log(1.5)
    assert stats.kstest(np.log(factors), stats.uniform(-reach, 2 * reach).cdf).pvalue > 1e-3


def test_rotation_turns_about_the_centre():
    """Of a single bright pixel the centre of mass moves along a circle, by angles that are uniform."""
    image = np.zeros((21, 21, 1), np.float32)
    image[10, 16] = 1
    turned = np.asarray(Rotation(90.0)(KEY, jnp.tile(image[None], (1_000, 1, 1, 1))))[..., 0]
    places = np.arange(21) - 10
    mass = turned.sum(axis=(1, 2))
    down, across = (turned * places[:, None]).sum(axis=(1, 2)) / mass, (turned * places).sum(axis=(1, 2)) / mass
    np.testing.assert_allclose(np.hypot(down, across), 6, atol=0.25)
    assert stats.kstest(np.degrees(np.arctan2(down, across)), stats.uniform(-90, 180).cdf).pvalue > 1e-3


def test_zoom_moves_pixels_along_rays():
    image = np.zeros((41, 41, 1), np.float32)
    image[20, 28:33] = 1  # Distances 8 to 12: their mean says how far the image was enlarged.
    zoomed = np.asarray(Zoom(0.5)(KEY, jnp.tile(image[None], (1_000, 1, 1, 1))))[..., 0]
    distances = (zoomed * (np.arange(41) - 20)).sum(axis=(1, 2)) / zoomed.sum(axis=(1, 2))
    factors = distances / 10
    assert 1 / 1.55 < factors.min() < 0.75 and 1.35 < factors.max() < 1.55
    assert stats.kstest(np.log(factors), stats.uniform(-np.log(1.5), 2 * np.log(1.5)).cdf).pvalue > 1e-4


def test_elastic_moves_have_the_given_size():
    """On a ramp, the change of a pixel is how far it was moved."""
    ramp = np.tile(np.arange(40.0, dtype=np.float32)[:, None, None], (1, 40, 1))
    moved = np.asarray(Elastic(1.5)(KEY, jnp.tile(ramp[None], (200, 1, 1, 1))))
    moves = (moved - ramp)[:, 8:-8, 8:-8]
    assert np.sqrt((moves**2).mean()) == pytest.approx(1.5, rel=0.1)
    # Smooth: neighbours move nearly together.
    assert np.abs(np.diff(moves, axis=1)).mean() < 0.4


def test_blur_is_scipys_but_for_the_edges():
    from scipy import ndimage

    image = np.asarray(jax.random.uniform(KEY, (30, 30, 1)))
    expected = ndimage.gaussian_filter(image[..., 0].astype(float), 1.3, truncate=12)
    np.testing.assert_allclose(smoothed(jnp.asarray(image), 1.3)[8:-8, 8:-8, 0], expected[8:-8, 8:-8], atol=1e-5)
    np.testing.assert_allclose(smoothed(jnp.ones((5, 7, 2)), 2.0), 1, rtol=1e-6)
    roughness = np.abs(np.diff(Blur(2.0)(KEY, jnp.tile(image[None], (50, 1, 1, 1))), axis=1)).mean(axis=(1, 2, 3))
    assert roughness.max() > 2 * roughness.min()  # Each image by an amount of its own.


@pytest.mark.parametrize("side", [1, 2, 3])
def test_cutout_takes_a_square_anywhere(side):
    holes = np.asarray(Cutout(side)(KEY, jnp.ones((2_000, 6, 6, 1))))[..., 0] == 0
    inner = [hole for hole in holes if hole.sum() == side**2]
    assert len(inner) > 500
    for hole in inner[:50]:
        rows, columns = np.nonzero(hole)
        assert np.ptp(rows) == np.ptp(columns) == side - 1
    assert (holes.any(axis=(1, 2))).all() and (holes.sum(axis=0) > 0).all()


def test_patches_change_places_and_nothing_else():
    X = jnp.arange(9 * 10, dtype=jnp.float32).reshape(1, 9, 10, 1) * jnp.ones((600, 1, 1, 1))
    result = np.asarray(PatchShuffle(1.0)(KEY, X))
    np.testing.assert_array_equal(np.sort(result.reshape(600, -1), axis=1), np.sort(X.reshape(600, -1), axis=1))
    np.testing.assert_array_equal(result[:, 8:], X[:, 8:])  # What a grid of 4 by 4 leaves over.
    np.testing.assert_array_equal(result[:, :, 8:], X[:, :, 8:])
    # The corner of each patch says where it came from: every place is as likely as any other.
    origin = result[:, 0, 0, 0]
    assert stats.chisquare(np.unique(origin, return_counts=True)[1]).pvalue > 1e-3 and len(np.unique(origin)) == 16
    moved = np.asarray(PatchShuffle(0.3)(KEY, X)) != X
    per_image = moved[:, :8:2, :8:2, 0].sum(axis=(1, 2))
    assert 0.3 * 16 - 2 < per_image.mean() < 0.3 * 16  # A chosen patch may draw its own place.
    with pytest.raises(ValueError, match="4 by 4 pixels at least, but got 3 by 8"):
        PatchShuffle(0.5)(KEY, jnp.ones((2, 3, 8, 1)))


def test_several_copies_know_their_source():
    copies, source = GaussianNoise(0.01).copies(KEY, IMAGES, 3)
    assert copies.shape == (36, 7, 9, 3) and source.tolist() == list(range(12)) * 3
    np.testing.assert_allclose(copies, IMAGES[source], atol=0.06)
    assert len(np.unique(np.asarray(copies).reshape(36, -1), axis=0)) == 36
    y = np.arange(12) % 2
    validation = jm.SharedStructure(np.asarray(copies).reshape(36, -1), source)
    test = jm.memorization_test(jm.KNeighbors(1), IMAGES.reshape(12, -1), y, validation, n_permutations=9)
    assert (test.null_distribution == 1).all() and test.example_scores.shape == (36,)


def test_noise_on_features_has_each_features_scale():
    X = np.random.default_rng(0).normal(size=(4_000, 3)) * [0.1, 10, 0] + 5
    noise = np.asarray(noisy_features(KEY, X.astype(np.float32), 0.5)) - X.astype(np.float32)
    np.testing.assert_allclose(noise.std(axis=0), [0.05, 5, 0], rtol=0.05)
    with pytest.raises(ValueError, match="sd is -1"):
        noisy_features(KEY, X.astype(np.float32), -1.0)


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
            (jax.jit(perturbation.one)(jax.random.fold_in(KEY, 3), IMAGES[3], perturbation.amount), result[3]),
        ):
            np.testing.assert_allclose(alike, part, atol=1e-6)  # vector lanes may round the last digit otherwise

    def test_equal_rows_are_perturbed_differently(self, perturbation):
        result = perturbation(KEY, jnp.tile(IMAGES[:1], (12, 1, 1, 1)))
        assert len(np.unique(np.asarray(result), axis=0)) > 1

    def test_compiles_to_the_same(self, perturbation):
        np.testing.assert_allclose(perturbation(KEY, IMAGES), jax.jit(perturbation)(KEY, IMAGES), atol=1e-6)

    def test_a_sweep_over_amounts_and_keys_compiles_once(self, perturbation):
        X = jnp.ones((3, 11, 5, 1))  # a shape of this test's own
        before = base._over_rows._cache_size()
        for seed, amount in enumerate((0, 1, perturbation.amount)):  # 1 is a share, too.
            parse(f"{perturbation.name}:{amount}")(jax.random.key(seed), X)
        assert base._over_rows._cache_size() == before + 1

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
        ("blurring", "nearest: blur"),
        ("", "nearest: gaussian-noise, uniform-noise"),
        ("cutout:2.5", "a whole number"),
        ("cutout:-1", "side must be an integer >= 0, but is -1"),
        ("salt-and-pepper:1.1", "expected a share from 0 to 1"),
        ("pixel-dropout:nan", "expected a share"),
        ("patch-shuffle:-1", "expected a share"),
        ("rotation:-1", "degrees is -1"),
        ("zoom:inf", "change is inf"),
        ("elastic:nan", "pixels is nan"),
        ("blur:-1", "sd is -1"),
        ("contrast:-1", "change is -1"),
        ("uniform-noise:-1", "width is -1"),
        ("shift", "expected a whole number after the colon, as in 'shift:1'"),
        ("shift:1.5", "a whole number"),
        ("shift:-1", "pixels must be an integer >= 0, but is -1"),
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
    with pytest.raises(ValueError, match=r"pixels must be an integer >= 0, but is 1\.5"):
        Shift(1.5)  # pyright: ignore[reportArgumentType]


def test_a_shift_that_could_lose_the_image_is_refused():
    Shift(6)(KEY, IMAGES)
    with pytest.raises(ValueError, match="7 by 9 pixels out of the frame: shift by 6 at most"):
        Shift(7)(KEY, IMAGES)
