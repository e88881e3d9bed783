"""What several classifiers do to the training rows before any label enters: centre them, and find their axes."""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxmem.blocks import over_row_blocks

__all__ = ["Shift", "beyond_rounding", "centre", "exactly", "gram_matrix", "located", "right_singular", "shifted"]

# Done once and without labels, hence never at the reduced precision that an accelerator may use for the label step.
exactly = partial(jnp.matmul, precision="highest")


class Shift(NamedTuple):
    """Where the mean of features is, and which of them vary at all."""

    origin: Float[Array, " d"]
    offset: Float[Array, " d"]  # The mean is `origin + offset`; kept apart, for the sum would be rounded.
    varies: Bool[Array, " d"]


def located(X: Float[Array, "n d"]) -> Shift:
    """The mean of the rows, and which features vary by more than its rounding."""
    origin = X.mean(axis=0)

    def block(rows: Float[Array, "k d"]) -> tuple[tuple[Array, Array], None]:
        away = rows - origin[None, :]
        return (away.sum(axis=0), beyond_rounding(jnp.abs(away), origin[None, :]).sum(axis=0)), None

    # Elsewhere that rest is in every row, and in a sum over thousands of rows it outweighs a difference of classes.
    rest, n_away = over_row_blocks(block, X)[0]
    return Shift(origin, rest / len(X), n_away > 0)


def beyond_rounding(distances: Float[Array, "... d"], mean: Float[Array, "... d"]) -> Bool[Array, "... d"]:
    """Which distances from the mean are variation."""
    # Rounding of the mean leaves a constant column at a few ulp of its magnitude; that is none.
    return distances > 16 * jnp.finfo(mean.dtype).eps * jnp.abs(mean)


def shifted(shift: Shift, X: Float[Array, "k d"]) -> Float[Array, "k d"]:
    """Rows less the mean; features that do not vary over the training rows are zero."""
    return jnp.where(shift.varies[None, :], X - shift.origin[None, :] - shift.offset[None, :], 0)


def centre(X: Float[Array, "n d"]) -> tuple[Shift, Float[Array, "n d"]]:
    """Where the rows have their mean, and the rows less it."""
    shift = located(X)
    return shift, shifted(shift, X)


def gram_matrix(Z: Float[Array, "k d"]) -> Float[Array, "d d"]:
    """`ZᵀZ`, of which one of the two quarters that mirror each other is computed."""
    half = Z.shape[1] // 2
    left, right = Z[:, :half], Z[:, half:]
    across = exactly(left.T, right)
    return jnp.block([[exactly(left.T, left), across], [across.T, exactly(right.T, right)]])


def right_singular(Z: Float[Array, "k d"], n: int) -> tuple[Float[Array, " r"], Float[Array, "d r"]]:
    """Squared singular values, ascending, and right singular vectors, from the smaller Gram matrix.

    Rows `Z` are either all `n` that there are, or fewer with the same Gram matrix.

    Eigenvectors where a Cholesky factor would be cheaper: features of low rank are common, rounding then makes the
    Gram matrix indefinite, and a factor would be NaN where eigenvalues below the rounding error just count as zero.
    """
    if n > Z.shape[1]:
        squares, right = jnp.linalg.eigh(exactly(Z.T, Z))
        return jnp.maximum(squares, 0), right
    squares, left = jnp.linalg.eigh(exactly(Z, Z.T))
    # Centred rows are linearly dependent: at least one direction has no right vector and is left out.
    real = squares > n * jnp.finfo(Z.dtype).eps * squares[-1]
    inverse = jnp.where(real, 1 / jnp.sqrt(jnp.where(real, squares, 1)), 0)
    return jnp.where(real, squares, 0), exactly(Z.T, left) * inverse[None, :]
