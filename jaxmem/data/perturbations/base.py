"""What a perturbation is: a random change of one image by an amount, run over the rows of an array.

It is written for one image and one amount; `Perturbation.__call__` runs it over the rows, each with a key of its own.
The amount is an argument of the compiled code and not a constant in it, so a sweep over amounts compiles once. To add
one: write a frozen dataclass with one field, its amount, and add it to `PERTURBATIONS` in this folder's `__init__`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Num, PRNGKeyArray

from jaxmem.data.arrays import row_keys

__all__ = ["Amount", "Perturbation", "at_least_zero", "share"]

Amount = int | float | Num[Array, ""]


class Perturbation:
    """Base of the perturbations: one amount, a name, and a random change of one image.

    `str(perturbation)` is its label, "name:amount", which `parse` reads back.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import GaussianNoise
        >>> copies, source = GaussianNoise(0.1).copies(jax.random.key(0), jnp.zeros((4, 8, 8, 1)), n_copies=2)
        >>> copies.shape, source
        ((8, 8, 8, 1), array([0, 1, 2, 3, 0, 1, 2, 3]))
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

    def copies(
        self, key: PRNGKeyArray, X: Float[Array | np.ndarray, "n h w c"], n_copies: int
    ) -> tuple[Float[Array, "m h w c"], Int[np.ndarray, " m"]]:
        """Several perturbed copies of every image, and the row that each was made from.

        Args:
            key: chooses the perturbations; copy number k of all rows uses `fold_in(key, k)`.
            X: float (n, h, w, c) images.
            n_copies: how many of each.

        Returns:
            (n_copies * n, h, w, c) images, all rows' first copies first, and (n_copies * n,) row numbers: the `X_val`
            (flattened) and `source` of `jm.SharedStructure`.
        """
        copies = [self(jax.random.fold_in(key, number), X) for number in range(n_copies)]
        return jnp.concatenate(copies), np.tile(np.arange(len(X)), n_copies)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError if images of this (n, h, w, c) cannot bear the amount; most can."""

    def __str__(self) -> str:
        return f"{self.name}:{repr(self.amount).removesuffix('.0')}"


def at_least_zero(value: Any, name: str, example: str) -> None:
    """Refuse an amount that is negative or not finite."""
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} is {value}; expected a finite number >= 0, such as {example}.")


def share(value: Any, name: str) -> None:
    """Refuse an amount that is no share."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; expected a share from 0 to 1, such as 0.1.")


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
