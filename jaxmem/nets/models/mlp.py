"""The multilayer perceptron."""

from collections.abc import Sequence
from itertools import pairwise

from flax import nnx
from jaxtyping import Array, Float

from jaxmem.nets.models.checks import check_options
from jaxmem.nets.models.layers import ACTIVATIONS, Dropout, batch_normalization

__all__ = ["MLP"]


class MLP(nnx.Module):
    """Fully connected network, h_k = dropout(activation(W_k h_{k-1} + b_k)), with a linear head.

    Weights start as Flax has them (LeCun normal, biases zero). Its hidden layers are named "layer1",
    "layer2", ...; dropout follows every one of them and is off in evaluation (`model.eval()`).

    Args:
        n_inputs: number of values in one example; images (h, w, c) are flattened, so h * w * c.
        n_classes: number of logits, at least 2.
        widths: number of units of each hidden layer, at least one layer.
        dropout: probability in [0, 1) that a hidden unit is dropped in training.
        activation: one of `ACTIVATIONS`.
        batch_norm: batch norm (Ioffe & Szegedy, 2015) before every activation.
        rngs: where the initial weights are drawn from, e.g. `nnx.Rngs(0)`.

    Raises:
        ValueError: if a size is not positive, there is no hidden layer, `dropout` is outside [0, 1), or the activation
            is unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, layer_widths
        >>> model = MLP(64, n_classes=3, widths=(16, 8), rngs=nnx.Rngs(0))
        >>> layer_widths(model, jnp.ones((1, 8, 8, 1)))
        {'layer1': 16, 'layer2': 8}
    """

    def __init__(
        self,
        n_inputs: int,
        n_classes: int,
        widths: Sequence[int] = (256, 256, 64),
        dropout: float | Float[Array, ""] = 0.0,
        activation: str = "relu",
        batch_norm: bool = False,
        *,
        rngs: nnx.Rngs,
    ):
        if n_inputs < 1 or n_classes < 2:
            raise ValueError(
                f"MLP got n_inputs={n_inputs} and n_classes={n_classes}; expected at least 1 input and 2 classes."
            )
        check_options(self, widths, dropout, activation)
        self.n_inputs = n_inputs
        self.activation = activation
        self.layers = nnx.List(
            [nnx.Linear(inputs, outputs, rngs=rngs) for inputs, outputs in pairwise((n_inputs, *widths))]
        )
        self.head = nnx.Linear(widths[-1], n_classes, rngs=rngs)
        self.dropout = Dropout(dropout, rngs=rngs)
        # Drawn last, so that one seed gives the same weights with and without.
        self.norms = nnx.List([batch_normalization(width, rngs=rngs) for width in widths] if batch_norm else [])

    def hidden(self, X: Float[Array, "n ..."]) -> dict[str, Float[Array, "n _"]]:
        """Activation of every hidden layer, after (in training) dropout.

        Args:
            X: inputs, (n, n_inputs) or (n, h, w, c) with h * w * c = n_inputs.

        Returns:
            {"layer1": (n, widths[0]), "layer2": (n, widths[1]), ...}

        Raises:
            ValueError: if the examples do not have `n_inputs` values.
        """
        h = X.reshape(len(X), -1)
        if h.shape[1] != self.n_inputs:
            raise ValueError(
                f"X of shape {X.shape} has {h.shape[1]} values per example; this MLP "
                f"expects {self.n_inputs}. Build it with n_inputs={h.shape[1]}, or pass the inputs it was "
                "built for."
            )
        activations = {}
        for index, layer in enumerate(self.layers):
            h = layer(h)
            if self.norms:
                h = self.norms[index](h)
            h = self.dropout(ACTIVATIONS[self.activation](h))
            activations[f"layer{index + 1}"] = h
        return activations

    def __call__(self, X: Float[Array, "n ..."]) -> Float[Array, "n c"]:
        """Logits of inputs (n, n_inputs) or (n, h, w, c); raises as `hidden` does."""
        *_, last = self.hidden(X).values()
        return self.head(last)
