"""A small residual network with pre-activation blocks."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from flax import nnx
from jaxtyping import Array, Float

from jaxmem.nets.models.checks import as_image_shape, check_images, check_options
from jaxmem.nets.models.layers import ACTIVATIONS, Convolution, Dropout, batch_normalization, mean_pool

__all__ = ["ResNet"]


class ResNet(nnx.Module):
    """Pre-activation residual network (He et al., 2016): a convolution, one block per stage, mean over the pixels.

    h_k = s(p(h_{k-1})) + K' * dropout(a(K * a(p(h_{k-1})))), where a is a norm and then the activation, p the mean over
    2 x 2 squares (the first stage has none), and s the identity, or a matrix over the channels where their number
    changes. Its hidden layers are named "conv1", "block1", "block2", ... (sums, before any activation) and "pooled",
    the mean over the pixels of a(h), which the linear head reads.

    The norm is group norm (Wu & He, 2018), in groups of four channels or more: the features of a row then depend on
    that row alone, in training as in evaluation, and whether a network memorized a row is a question about that row.
    Batch norm, which ties a row to the others of its minibatch, may be had instead.

    Args:
        image_shape: (h, w, c) of one image; height and width at least 2 ** (len(widths) - 1).
        n_classes: number of logits, at least 2.
        widths: channels of each stage; every stage but the first halves height and width.
        dropout: probability in [0, 1) that a unit between the two convolutions of a block is dropped in training
            (Zagoruyko & Komodakis, 2016).
        activation: one of `ACTIVATIONS`.
        batch_norm: batch norm in place of group norm.
        rngs: where the initial weights are drawn from, e.g. `nnx.Rngs(0)`.

    Raises:
        ValueError: if a size is not positive, the image is too small, `dropout` is outside [0, 1), or the activation
            is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import ResNet, layer_widths
        >>> model = ResNet((8, 8, 1), n_classes=3, widths=(4, 8), rngs=nnx.Rngs(0))
        >>> layer_widths(model, jnp.ones((1, 8, 8, 1)))
        {'conv1': 256, 'block1': 256, 'block2': 128, 'pooled': 8}
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        n_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        dropout: float | Float[Array, ""] = 0.0,
        activation: str = "relu",
        batch_norm: bool = False,
        *,
        rngs: nnx.Rngs,
    ):
        check_options(self, widths, dropout, activation)
        self.image_shape = as_image_shape(self, image_shape, n_classes, smallest=2 ** (len(widths) - 1))
        self.activation = activation
        norm = batch_normalization if batch_norm else _group_normalization
        self.convolution = Convolution(self.image_shape[2], widths[0], rngs=rngs)
        self.blocks = nnx.List(
            [_Block(inputs, outputs, activation, norm, rngs=rngs) for inputs, outputs in pairwise((widths[0], *widths))]
        )
        self.norm = norm(widths[-1], rngs=rngs)
        self.head = nnx.Linear(widths[-1], n_classes, rngs=rngs)
        self.dropout = Dropout(dropout, rngs=rngs)

    def hidden(self, X: Float[Array, "n h w c"]) -> dict[str, Float[Array, "n ..."]]:
        """Activation of every hidden layer.

        Args:
            X: images, (n, h, w, c).

        Returns:
            {"conv1": (n, h, w, widths[0]), "block1": (n, h, w, widths[0]),
            "block2": (n, h // 2, w // 2, widths[1]), ..., "pooled": (n, widths[-1])}

        Raises:
            ValueError: if the images have another shape than `image_shape`.
        """
        check_images(self, X, self.image_shape)
        h = self.convolution(X)
        activations = {"conv1": h}
        for number, block in enumerate(self.blocks, start=1):
            h = block(h if number == 1 else mean_pool(h), self.dropout)
            activations[f"block{number}"] = h
        activations["pooled"] = ACTIVATIONS[self.activation](self.norm(h)).mean(axis=(1, 2))
        return activations

    def __call__(self, X: Float[Array, "n h w c"]) -> Float[Array, "n k"]:
        """Logits of images (n, h, w, c); raises as `hidden` does."""
        return self.head(self.hidden(X)["pooled"])


class _Block(nnx.Module):
    """One residual block of two convolutions; its input has been pooled already."""

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        activation: str,
        norm: Callable[..., nnx.Module],
        *,
        rngs: nnx.Rngs,
    ):
        self.activation = activation
        self.norms = nnx.List([norm(n_inputs, rngs=rngs), norm(n_outputs, rngs=rngs)])
        self.convolutions = nnx.List(
            [Convolution(n_inputs, n_outputs, rngs=rngs), Convolution(n_outputs, n_outputs, rngs=rngs)]
        )
        widens = n_inputs != n_outputs
        self.shortcut = nnx.Linear(n_inputs, n_outputs, use_bias=False, rngs=rngs) if widens else None

    def __call__(self, X: Float[Array, "n h w c"], dropout: Dropout) -> Float[Array, "n h w d"]:
        activate = ACTIVATIONS[self.activation]
        h = self.convolutions[0](activate(self.norms[0](X)))
        h = self.convolutions[1](dropout(activate(self.norms[1](h))))
        return h + (X if self.shortcut is None else self.shortcut(X))


def _group_normalization(n_channels: int, *, rngs: nnx.Rngs) -> nnx.GroupNorm:
    # Groups of one channel would, at a single pixel, leave nothing of the image; the divisor makes groups equal.
    n_groups = math.gcd(n_channels, max(n_channels // 4, 1))
    return nnx.GroupNorm(n_channels, num_groups=n_groups, rngs=rngs)
