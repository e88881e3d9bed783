"""A small vision transformer."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxmem.nets.models.checks import as_image_shape, check_images, check_options
from jaxmem.nets.models.layers import ACTIVATIONS, Dropout

__all__ = ["ViT"]


class ViT(nnx.Module):
    """Vision transformer (Dosovitskiy et al., 2021): patches as tokens, pre-norm blocks, mean over the tokens.

    Each patch becomes a token by one matrix, and a learned vector of its position is added. A block is
    h <- h + dropout(attention(norm(h))), h <- h + dropout(W' activation(W norm(h))), with four times as many units
    within the perceptron. Its hidden layers are named "embedding", "block1", "block2", ... and "pooled", the mean over
    the tokens of norm(h), which the linear head reads.

    Args:
        image_shape: (h, w, c) of one image, of at least one patch. An image that is no multiple of the patch is padded
            with zeros at its bottom and right.
        n_classes: number of logits, at least 2.
        widths: the width of each block, all equal and a multiple of `n_heads`.
        dropout: probability in [0, 1) that a unit of a block's two branches is dropped in training.
        activation: of the perceptrons, one of `ACTIVATIONS`; "gelu" is the source's.
        patch_size: pixels along one side of a patch; None: 4, or 2 for images of fewer than 16 pixels a side.
        n_heads: heads of the attention.
        rngs: where the initial weights are drawn from, e.g. `nnx.Rngs(0)`.

    Raises:
        ValueError: if a size is not positive, the widths differ or the heads do not divide them, the image is too
            small, `dropout` is outside [0, 1), or the activation is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import ViT, layer_widths
        >>> model = ViT((8, 8, 1), n_classes=3, widths=(8, 8), n_heads=2, rngs=nnx.Rngs(0))
        >>> layer_widths(model, jnp.ones((1, 8, 8, 1)))
        {'embedding': 128, 'block1': 128, 'block2': 128, 'pooled': 8}
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        n_classes: int,
        widths: Sequence[int] = (64, 64, 64),
        dropout: float | Float[Array, ""] = 0.0,
        activation: str = "relu",
        *,
        patch_size: int | None = None,
        n_heads: int = 4,
        rngs: nnx.Rngs,
    ):
        check_options(self, widths, dropout, activation)
        if len(set(widths)) > 1 or n_heads < 1 or widths[0] % n_heads:
            raise ValueError(
                f"ViT got widths={tuple(widths)} and n_heads={n_heads}; expected one width per block, all equal and a "
                "multiple of the number of heads, e.g. widths=(64, 64, 64) and n_heads=4."
            )
        if patch_size is None:
            patch_size = 2 if min(image_shape[:2]) < 16 else 4
        if patch_size < 1:
            raise ValueError(f"ViT got patch_size={patch_size}; expected at least 1 pixel.")
        self.image_shape = as_image_shape(self, image_shape, n_classes, smallest=patch_size)
        self.patch_size = patch_size
        height, width, channels = self.image_shape
        n_tokens = -(-height // patch_size) * -(-width // patch_size)
        self.embedding = nnx.Linear(patch_size**2 * channels, widths[0], rngs=rngs)
        self.positions = nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (n_tokens, widths[0])))
        self.blocks = nnx.List([_Block(size, n_heads, activation, rngs=rngs) for size in widths])
        self.norm = nnx.LayerNorm(widths[-1], rngs=rngs)
        self.head = nnx.Linear(widths[-1], n_classes, rngs=rngs)
        self.dropout = Dropout(dropout, rngs=rngs)

    def hidden(self, X: Float[Array, "n h w c"]) -> dict[str, Float[Array, "n ..."]]:
        """Activation of every hidden layer.

        Args:
            X: images, (n, h, w, c).

        Returns:
            {"embedding": (n, tokens, width), "block1": (n, tokens, width), ..., "pooled": (n, width)}; the tokens run
            along the rows of patches.

        Raises:
            ValueError: if the images have another shape than `image_shape`.
        """
        check_images(self, X, self.image_shape)
        h = self.embedding(self._patches(X)) + self.positions[...][None]
        activations = {"embedding": h}
        for number, block in enumerate(self.blocks, start=1):
            h = block(h, self.dropout)
            activations[f"block{number}"] = h
        activations["pooled"] = self.norm(h).mean(axis=1)
        return activations

    def __call__(self, X: Float[Array, "n h w c"]) -> Float[Array, "n k"]:
        """Logits of images (n, h, w, c); raises as `hidden` does."""
        return self.head(self.hidden(X)["pooled"])

    def _patches(self, X: Float[Array, "n h w c"]) -> Float[Array, "n tokens values"]:
        n, h, w, c = X.shape
        size = self.patch_size
        X = jnp.pad(X, ((0, 0), (0, -h % size), (0, -w % size), (0, 0)))
        rows, columns = X.shape[1] // size, X.shape[2] // size
        patches = X.reshape(n, rows, size, columns, size, c).swapaxes(2, 3)
        return patches.reshape(n, rows * columns, size * size * c)


class _Block(nnx.Module):
    """One pre-norm block: attention, then a perceptron of one hidden layer, each added to what came in."""

    def __init__(self, width: int, n_heads: int, activation: str, *, rngs: nnx.Rngs):
        self.n_heads = n_heads
        self.activation = activation
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in range(2)])
        self.query_key_value = nnx.Linear(width, 3 * width, rngs=rngs)
        self.projection = nnx.Linear(width, width, rngs=rngs)
        self.expansion = nnx.Linear(width, 4 * width, rngs=rngs)
        self.contraction = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, X: Float[Array, "n tokens width"], dropout: Dropout) -> Float[Array, "n tokens width"]:
        n, tokens, width = X.shape
        projected = self.query_key_value(self.norms[0](X)).reshape(n, tokens, 3, self.n_heads, width // self.n_heads)
        query, key, value = (projected[:, :, part] for part in range(3))
        attended = jax.nn.dot_product_attention(query, key, value).reshape(n, tokens, width)
        h = X + dropout(self.projection(attended))
        expanded = ACTIVATIONS[self.activation](self.expansion(self.norms[1](h)))
        return h + dropout(self.contraction(expanded))
