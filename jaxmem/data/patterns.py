"""Patterns of graded simplicity that give a class away, stamped onto images: alone, or in conflict with another.

A pattern says what an image of a class looks like, as a deviation from whatever is there already:

    image = clip(canvas + deviation of the row's class, 0, 1).

On a canvas of noise it is all that there is to learn; on the digits, or on another pattern, it is a second cue. Where
two cues agree in training and disagree in test rows, the predictions of a network tell which one it follows.

References: Gu & Tresp (2019) for the question of which patterns are learnt first; Shah et al. (2020), The pitfalls of
simplicity bias, and Hermann & Lampinen (2020), What shapes feature representations, for cues in conflict.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Integer, Key, PRNGKeyArray

from jaxmem.data.arrays import Dataset, row_keys

__all__ = ["PATTERNS", "Patch", "Pattern", "Pixel", "Prototype", "Wave", "in_conflict", "noise_canvas", "stamped"]

# What is random, each with keys of its own.
_COMMON, _TRAIN, _TEST, _CLASSES = range(4)


@dataclass(frozen=True)
class Pattern:
    """Base of the patterns: what an image of a class deviates by.

    Args:
        strength: of the deviation, in units of the pixel range; positive.

    Raises:
        ValueError: for a strength that is not positive and finite.

    Example:
        >>> from jaxmem.data import PATTERNS, Pattern
        >>> all(isinstance(pattern, Pattern) for pattern in PATTERNS.values())
        True
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        """Check the strength."""
        if not 0 < self.strength < float("inf"):
            raise ValueError(f"strength is {self.strength!r}; expected a positive number, in units of the pixel range.")

    def one(
        self, common: Key[Array, ""], key: Key[Array, ""], code: Int[Array, ""], n_classes: int, shape: tuple[int, ...]
    ) -> Float[Array, "h w c"]:
        """Deviation of one image of a class, before it is multiplied by the strength.

        Args:
            common: key of what all images share.
            key: key of this image alone.
            code: its class.
            n_classes: how many there are.
            shape: (h, w, c).
        """
        raise NotImplementedError

    def __call__(
        self, common: PRNGKeyArray, keys: Key[Array, " n"], X: Float[Array, "n h w c"], codes: Integer[Array, " n"],
        n_classes: int,
    ) -> Float[Array, "n h w c"]:  # fmt: skip
        """Stamp the pattern of each row's class onto its image; arguments as in `one`."""
        draw = partial(self.one, n_classes=n_classes, shape=X.shape[1:])
        deviations = jax.vmap(draw, in_axes=(None, 0, 0))(common, keys, codes)
        return jnp.clip(X + self.strength * deviations, 0.0, 1.0)


@dataclass(frozen=True)
class Pixel(Pattern):
    """One bright pixel: class c lights pixel number c, counted from the upper left along the rows.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from jaxmem.data import Dataset, Pixel, stamped
        >>> X, y = np.zeros((4, 8, 8, 1), np.float32), np.array([0, 1, 0, 1], np.int32)
        >>> canvas = Dataset("blank", X, y, X, y, ("even", "odd"))
        >>> lit = (stamped(jax.random.key(0), canvas, Pixel()).X_train > 0).sum(axis=(1, 2, 3))
        >>> lit.tolist()
        [1, 1, 1, 1]
    """

    strength: float = 0.75

    def one(self, common, key, code, n_classes, shape):
        """See `Pattern.one`."""
        h, w, _ = shape
        lit = jnp.arange(h * w) == code
        return jnp.broadcast_to(lit.reshape(h, w, 1), shape).astype(jnp.float32)


@dataclass(frozen=True)
class Patch(Pattern):
    """A faint bright square: the image is a grid of cells, and class c lights the middle of cell c.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from jaxmem.data import Dataset, Patch, stamped
        >>> X, y = np.zeros((4, 8, 8, 1), np.float32), np.array([0, 1, 0, 1], np.int32)
        >>> canvas = Dataset("blank", X, y, X, y, ("even", "odd"))
        >>> lit = (stamped(jax.random.key(0), canvas, Patch()).X_train > 0).sum(axis=(1, 2, 3))
        >>> lit.tolist()
        [4, 4, 4, 4]
    """

    strength: float = 0.4

    def one(self, common, key, code, n_classes, shape):
        """See `Pattern.one`."""
        h, w, _ = shape
        cells = int(np.ceil(np.sqrt(n_classes)))

        def lit(size: int, cell: Int[Array, ""]) -> Array:
            # The middle half of the cell, and at least one pixel of it.
            side = size // cells
            width, place = max(1, side // 2), jnp.arange(size) - cell * side
            margin = (side - width) // 2
            return (place >= margin) & (place < margin + width)

        square = lit(h, code // cells)[:, None, None] & lit(w, code % cells)[None, :, None]
        return jnp.broadcast_to(square, shape).astype(jnp.float32)


@dataclass(frozen=True)
class Wave(Pattern):
    """A band of frequencies: vertical stripes of random phase, as many a width as the class says.

    The classes have from 1 to w / 2 - 1 periods in w columns, evenly spaced. No pixel alone tells them apart, for
    every pixel is bright as often as dark.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from jaxmem.data import Dataset, Wave, stamped
        >>> X, y = np.zeros((4, 8, 8, 1), np.float32), np.array([0, 1, 0, 1], np.int32)
        >>> canvas = Dataset("blank", X, y, X, y, ("even", "odd"))
        >>> lit = (stamped(jax.random.key(0), canvas, Wave()).X_train > 0).sum(axis=(1, 2, 3))
        >>> lit.tolist()
        [32, 32, 32, 32]
    """

    strength: float = 0.2

    def one(self, common, key, code, n_classes, shape):
        """See `Pattern.one`."""
        w = shape[1]
        periods = 1.0 + code * (w / 2 - 2) / max(1, n_classes - 1)
        phase = jax.random.uniform(key, maxval=2 * jnp.pi)
        stripes = jnp.cos(2 * jnp.pi * periods * jnp.arange(w) / w + phase)
        return jnp.broadcast_to(stripes[None, :, None], shape)


@dataclass(frozen=True)
class Prototype(Pattern):
    """An image of the class's own, every pixel of it standard normal; the canvas is the noise around it.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from jaxmem.data import Dataset, Prototype, stamped
        >>> X, y = np.zeros((4, 8, 8, 1), np.float32), np.array([0, 1, 0, 1], np.int32)
        >>> canvas = Dataset("blank", X, y, X, y, ("even", "odd"))
        >>> lit = (stamped(jax.random.key(0), canvas, Prototype()).X_train > 0).sum(axis=(1, 2, 3))
        >>> lit.tolist()
        [28, 29, 28, 29]
    """

    strength: float = 0.05

    def one(self, common, key, code, n_classes, shape):
        """See `Pattern.one`."""
        return jax.random.normal(jax.random.fold_in(common, code), shape)


PATTERNS: Mapping[str, Pattern] = {
    "pixel": Pixel(),
    "patch": Patch(),
    "prototype": Prototype(),
    "wave": Wave(),
}


def noise_canvas(key: PRNGKeyArray, like: Dataset, level: float = 0.25, sd: float = 0.1) -> Dataset:
    """Grey images with independent Gaussian noise, which know nothing of their labels: pure noise, and a canvas.

    Args:
        key: chooses the noise; row i depends on the key and i alone.
        like: whose sizes, labels and class names are kept.
        level: what the pixels are without noise, from 0 to 1.
        sd: standard deviation of the noise in units of the pixel range; what leaves [0, 1] is clipped.

    Raises:
        ValueError: for a level out of range, or a standard deviation that is not at least 0 and finite.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from jaxmem.data import Dataset, noise_canvas
        >>> X, y = np.zeros((4, 8, 8, 1), np.float32), np.array([0, 1, 0, 1], np.int32)
        >>> canvas = noise_canvas(jax.random.key(0), Dataset("blank", X, y, X, y, ("even", "odd")), level=0.5)
        >>> round(float(canvas.X_train.mean()), 1)
        0.5
    """
    if not (0 <= level <= 1 and 0 <= sd < float("inf")):
        raise ValueError(f"level is {level!r} and sd {sd!r}; expected a level from 0 to 1, and an sd of at least 0.")

    def draw(part: int, X: np.ndarray) -> np.ndarray:
        keys = row_keys(jax.random.fold_in(key, part), len(X))
        noise = jax.vmap(partial(jax.random.normal, shape=X.shape[1:]))(keys)
        return np.asarray(jnp.clip(level + sd * noise, 0.0, 1.0), np.float32)

    return replace(like, name="noise", X_train=draw(_TRAIN, like.X_train), X_test=draw(_TEST, like.X_test))


def stamped(
    key: PRNGKeyArray, canvas: Dataset, pattern: Pattern, test_codes: Int[Array | np.ndarray, " m"] | None = None
) -> Dataset:
    """A data set with a pattern stamped onto its images: that of the label in training rows.

    Args:
        key: chooses what is random about the pattern; row i depends on the key and i alone.
        canvas: the images, and the labels.
        pattern: one of `PATTERNS`, or of your own.
        test_codes: the classes whose patterns the test rows get, (m,); None: their labels.

    Returns:
        The data set, its labels as they were.

    Raises:
        ValueError: when images are too small for so many classes, or `test_codes` are not classes of the test rows.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from jaxmem.data import Dataset, Pixel, stamped
        >>> X, y = np.zeros((4, 8, 8, 1), np.float32), np.array([0, 1, 0, 1], np.int32)
        >>> canvas = Dataset("blank", X, y, X, y, ("even", "odd"))
        >>> stamped(jax.random.key(0), canvas, Pixel(0.5)).X_train[:, 0, :2, 0]
        array([[0.5, 0. ],
               [0. , 0.5],
               [0.5, 0. ],
               [0. , 0.5]], dtype=float32)
    """
    h, w = canvas.X_train.shape[1:3]
    n_classes = len(canvas.class_names)
    if min(h, w) ** 2 < 4 * n_classes:
        raise ValueError(
            f"images of {h} by {w} pixels are too small for patterns of {n_classes} classes; expected at least "
            f"{int(np.ceil(2 * np.sqrt(n_classes)))} pixels a side."
        )
    codes = np.asarray(canvas.y_test if test_codes is None else test_codes)
    if codes.shape != canvas.y_test.shape or not np.isin(codes, np.arange(n_classes)).all():
        raise ValueError(
            f"test_codes must hold one class from 0 to {n_classes - 1} for each of the {len(canvas.y_test)} test rows, "
            f"but has shape {codes.shape}."
        )
    common = jax.random.fold_in(key, _COMMON)

    def draw(part: int, X: np.ndarray, codes: np.ndarray) -> np.ndarray:
        keys = row_keys(jax.random.fold_in(key, part), len(X))
        return np.asarray(_stamp(pattern, n_classes, common, keys, X, codes.astype(np.int32)), np.float32)

    return replace(
        canvas,
        name=f"{canvas.name}+{type(pattern).__name__.lower()}",
        X_train=draw(_TRAIN, canvas.X_train, canvas.y_train),
        X_test=draw(_TEST, canvas.X_test, codes),
    )


@partial(jax.jit, static_argnums=(0, 1))
def _stamp(pattern: Pattern, n_classes: int, common: Array, keys: Array, X: Array, codes: Array) -> Array:
    return pattern(common, keys, X, codes, n_classes)


def in_conflict(key: PRNGKeyArray, canvas: Dataset, pattern: Pattern) -> tuple[Dataset, Dataset]:
    """A pattern that agrees with the canvas's own classes in training rows, and disagrees in every test row.

    Args:
        key: as in `stamped`; chooses as well which other class the pattern of a test row says, uniformly.
        canvas: images that tell their labels: digits, or those of another pattern.
        pattern: what says something else in test rows.

    Returns:
        The same images twice: with test labels as the canvas has them, and with those of the pattern. The accuracies
        of a network on both are how often it follows either; what is missing to one, neither.

    Raises:
        ValueError: as `stamped` does.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from jaxmem.data import Dataset, Pixel, in_conflict
        >>> X, y = np.zeros((4, 8, 8, 1), np.float32), np.array([0, 1, 0, 1], np.int32)
        >>> canvas = Dataset("blank", X, y, X, y, ("even", "odd"))
        >>> as_canvas, as_pattern = in_conflict(jax.random.key(0), canvas, Pixel())
        >>> as_canvas.y_test.tolist(), as_pattern.y_test.tolist()
        ([0, 1, 0, 1], [1, 0, 1, 0])
    """
    n_classes = len(canvas.class_names)
    keys = row_keys(jax.random.fold_in(key, _CLASSES), len(canvas.y_test))
    away = jax.vmap(lambda one: jax.random.randint(one, (), 1, n_classes))(keys)
    codes = np.asarray((canvas.y_test + np.asarray(away)) % n_classes, np.int32)
    by_canvas = stamped(key, canvas, pattern, codes)
    return by_canvas, replace(by_canvas, y_test=codes)
