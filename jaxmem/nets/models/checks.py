"""What the networks refuse, and how they say it."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Shaped

from jaxmem.inputs import one_of
from jaxmem.nets.models.layers import ACTIVATIONS

__all__ = ["as_image_shape", "check_images", "check_inputs", "check_options"]


def check_inputs(X: Shaped[Array | np.ndarray, "..."]) -> None:
    """Raise a ValueError unless X is a non-empty floating-point array of shape (n, d) or (n, h, w, c)."""
    if not isinstance(X, jax.Array | np.ndarray):
        raise ValueError(f"X is a {type(X).__name__}; expected an array of NumPy or JAX: np.asarray(X).")
    if X.ndim < 2 or 0 in X.shape:
        raise ValueError(
            f"X has shape {X.shape}; expected at least one row, and (n, d) or (n, h, w, c). "
            "One example alone is X[None]."
        )
    if not jnp.issubdtype(X.dtype, jnp.floating):
        raise ValueError(
            f"X holds {X.dtype}; expected floating-point inputs. Pixels of 0..255 become floats "
            "of a good scale by X.astype('float32') / 255."
        )


def check_options(
    network: nnx.Module, widths: Sequence[int], dropout: float | Float[Array, ""], activation: str
) -> None:
    """Raise a ValueError unless every network could have these options."""
    name = type(network).__name__
    if not widths or min(widths) < 1:
        raise ValueError(
            f"{name} got widths={tuple(widths)}; expected one positive width per hidden layer, "
            "and at least one layer, e.g. widths=(256, 64)."
        )
    # The rates of an ensemble are arrays, traced, one for each member.
    if not isinstance(dropout, jax.Array) and not 0.0 <= dropout < 1.0:
        raise ValueError(f"{name} got dropout={dropout}; expected a probability in [0, 1).")
    one_of(activation, ACTIVATIONS, "activation")


def as_image_shape(
    network: nnx.Module, image_shape: Sequence[int], n_classes: int, smallest: int
) -> tuple[int, int, int]:
    """Take (h, w, c), with height and width of at least `smallest` pixels, and check the number of classes.

    Raises:
        ValueError: another shape, a smaller image, or fewer than two classes.
    """
    name, shape = type(network).__name__, tuple(int(size) for size in image_shape)
    if n_classes < 2:
        raise ValueError(f"{name} got n_classes={n_classes}; expected at least 2 classes.")
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(
            f"{name} got image_shape={shape}; expected height, width and channels of one image, e.g. (28, 28, 1)."
        )
    if min(shape[:2]) < smallest:
        raise ValueError(
            f"{name} got image_shape={shape}; expected at least {smallest} by {smallest} pixels, since it makes them "
            "coarser on the way. Give it fewer stages (shorter widths) or smaller patches, or larger images."
        )
    height, width, channels = shape
    return height, width, channels


def check_images(network: nnx.Module, X: Shaped[Array, "..."], image_shape: tuple[int, int, int]) -> None:
    """Raise a ValueError unless X holds images of this shape."""
    if X.shape[1:] != image_shape:
        raise ValueError(
            f"X of shape {X.shape} does not hold images of shape {image_shape}, as this {type(network).__name__} "
            f"expects. Flattened images become images again by X.reshape(-1, {', '.join(map(str, image_shape))}); for "
            "images of another shape build it with that image_shape."
        )
