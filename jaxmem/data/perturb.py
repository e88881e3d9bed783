"""Perturbed copies of images: what turns a training set into a shared structure validation set.

A perturbation is written for one image and one amount; `Perturbation.__call__` runs it over the rows, each
with a key of its own. The amount is an argument of the compiled code and not a constant in it, so a sweep over
amounts compiles once. To add a perturbation: write a frozen dataclass with one field, its amount, and append
it to `PERTURBATIONS`.
"""

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Num, PRNGKeyArray

from jaxmem.data.arrays import row_keys

__all__ = ["PERTURBATIONS", "GaussianNoise", "Perturbation", "Shift", "parse"]

Amount = int | float | Num[Array, ""]


class Perturbation:
    """Base of the perturbations: one amount, a name, and a random change of one image.

    `str(perturbation)` is its label, "name:amount", which `parse` reads back.
    """

    name: ClassVar[str]
    unit: ClassVar[type]  # what `parse` makes of the amount: int for counts, float for sizes

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Perturb one image by an amount, which may be traced."""
        raise NotImplementedError

    @property
    def amount(self) -> int | float:
        """The only field, under the name that all perturbations share, as a plain Python number."""
        (value,) = vars(self).values()
        return self.unit(value)

    def __call__(
        self,
        key: PRNGKeyArray,
        X: Float[Array | np.ndarray, "n h w c"],
        first: int | Int[Array, ""] = 0,
    ) -> Float[Array, "n h w c"]:
        """Perturb every image; row i of the result was made from row i of `X`.

        Args:
            key: chooses the perturbations. Row i uses `fold_in(key, first + i)`, so a row is perturbed
                alike whatever rows come with it.
            X: float (n, h, w, c) images.
            first: the number of X's first row, when X is a block of a longer array.

        Raises:
            ValueError: when `X` does not hold images, is not float, or is too small for the amount.
        """
        if X.ndim != 4:
            raise ValueError(
                f"{self} perturbs images, (n, h, w, c), and X has shape {X.shape}: "
                "reshape vectors to images first, and flatten the result."
            )
        if not jnp.issubdtype(X.dtype, jnp.floating):
            raise ValueError(f"{self} expects float images and X is {X.dtype}: divide bytes by 255.")
        self.check(X.shape)
        return _over_rows(self.one, key, jnp.asarray(X), self.amount, first)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError if images of this (n, h, w, c) cannot bear the amount; most can."""

    def __str__(self) -> str:
        return f"{self.name}:{repr(self.amount).removesuffix('.0')}"


@dataclass(frozen=True)
class GaussianNoise(Perturbation):
    """Add independent N(0, sd²) to every pixel.

    The result is not clipped to [0, 1]: clipping would eat half of the noise on black and white pixels, most
    of a digit, and `sd` would no longer say how far a copy is from its source.

    Args:
        sd: standard deviation, in units of the pixel range, >= 0.

    Raises:
        ValueError: for a negative or non-finite `sd`.
    """

    sd: float
    name: ClassVar[str] = "gaussian-noise"
    unit: ClassVar[type] = float

    def __post_init__(self):
        if not (math.isfinite(self.sd) and self.sd >= 0):
            raise ValueError(f"sd is {self.sd}; expected a finite number >= 0, such as 0.1 of the range.")

    @staticmethod
    def one(key: PRNGKeyArray, image: Float[Array, "h w c"], amount: Amount) -> Float[Array, "h w c"]:
        """Add noise of standard deviation `amount` to one image."""
        return image + amount * jax.random.normal(key, image.shape, image.dtype)


@dataclass(frozen=True)
class Shift(Perturbation):
    """Move each image by whole pixels, drawn uniformly from -pixels to pixels down and, separately, across.

    What leaves the frame is lost and zeros come in: nothing wraps around.

    Args:
        pixels: the furthest move in each direction, an integer >= 0; 0 moves nothing.

    Raises:
        ValueError: for a negative or fractional `pixels`, and when called on images no larger than the move.
    """

    pixels: int
    name: ClassVar[str] = "shift"
    unit: ClassVar[type] = int

    def __post_init__(self):
        if not isinstance(self.pixels, int | np.integer) or self.pixels < 0:
            raise ValueError(f"pixels is {self.pixels}; expected a whole number >= 0, such as 2.")

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


PERTURBATIONS: dict[str, type[Perturbation]] = {kind.name: kind for kind in (GaussianNoise, Shift)}


def parse(label: str) -> Perturbation:
    """The perturbation of a label such as "gaussian-noise:0.1" or "shift:2"; `str` gives the label back.

    Args:
        label: "name:amount", the name one of `PERTURBATIONS`.

    Raises:
        ValueError: for an unknown name, a missing or unreadable amount, or one out of range.
    """
    name, _, amount = label.partition(":")
    if name not in PERTURBATIONS:
        near = difflib.get_close_matches(name, PERTURBATIONS, cutoff=0.5) or list(PERTURBATIONS)
        raise ValueError(f"no perturbation is called {name!r}; nearest: {', '.join(near)}.")
    kind = PERTURBATIONS[name]
    try:
        value = kind.unit(amount)
    except ValueError:
        kinds = {int: "a whole number", float: "a number"}[kind.unit]
        raise ValueError(
            f"{label!r} has the amount {amount!r}; expected {kinds} after the colon, as in '{name}:1'."
        ) from None
    return kind(value)  # pyright: ignore[reportCallIssue]  every subclass takes its amount


# Compiled once per kind of perturbation and shape of X.
@partial(jax.jit, static_argnums=0)
def _over_rows(
    one: Callable[..., Array],
    key: PRNGKeyArray,
    X: Float[Array, "n h w c"],
    amount: Amount,
    first: Int[Array, ""],
) -> Float[Array, "n h w c"]:
    return jax.vmap(one, (0, 0, None))(row_keys(key, len(X), first), X, amount)
