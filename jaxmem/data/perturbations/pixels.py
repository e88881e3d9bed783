"""Perturbations of single pixels: noise that is added, pixels that are lost, contrast."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from jaxmem.data.perturbations.base import Amount, Perturbation, at_least_zero, share

__all__ = ["Contrast", "GaussianNoise", "PixelDropout", "SaltAndPepper", "UniformNoise", "noisy_features"]


@dataclass(frozen=True)
class GaussianNoise(Perturbation):
    """Add independent N(0, sd²) to every pixel.

    The result is not clipped to [0, 1]: clipping would eat half of the noise on black and white pixels, most
    of a digit, and `sd` would no longer say how far a copy is from its source.

    Args:
        sd: standard deviation, in units of the pixel range, >= 0.

    Raises:
        ValueError: for a negative or non-finite `sd`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import GaussianNoise
        >>> X = jnp.linspace(0, 1, 256).reshape(4, 8, 8, 1)
        >>> copies = GaussianNoise(0.1)(jax.random.key(0), X)
        >>> round((copies - X).std().item(), 1)
        0.1
    """

    sd: float
    name: ClassVar[str] = "gaussian-noise"
    unit: ClassVar[type] = float

    def __post_init__(self):
        at_least_zero(self.sd, "sd", "0.1 of the range")

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Add noise of standard deviation `amount` to one image."""
        return image + amount * jax.random.normal(key, image.shape, image.dtype)


@dataclass(frozen=True)
class UniformNoise(Perturbation):
    """Add independent noise, uniform from -width to width, to every pixel; not clipped, as `GaussianNoise` is not.

    Args:
        width: largest change, in units of the pixel range, >= 0.

    Raises:
        ValueError: for a negative or non-finite `width`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import UniformNoise
        >>> X = jnp.linspace(0, 1, 256).reshape(4, 8, 8, 1)
        >>> copies = UniformNoise(0.1)(jax.random.key(0), X)
        >>> abs(copies - X).max().item() < 0.101
        True
    """

    width: float
    name: ClassVar[str] = "uniform-noise"
    unit: ClassVar[type] = float

    def __post_init__(self):
        at_least_zero(self.width, "width", "0.1 of the range")

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Add noise of at most `amount` to one image."""
        return image + amount * jax.random.uniform(key, image.shape, image.dtype, -1, 1)


@dataclass(frozen=True)
class SaltAndPepper(Perturbation):
    """Make a share of the pixels black or white, all channels alike, either with the same probability.

    Args:
        probability: of each pixel, in [0, 1].

    Raises:
        ValueError: for a probability out of range.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import SaltAndPepper
        >>> X = jnp.linspace(0, 1, 256).reshape(4, 8, 8, 1)
        >>> copies = SaltAndPepper(1.0)(jax.random.key(0), X)
        >>> jnp.unique(copies).tolist()
        [0.0, 1.0]
    """

    probability: float
    name: ClassVar[str] = "salt-and-pepper"
    unit: ClassVar[type] = float

    def __post_init__(self):
        share(self.probability, "probability")

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Blacken or whiten each pixel of one image with probability `amount`."""
        draw = jax.random.uniform(key, (*image.shape[:2], 1), image.dtype)
        white = (draw < amount / 2).astype(image.dtype)
        return jnp.where(draw < amount, white, image)


@dataclass(frozen=True)
class PixelDropout(Perturbation):
    """Make a share of the pixels zero, all channels alike.

    Args:
        probability: of each pixel, in [0, 1].

    Raises:
        ValueError: for a probability out of range.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import PixelDropout
        >>> X = jnp.linspace(0, 1, 256).reshape(4, 8, 8, 1)
        >>> copies = PixelDropout(0.5)(jax.random.key(0), X)
        >>> ((copies == X) | (copies == 0)).all().item()
        True
    """

    probability: float
    name: ClassVar[str] = "pixel-dropout"
    unit: ClassVar[type] = float

    def __post_init__(self):
        share(self.probability, "probability")

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Lose each pixel of one image with probability `amount`."""
        lost = jax.random.uniform(key, (*image.shape[:2], 1), image.dtype) < amount
        return jnp.where(lost, 0, image)


@dataclass(frozen=True)
class Contrast(Perturbation):
    """Stretch or squeeze each image about its mean, by a factor drawn log-uniformly from 1 / (1 + a) to 1 + a.

    Args:
        change: a, the largest change of contrast, >= 0.

    Raises:
        ValueError: for a negative or non-finite `change`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import Contrast
        >>> X = jnp.linspace(0, 1, 256).reshape(4, 8, 8, 1)
        >>> copies = Contrast(0.5)(jax.random.key(0), X)
        >>> jnp.allclose(copies.mean(), X.mean()).item()  # About its mean.
        True
    """

    change: float
    name: ClassVar[str] = "contrast"
    unit: ClassVar[type] = float

    def __post_init__(self):
        at_least_zero(self.change, "change", "0.5")

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Change the contrast of one image by a factor of at most `1 + amount`, up or down."""
        factor = jnp.exp(jax.random.uniform(key, (), image.dtype, -1, 1) * jnp.log1p(jnp.asarray(amount, image.dtype)))
        return image + (factor - 1) * (image - image.mean())


def noisy_features(key: PRNGKeyArray, X: Float[Array | np.ndarray, "n d"], sd: float) -> Float[Array, "n d"]:
    """Features with Gaussian noise: copies for features from anywhere, which have no images to perturb.

    Args:
        key: chooses the noise.
        X: (n, d) features.
        sd: standard deviation of the noise in units of each feature's own over the rows, >= 0; a feature that does not
            vary stays as it is.

    Raises:
        ValueError: for a negative or non-finite `sd`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import noisy_features
        >>> X = jnp.array([[0.0, 5.0], [2.0, 5.0]])
        >>> noisy_features(jax.random.key(0), X, sd=0.1)[:, 1].tolist()  # A feature that does not vary.
        [5.0, 5.0]
    """
    at_least_zero(sd, "sd", "0.5")
    X = jnp.asarray(X)
    return X + sd * X.std(axis=0)[None, :] * jax.random.normal(key, X.shape, X.dtype)
