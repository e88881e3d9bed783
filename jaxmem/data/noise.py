"""Labels and inputs with less to learn in them: the randomizations of Zhang et al. (2017), and wrong labels.

A network trained on random labels can only memorize; one trained on noise inputs has no image to look at; one trained
on shuffled pixels has all of the image but for what lies next to what.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, PRNGKeyArray

from jaxmem.data.arrays import row_keys

__all__ = ["class_noise", "gaussian_noise_inputs", "random_labels", "shuffled_pixels"]


def random_labels(key: PRNGKeyArray, y: Int[Array | np.ndarray, " n"], share: float = 1.0) -> Int[Array, " n"]:
    """The labels of a random share of the rows in a uniformly random order, which keeps every class as large as it was.

    Args:
        key: chooses the rows and the order.
        y: (n,) integer labels.
        share: of the rows, in [0, 1]; the others keep their labels. So many rows exactly, rounded to the nearest.

    Returns:
        (n,) labels of the same dtype. With C equal classes, about one in C of those rows keeps its own label by chance.

    Raises:
        ValueError: when `y` is not a vector, or `share` is out of range.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from jaxmem.data import random_labels
        >>> y = np.repeat([0, 1], 50)
        >>> half = random_labels(jax.random.key(0), y, share=0.5)
        >>> half.sum().item(), (half != y).sum().item() <= 50
        (50, True)
    """
    _check(y)
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; expected a number from 0 to 1.")
    y = jnp.asarray(y)
    rows_key, order_key = jax.random.split(key)
    rows = jax.random.permutation(rows_key, len(y))[: round(share * len(y))]
    return y.at[rows].set(jax.random.permutation(order_key, y[rows]))


def class_noise(
    key: PRNGKeyArray, y: Int[Array | np.ndarray, " n"], transition: Float[Array | np.ndarray, "C C"]
) -> Int[Array, " n"]:
    """Labels that are mistaken for others with probabilities that depend on the class: sevens for ones, say.

    Args:
        key: chooses the mistakes; row i depends on the key and i alone.
        y: (n,) integer labels from 0 to C - 1.
        transition: (C, C) probabilities that a row of the class of its row gets the label of its column; rows sum to 1.

    Returns:
        (n,) labels of the same dtype.

    Raises:
        ValueError: when `y` is not a vector of such labels, or `transition` does not hold probabilities.

    Example:
        >>> import jax
        >>> import numpy as np
        >>> from jaxmem.data import class_noise
        >>> y = np.repeat([0, 1], 5)
        >>> class_noise(jax.random.key(0), y, np.array([[1.0, 0.0], [1.0, 0.0]])).tolist()  # Every 1 is taken for a 0.
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    """
    _check(y)
    y, transition = jnp.asarray(y), np.asarray(transition)
    if transition.min() < 0 or not np.allclose(transition.sum(axis=1), 1, atol=1e-6):
        raise ValueError(
            f"transition must hold probabilities, rows that sum to 1; these sum to {transition.sum(axis=1)}."
        )
    if y.min() < 0 or y.max() >= len(transition):
        raise ValueError(f"y holds labels from {y.min()} to {y.max()}, but transition has {len(transition)} classes.")
    logits = jnp.log(jnp.asarray(transition))[y]
    return jax.vmap(jax.random.categorical)(row_keys(key, len(y)), logits).astype(y.dtype)


def shuffled_pixels(
    key: PRNGKeyArray, X: Float[Array | np.ndarray, "n h w c"], each: bool = False
) -> Float[Array, "n h w c"]:
    """Images whose pixels have changed places, their channels staying together.

    Args:
        key: chooses the places.
        X: (n, h, w, c) images.
        each: a shuffle of its own for every image, which leaves a bag of pixels; otherwise one for all of them, to be
            used with the same key on training and test images. Row i depends on the key and i alone.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import shuffled_pixels
        >>> X = jnp.arange(64.0).reshape(1, 8, 8, 1)
        >>> shuffled = shuffled_pixels(jax.random.key(0), X)
        >>> (shuffled == X).all().item(), (jnp.sort(shuffled.ravel()) == X.ravel()).all().item()
        (False, True)
    """
    n, h, w, c = X.shape
    flat = jnp.asarray(X).reshape(n, h * w, c)
    if each:
        shuffled = jax.vmap(partial(jax.random.permutation, axis=0))(row_keys(key, n), flat)
    else:
        shuffled = flat[:, jax.random.permutation(key, h * w)]
    return shuffled.reshape(X.shape)


def _check(y: Int[Array | np.ndarray, "..."]) -> None:
    if y.ndim != 1:
        raise ValueError(f"y has shape {y.shape}; expected (n,), one class number per row: not one-hot rows.")


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

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.data import gaussian_noise_inputs
        >>> grey = jnp.full((100, 8, 8, 1), 0.5)
        >>> float(gaussian_noise_inputs(jax.random.key(0), grey, moments="matched").mean())  # No pixel varies.
        0.5
    """
    if moments not in ("standard", "matched"):
        raise ValueError(f"moments is {moments!r}; expected 'standard' or 'matched'.")
    X = jnp.asarray(X)
    draw = partial(jax.random.normal, shape=X.shape[1:], dtype=X.dtype)
    noise = jax.vmap(draw)(row_keys(key, len(X)))
    if moments == "standard":
        return noise
    return X.mean(0, keepdims=True) + X.std(0, keepdims=True) * noise
