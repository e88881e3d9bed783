"""Perturbations of regions: blur, a square cut out, patches that change places."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from jaxmem.data.perturbations.base import Amount, Perturbation, at_least_zero, share
from jaxmem.inputs import as_number

__all__ = ["Blur", "Cutout", "PatchShuffle", "gaussian_weights", "smoothed"]

# Patches along each side of an image.
_GRID = 4


@dataclass(frozen=True)
class Blur(Perturbation):
    """Blur each image by a Gaussian whose standard deviation is drawn uniformly from 0 to sd; edges are not darkened.

    Args:
        sd: the widest, in pixels, >= 0.

    Raises:
        ValueError: for a negative or non-finite `sd`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import Blur
        >>> X = jnp.linspace(0, 1, 256).reshape(4, 8, 8, 1)
        >>> copies = Blur(1.0)(jax.random.key(0), X)
        >>> copies.shape, (copies != X).any().item()
        ((4, 8, 8, 1), True)
    """

    sd: float
    name: ClassVar[str] = "blur"
    unit: ClassVar[type] = float

    def __post_init__(self):
        at_least_zero(self.sd, "sd", "1")

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Blur one image by at most `amount` pixels."""
        return smoothed(image, amount * jax.random.uniform(key, (), image.dtype))


@dataclass(frozen=True)
class Cutout(Perturbation):
    """Make a square zero, centred on any pixel; at the edge, less of it lies inside (DeVries & Taylor 2017).

    Args:
        side: of the square, in whole pixels, >= 0.

    Raises:
        ValueError: for a negative or fractional `side`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import Cutout
        >>> X = jnp.linspace(0, 1, 256).reshape(4, 8, 8, 1)
        >>> copies = Cutout(3)(jax.random.key(0), X)
        >>> copies.shape, (copies != X).any().item()
        ((4, 8, 8, 1), True)
    """

    side: int
    name: ClassVar[str] = "cutout"
    unit: ClassVar[type] = int

    def __post_init__(self):
        object.__setattr__(self, "side", as_number(self.side, "side", at_least=0))

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Cut a square of side `amount` out of one image."""
        h, w, _ = image.shape
        across_key, down_key = jax.random.split(key)
        down = jnp.arange(h)[:, None, None] - jax.random.randint(down_key, (), 0, h)
        across = jnp.arange(w)[None, :, None] - jax.random.randint(across_key, (), 0, w)
        first = -(amount // 2)
        inside = (down >= first) & (down < first + amount) & (across >= first) & (across < first + amount)
        return jnp.where(inside, 0, image)


@dataclass(frozen=True)
class PatchShuffle(Perturbation):
    """Exchange patches of a 4 x 4 grid at random; rows and columns left over by the grid stay.

    Args:
        probability: of each patch to be among those that are exchanged, in [0, 1].

    Raises:
        ValueError: for a probability out of range, and when called on images of fewer than 4 by 4 pixels.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import PatchShuffle
        >>> X = jnp.linspace(0, 1, 256).reshape(4, 8, 8, 1)
        >>> copies = PatchShuffle(0.5)(jax.random.key(0), X)
        >>> copies.shape, (copies != X).any().item()
        ((4, 8, 8, 1), True)
    """

    probability: float
    name: ClassVar[str] = "patch-shuffle"
    unit: ClassVar[type] = float

    def __post_init__(self):
        share(self.probability, "probability")

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Exchange patches of one image, each taking part with probability `amount`."""
        (h, w, c), n = image.shape, _GRID**2
        p, q = h // _GRID, w // _GRID
        order_key, chosen_key = jax.random.split(key)
        chosen = jax.random.uniform(chosen_key, (n,)) < amount
        # The chosen ones, first in their own order and then in a random one; the others follow alike in both.
        rest = jnp.where(chosen, 0, 2.0)
        places = jnp.argsort(rest, stable=True)
        shuffled = jnp.argsort(jnp.where(chosen, jax.random.uniform(order_key, (n,)), 2.0), stable=True)
        region = image[: p * _GRID, : q * _GRID]
        patches = region.reshape(_GRID, p, _GRID, q, c).swapaxes(1, 2).reshape(n, p, q, c)
        patches = patches.at[places].set(patches[shuffled])
        region = patches.reshape(_GRID, _GRID, p, q, c).swapaxes(1, 2).reshape(region.shape)
        return image.at[: p * _GRID, : q * _GRID].set(region)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse images that have fewer pixels than the grid has patches."""
        if min(shape[1:3]) < _GRID:
            raise ValueError(
                f"{self} needs images of {_GRID} by {_GRID} pixels at least, but got {shape[1]} by {shape[2]}."
            )


def smoothed(image: Float[Array, "h w c"], sd: Amount) -> Float[Array, "h w c"]:
    """Averages of nearby pixels with Gaussian weights of standard deviation `sd` in pixels; 0 changes nothing.

    Weights at the edge are those of the pixels that exist, so that a constant image stays constant.
    """
    down, across = (gaussian_weights(n, sd, image.dtype) for n in image.shape[:2])
    return jnp.einsum("ij,jkc,lk->ilc", down, image, across, precision="highest")


def gaussian_weights(n: int, sd: Amount, dtype: Any) -> Float[Array, "n n"]:
    """Weight of every pixel of a line (columns) in the average about every other one (rows)."""
    distance = jnp.arange(n)[:, None] - jnp.arange(n)[None, :]
    narrow = jnp.asarray(sd, dtype) <= 0
    weight = jnp.exp(-0.5 * (distance / jnp.where(narrow, 1, sd)) ** 2).astype(dtype)
    return jnp.where(narrow, jnp.eye(n, dtype=dtype), weight / weight.sum(axis=1, keepdims=True))
