"""Labels and inputs with nothing to learn in them: the two randomizations of Zhang et al. (2017).

A network trained on random labels can only memorize; one trained on noise inputs has no image to look at.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, PRNGKeyArray

from jaxmem.data.arrays import row_keys

__all__ = ["gaussian_noise_inputs", "random_labels"]


def random_labels(key: PRNGKeyArray, y: Int[Array | np.ndarray, " n"]) -> Int[Array, " n"]:
    """The given labels in a uniformly random order, which keeps every class as large as it was.

    Args:
        key: chooses the order.
        y: (n,) integer labels.

    Returns:
        (n,) labels of the same dtype. With C equal classes, about n / C rows keep their own label by chance.

    Raises:
        ValueError: when `y` is not a vector.
    """
    if y.ndim != 1:
        raise ValueError(f"y has shape {y.shape}; expected (n,), one class number per row: not one-hot rows.")
    return jax.random.permutation(key, jnp.asarray(y))


def gaussian_noise_inputs(
    key: PRNGKeyArray, X: Float[Array | np.ndarray, "n *shape"], moments: str = "standard"
) -> Float[Array, "n *shape"]:
    """Independent Gaussian noise in the place of every pixel of `X`; row i depends on the key and i alone.

    Args:
        key: chooses the noise.
        X: (n, ...) inputs; their shape and dtype are kept.
        moments: "standard": every pixel is N(0, 1), whatever `X` holds. "matched": pixel p is
            N(mean of X[:, p], variance of X[:, p]) over the rows, so the noise has the scale of the images
            and a pixel that never changes stays as it is.

    Returns:
        (n, ...) noise, not clipped: it leaves [0, 1].

    Raises:
        ValueError: for an unknown `moments`.
    """
    if moments not in ("standard", "matched"):
        raise ValueError(f"moments is {moments!r}; expected 'standard' or 'matched'.")
    X = jnp.asarray(X)
    draw = partial(jax.random.normal, shape=X.shape[1:], dtype=X.dtype)
    noise = jax.vmap(draw)(row_keys(key, len(X)))
    if moments == "standard":
        return noise
    return X.mean(0, keepdims=True) + X.std(0, keepdims=True) * noise
