"""Patterns: what each looks like, worked by hand; that rows are their own; agreement and conflict by construction."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier

from jaxmem.data import PATTERNS, Dataset, Patch, Pixel, Prototype, Wave, in_conflict, load, noise_canvas, stamped

KEY = jax.random.key(3)


def blank(n=40, size=8, n_classes=4, level=0.0):
    y = (np.arange(n) % n_classes).astype(np.int32)
    X = np.full((n, size, size, 1), level, np.float32)
    return Dataset("blank", X, y, X[:20], y[:20], tuple(map(str, range(n_classes))))


@pytest.fixture(scope="module")
def digits():
    found = load("digits")
    return replace(found, X_train=found.X_train[:1000], y_train=found.y_train[:1000])


def test_a_pixel_by_hand():
    found = stamped(KEY, blank(), Pixel(0.5))
    expected = np.zeros((40, 64))
    expected[np.arange(40), np.arange(40) % 4] = 0.5
    np.testing.assert_array_equal(found.X_train.reshape(40, 64), expected)


def test_a_patch_by_hand():
    """Four classes on 8 by 8 pixels: cells of 4 pixels, of which the 2 in the middle are lit."""
    found = stamped(KEY, blank(), Patch(0.4)).X_train[:4, :, :, 0]
    for code, (row, column) in enumerate([(1, 1), (1, 5), (5, 1), (5, 5)]):
        expected = np.zeros((8, 8), np.float32)
        expected[row : row + 2, column : column + 2] = 0.4
        np.testing.assert_allclose(found[code], expected)


def test_a_wave_has_the_frequency_of_its_class_and_a_phase_of_its_own():
    """From 1 to 3 periods in 8 columns; four classes: 1, 5/3, 7/3 and 3."""
    found = stamped(KEY, blank(200, level=0.5), Wave(0.2)).X_train[..., 0] - 0.5
    np.testing.assert_array_equal(found, np.repeat(found[:, :1], 8, axis=1))
    spectrum = np.abs(np.fft.rfft(found[:, 0], axis=1))
    for code, periods in ((0, 1), (3, 3)):
        own = spectrum[code::4]
        np.testing.assert_allclose(own[:, periods], 0.2 * 8 / 2, rtol=1e-4)
        np.testing.assert_allclose(np.delete(own, periods, axis=1), 0, atol=1e-5)
    # Any phase is as likely as any other: a pixel is bright as often as dark.
    assert abs((found[::4, 0, 0] > 0).mean() - 0.5) < 0.25


def test_prototypes_are_the_classes_own_and_the_same_in_training_and_test_rows():
    found = stamped(KEY, blank(level=0.5), Prototype(0.05))
    np.testing.assert_array_equal(found.X_train[:20], found.X_test)
    deviations = (found.X_train[:4].reshape(4, -1) - 0.5) / 0.05
    assert abs(deviations.mean()) < 0.2 and abs(deviations.std() - 1) < 0.2
    assert abs(np.corrcoef(deviations)[~np.eye(4, dtype=bool)]).max() < 0.5
    other = stamped(jax.random.key(4), blank(level=0.5), Prototype(0.05))
    assert not np.allclose(other.X_train, found.X_train)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_row_is_the_same_whatever_comes_with_it(digits, name):
    few = replace(digits, X_train=digits.X_train[:7], y_train=digits.y_train[:7])
    whole, part = (stamped(KEY, noise_canvas(KEY, data), PATTERNS[name]) for data in (digits, few))
    np.testing.assert_allclose(part.X_train, whole.X_train[:7], atol=1e-6)
    np.testing.assert_array_equal(part.y_train, digits.y_train[:7])


def test_noise_knows_nothing_of_the_labels(digits):
    noise = noise_canvas(KEY, digits, level=0.5, sd=0.05)
    assert noise.X_train.shape == digits.X_train.shape and noise.class_names == digits.class_names
    assert abs(noise.X_train.mean() - 0.5) < 1e-3 and abs(noise.X_train.std() - 0.05) < 1e-3
    assert not np.array_equal(noise.X_train[:1000], noise.X_test[:1000])
    np.testing.assert_array_equal(noise.y_test, digits.y_test)
    fit = RidgeClassifier(100).fit(noise.X_train.reshape(1000, -1), noise.y_train)
    assert abs(fit.score(noise.X_test.reshape(len(noise.X_test), -1), noise.y_test) - 0.1) < 0.04


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_alone_gives_the_label_away(digits, name):
    """To a linear classifier, but for waves, whose phases only neighbours see through."""
    data = stamped(KEY, noise_canvas(KEY, digits), PATTERNS[name])
    classifier = KNeighborsClassifier(5) if name == "wave" else RidgeClassifier(1)
    X, X_test = (x.reshape(len(x), -1) for x in (data.X_train, data.X_test))
    assert classifier.fit(X, data.y_train).score(X_test, data.y_test) > 0.9


def test_patterns_agree_in_training_rows_and_disagree_in_every_test_row(digits):
    first = stamped(jax.random.key(1), noise_canvas(KEY, digits), Patch())
    by_canvas, by_pattern = in_conflict(KEY, first, Pixel())
    np.testing.assert_array_equal(by_canvas.X_test, by_pattern.X_test)
    np.testing.assert_array_equal(by_canvas.y_test, digits.y_test)
    assert (by_pattern.y_test != digits.y_test).all()
    # Every other class as likely as any other.
    away = np.bincount((by_pattern.y_test - digits.y_test) % 10, minlength=10)
    assert away[0] == 0 and abs(away[1:] - len(digits.y_test) / 9).max() < 5 * np.sqrt(len(digits.y_test) / 9)
    # The lit pixel says the pattern's class, and in training the label.
    lit = (by_canvas.X_test - first.X_test).reshape(len(digits.y_test), -1)[:, :10].argmax(axis=1)
    np.testing.assert_array_equal(lit, by_pattern.y_test)
    lit = (by_canvas.X_train - first.X_train).reshape(1000, -1)[:, :10].argmax(axis=1)
    np.testing.assert_array_equal(lit, digits.y_train)


def test_pixels_stay_within_their_range(digits):
    for pattern in PATTERNS.values():
        strong = replace(pattern, strength=3.0)
        images = stamped(KEY, digits, strong).X_train
        assert images.min() >= 0 and images.max() <= 1 and images.dtype == np.float32


def test_refusals(unchecked):
    small = blank(size=3)
    for call, message in [
        (lambda: Pixel(0), "strength is 0"),
        (lambda: Wave(float("nan")), "strength is nan"),
        (lambda: noise_canvas(KEY, small, sd=-1), "sd -1"),
        (lambda: noise_canvas(KEY, small, level=2), "level is 2"),
        (lambda: stamped(KEY, small, Pixel()), "too small for patterns of 4 classes; expected at least 4 pixels"),
        (lambda: stamped(KEY, blank(), Pixel(), np.zeros(3, int)), r"has shape \(3,\)"),
        (lambda: stamped(KEY, blank(), Pixel(), np.full(20, 4)), "from 0 to 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_jit_and_loop_agree():
    data, keys = blank(level=0.5), jax.random.split(KEY, 40)
    for pattern in PATTERNS.values():
        X, codes = jnp.asarray(data.X_train), jnp.asarray(data.y_train)
        at_once = jax.jit(pattern, static_argnums=4)(KEY, keys, X, codes, 4)
        one = jnp.clip(X[5] + pattern.strength * pattern.one(KEY, keys[5], codes[5], 4, X.shape[1:]), 0, 1)
        np.testing.assert_allclose(at_once[5], one, atol=1e-6)
