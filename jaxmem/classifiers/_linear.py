"""What several classifiers do to the training rows before any label enters: centre them, and find their axes."""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

__all__ = ["centre", "exactly", "right_singular"]

# Done once and without labels, hence never at the reduced precision that an accelerator may use for the label step.
exactly = partial(jnp.matmul, precision="highest")


def centre(X: Float[Array, "n d"]) -> tuple[Float[Array, " d"], Float[Array, "n d"], Bool[Array, " d"]]:
    """Mean of the rows, the centred rows, and which features vary at all; the others are zero in the centred rows."""
    mean = X.mean(axis=0)
    centred = X - mean[None, :]
    # Rounding of the mean leaves a constant column at a few ulp of its magnitude; that is no variation.
    varies = jnp.abs(centred).max(axis=0) > 16 * jnp.finfo(X.dtype).eps * jnp.abs(mean)
    # Elsewhere that rest is in every row, and in a sum over thousands of rows it outweighs a difference of classes.
    rest = centred.mean(axis=0)
    return mean + rest, jnp.where(varies[None, :], centred - rest[None, :], 0), varies


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
