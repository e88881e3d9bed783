"""A plain convolutional network."""

from collections.abc import Sequence
from itertools import pairwise

from flax import nnx
from jaxtyping import Array, Float

from jaxmem.nets.models.checks import as_image_shape, check_images, check_options
from jaxmem.nets.models.layers import ACTIVATIONS, Convolution, Dropout, batch_normalization, max_pool

__all__ = ["CNN"]


class CNN(nnx.Module):
    """Stages of a 3 x 3 convolution and 2 x 2 max pooling, one dense layer, a linear head.

    h_k = dropout(max_pool(activation(K_k * h_{k-1} + b_k))), then dropout(activation(W h + b)). Its hidden layers are
    named "conv1", "conv2", ... and "dense1". (LeCun et al., 1998, with today's parts.)

    Args:
        image_shape: (h, w, c) of one image; height and width at least 2 ** len(widths).
        n_classes: number of logits, at least 2.
        widths: channels of each stage; every stage halves height and width.
        dense: units of the dense layer.
        dropout: probability in [0, 1) that a hidden unit is dropped in training, after every hidden layer.
        activation: one of `ACTIVATIONS`.
        batch_norm: batch norm before every activation, over rows and pixels.
        rngs: where the initial weights are drawn from, e.g. `nnx.Rngs(0)`.

    Raises:
        ValueError: if a size is not positive, the image is too small, `dropout` is outside [0, 1), or the activation
            is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import CNN, layer_widths
        >>> model = CNN((8, 8, 1), n_classes=3, widths=(4,), dense=8, rngs=nnx.Rngs(0))
        >>> layer_widths(model, jnp.ones((1, 8, 8, 1)))
        {'conv1': 64, 'dense1': 8}
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        n_classes: int,
        widths: Sequence[int] = (16, 32),
        dense: int = 64,
        dropout: float | Float[Array, ""] = 0.0,
        activation: str = "relu",
        batch_norm: bool = False,
        *,
        rngs: nnx.Rngs,
    ):
        check_options(self, (*widths, dense) if widths else (), dropout, activation)
        height, width, channels = as_image_shape(self, image_shape, n_classes, smallest=2 ** len(widths))
        self.image_shape = (height, width, channels)
        self.activation = activation
        self.convolutions = nnx.List(
            [Convolution(inputs, outputs, rngs=rngs) for inputs, outputs in pairwise((channels, *widths))]
        )
        # Halved k times, rounding down each time, is divided by 2 ** k, rounding down once.
        pixels = (height >> len(widths)) * (width >> len(widths))
        self.dense = nnx.Linear(pixels * widths[-1], dense, rngs=rngs)
        self.head = nnx.Linear(dense, n_classes, rngs=rngs)
        self.dropout = Dropout(dropout, rngs=rngs)
        # Drawn last, so that one seed gives the same weights with and without.
        normed = (*widths, dense) if batch_norm else ()
        self.norms = nnx.List([batch_normalization(width, rngs=rngs) for width in normed])

    def hidden(self, X: Float[Array, "n h w c"]) -> dict[str, Float[Array, "n ..."]]:
        """Activation of every hidden layer, after pooling and (in training) dropout.

        Args:
            X: images, (n, h, w, c).

        Returns:
            {"conv1": (n, h // 2, w // 2, widths[0]), "conv2": (n, h // 4, w // 4, widths[1]), ...,
            "dense1": (n, dense)}

        Raises:
            ValueError: if the images have another shape than `image_shape`.
        """
        check_images(self, X, self.image_shape)
        h, activations = X, {}
        for index, convolution in enumerate(self.convolutions):
            h = self.dropout(max_pool(self._activate(index, convolution(h))))
            activations[f"conv{index + 1}"] = h
        h = self._activate(len(self.convolutions), self.dense(h.reshape(len(h), -1)))
        activations["dense1"] = self.dropout(h)
        return activations

    def __call__(self, X: Float[Array, "n h w c"]) -> Float[Array, "n k"]:
        """Logits of images (n, h, w, c); raises as `hidden` does."""
        return self.head(self.hidden(X)["dense1"])

    def _activate(self, index: int, h: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        return ACTIVATIONS[self.activation](self.norms[index](h) if self.norms else h)
