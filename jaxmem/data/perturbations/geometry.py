"""Perturbations that move pixels: shifts, turns, zooms, and elastic deformation."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from jaxmem.data.perturbations.base import Amount, Perturbation, at_least_zero
from jaxmem.data.perturbations.regions import gaussian_weights, smoothed
from jaxmem.inputs import as_number

__all__ = ["Elastic", "Rotation", "Shift", "Zoom"]

# Pixels over which elastic displacements vary; Simard et al. (2003) used 4 for 28 x 28 digits.
_ELASTIC_REACH = 4.0


@dataclass(frozen=True)
class Shift(Perturbation):
    """Move each image by whole pixels, drawn uniformly from -pixels to pixels down and, separately, across.

    What leaves the frame is lost and zeros come in: nothing wraps around.

    Args:
        pixels: the furthest move in each direction, an integer >= 0; 0 moves nothing.

    Raises:
        ValueError: for a negative or fractional `pixels`, and when called on images no larger than the move.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import Shift
        >>> X = jnp.linspace(0, 1, 256).reshape(4, 8, 8, 1)
        >>> copies = Shift(2)(jax.random.key(0), X)
        >>> jnp.isin(copies, X).all().item()  # Pixels of the images, and zeros.
        True
    """

    pixels: int
    name: ClassVar[str] = "shift"
    unit: ClassVar[type] = int

    def __post_init__(self):
        object.__setattr__(self, "pixels", as_number(self.pixels, "pixels", at_least=0))

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Shift one image by up to `amount` pixels: roll it, then black out what came round the edge."""
        down, across = jax.random.randint(key, (2,), -amount, amount + 1)
        row = jnp.arange(image.shape[0])[:, None, None] - down  # where each pixel came from
        column = jnp.arange(image.shape[1])[None, :, None] - across
        inside = (row >= 0) & (row < image.shape[0]) & (column >= 0) & (column < image.shape[1])
        return jnp.where(inside, jnp.roll(image, (down, across), (0, 1)), 0)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse moves that could push the whole image out of the frame."""
        if self.pixels >= min(shape[1:3]):
            raise ValueError(
                f"{self} can push images of {shape[1]} by {shape[2]} pixels out of the frame: "
                f"shift by {min(shape[1:3]) - 1} at most."
            )


@dataclass(frozen=True)
class Rotation(Perturbation):
    """Turn each image about its centre by an angle drawn uniformly from -degrees to degrees; zeros come in.

    Args:
        degrees: the largest turn, >= 0.

    Raises:
        ValueError: for negative or non-finite `degrees`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import Rotation
        >>> X = jnp.linspace(0, 1, 256).reshape(4, 8, 8, 1)
        >>> copies = Rotation(10.0)(jax.random.key(0), X)
        >>> copies.shape, (copies != X).any().item()
        ((4, 8, 8, 1), True)
    """

    degrees: float
    name: ClassVar[str] = "rotation"
    unit: ClassVar[type] = float

    def __post_init__(self):
        at_least_zero(self.degrees, "degrees", "15")

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Turn one image by at most `amount` degrees."""
        angle = jnp.deg2rad(amount * jax.random.uniform(key, (), image.dtype, -1, 1))
        down, across = _from_centre(image)
        return _taken_from(
            image, jnp.cos(angle) * down - jnp.sin(angle) * across, jnp.sin(angle) * down + jnp.cos(angle) * across
        )


@dataclass(frozen=True)
class Zoom(Perturbation):
    """Enlarge or shrink each image about its centre, by a factor drawn log-uniformly from 1 / (1 + a) to 1 + a.

    Args:
        change: a, the largest change of size, >= 0.

    Raises:
        ValueError: for a negative or non-finite `change`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import Zoom
        >>> X = jnp.linspace(0, 1, 256).reshape(4, 8, 8, 1)
        >>> copies = Zoom(0.2)(jax.random.key(0), X)
        >>> copies.shape, (copies != X).any().item()
        ((4, 8, 8, 1), True)
    """

    change: float
    name: ClassVar[str] = "zoom"
    unit: ClassVar[type] = float

    def __post_init__(self):
        at_least_zero(self.change, "change", "0.2")

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Zoom one image by a factor of at most `1 + amount`, in or out."""
        factor = jnp.exp(jax.random.uniform(key, (), image.dtype, -1, 1) * jnp.log1p(jnp.asarray(amount, image.dtype)))
        down, across = _from_centre(image)
        return _taken_from(image, down / factor, across / factor)


@dataclass(frozen=True)
class Elastic(Perturbation):
    """Move every pixel by a smooth random field (Simard, Steinkraus & Platt 2003); zeros come in.

    Args:
        pixels: standard deviation of the moves in each direction, in pixels, >= 0.

    Raises:
        ValueError: for negative or non-finite `pixels`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import Elastic
        >>> X = jnp.linspace(0, 1, 256).reshape(4, 8, 8, 1)
        >>> copies = Elastic(1.0)(jax.random.key(0), X)
        >>> copies.shape, (copies != X).any().item()
        ((4, 8, 8, 1), True)
    """

    pixels: float
    name: ClassVar[str] = "elastic"
    unit: ClassVar[type] = float

    def __post_init__(self):
        at_least_zero(self.pixels, "pixels", "1")

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Deform one image by moves of standard deviation `amount`."""
        field = smoothed(jax.random.normal(key, (*image.shape[:2], 2), image.dtype), _ELASTIC_REACH)
        # An average of unit noise has the sum of its squared weights for variance; fewer pixels count at the edge.
        down, across = ((gaussian_weights(n, _ELASTIC_REACH, image.dtype) ** 2).sum(axis=1) for n in image.shape[:2])
        move = amount * field / jnp.sqrt(down[:, None] * across[None, :])[:, :, None]
        down, across = _from_centre(image)
        return _taken_from(image, down + move[..., 0], across + move[..., 1])


def _from_centre(image: Float[Array, "h w c"]) -> tuple[Float[Array, "h w"], Float[Array, "h w"]]:
    """How far down and across from the centre every pixel lies."""
    h, w, _ = image.shape
    down, across = jnp.meshgrid(jnp.arange(h, dtype=image.dtype), jnp.arange(w, dtype=image.dtype), indexing="ij")
    return down - (h - 1) / 2, across - (w - 1) / 2


def _taken_from(
    image: Float[Array, "h w c"], down: Float[Array, "h w"], across: Float[Array, "h w"]
) -> Float[Array, "h w c"]:
    """The image whose pixels are taken from these places, from the centre; between pixels, from all four around."""
    h, w, _ = image.shape
    places = [down + (h - 1) / 2, across + (w - 1) / 2]
    take = jax.vmap(lambda channel: jax.scipy.ndimage.map_coordinates(channel, places, order=1, cval=0.0), 2, 2)
    return take(image)
