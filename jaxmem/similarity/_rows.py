"""What several measures do to the rows of one network: centre them, take their distances, bring them to unit length."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxmem.blocks import over_row_blocks
from jaxmem.classifiers._linear import centre, exactly

__all__ = ["centred", "inner", "permuted_pairs", "rounding", "square_distances", "unit"]

_BLOCK = 8_192  # Entries of a matrix at a time.
_ERRORS = 8  # Machine epsilons of the terms that a distance is the difference of.


def centred(X: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Features minus their means, of unit norm; those that do not vary are exactly zero, and not rounding errors."""
    return unit(centre(X)[1])


def unit(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """An array divided by the root of its sum of squares; zeros stay zeros."""
    largest = jnp.abs(values).max()
    scaled = values / jnp.where(largest > 0, largest, 1)  # Squares of small numbers vanish in single precision.
    norm = jnp.sqrt((scaled**2).sum())
    return scaled / jnp.where(norm > 0, norm, 1)


def square_distances(X: Float[Array, "n d"]) -> Float[Array, "n n"]:
    """Squared Euclidean distances between all rows of centred features; zero where they are nothing but rounding."""
    squares = (X**2).sum(axis=1)
    terms = squares[:, None] + squares[None, :]
    distances = terms - 2 * exactly(X, X.T)
    return jnp.where(jnp.eye(len(X), dtype=bool) | (distances <= rounding(terms)), 0, distances)


def rounding(terms: Float[Array, "..."]) -> Float[Array, "..."]:
    """By how much distances that are equal may differ, from the size of the terms that they are computed from."""
    return _ERRORS * jnp.finfo(terms.dtype).eps * terms


def permuted_pairs(matrix: Float[Array, "n n"], permutation: Int[Array, " n"]) -> Float[Array, "n n"]:
    """A matrix of pairs of rows, when the rows come in another order."""
    return matrix[permutation][:, permutation]


def inner(a: Float[Array, "n n"], b: Float[Array, "n n"]) -> Float[Array, ""]:
    """Inner product of two matrices; for all pairs of many, mapped twice, it is a matrix product."""

    def block(rows: tuple[Array, Array]) -> tuple[Array, None]:
        return jnp.vdot(*rows, precision="highest"), None

    # A product of a few rows with millions of columns leaves the cache at every step: by blocks it is four times as
    # fast, and loses fewer digits.
    return over_row_blocks(block, (a, b), max(1, _BLOCK // len(a)))[0]
