"""Networks whose every hidden layer has a name.

A network, here, is any Flax NNX module with two methods:

    __call__(X) -> logits                      (n, n_classes)
    hidden(X)   -> {name: activation, ...}     (n, ...) each, from the input side to the output side

`train` needs the first, `features` the second. A method that returns the activations, rather than values sown
and captured along the way, keeps both pure: they run unchanged under `jax.jit`, and under `jax.vmap` over an
ensemble, and nothing about the network changes because it is watched.
"""

from collections.abc import Sequence
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Shaped

__all__ = ["MLP"]


class MLP(nnx.Module):
    """Fully connected ReLU network, h_k = dropout(relu(W_k h_{k-1} + b_k)), with a linear head.

    Weights start as Flax has them (LeCun normal, biases zero). Its hidden layers are named "layer1",
    "layer2", ...; dropout, if any, follows every one of them and is off in evaluation (`model.eval()`).

    Args:
        n_inputs: number of values in one example; images (h, w, c) are flattened, so h * w * c.
        n_classes: number of logits, at least 2.
        widths: number of units of each hidden layer, at least one layer.
        dropout: probability in [0, 1) that a hidden unit is dropped in training.
        rngs: where the initial weights are drawn from, e.g. `nnx.Rngs(0)`.

    Raises:
        ValueError: if a size is not positive, there is no hidden layer, or `dropout` is outside [0, 1).
    """

    def __init__(
        self,
        n_inputs: int,
        n_classes: int,
        widths: Sequence[int] = (256, 256, 64),
        dropout: float = 0.0,
        *,
        rngs: nnx.Rngs,
    ):
        if n_inputs < 1 or n_classes < 2:
            raise ValueError(
                f"MLP got n_inputs={n_inputs} and n_classes={n_classes}; expected at least 1 input and 2 classes."
            )
        if not widths or min(widths) < 1:
            raise ValueError(
                f"MLP got widths={tuple(widths)}; expected one positive width per hidden layer, "
                "and at least one layer, e.g. widths=(256, 64)."
            )
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"MLP got dropout={dropout}; expected a probability in [0, 1).")
        self.n_inputs = n_inputs
        self.layers = nnx.List(
            [nnx.Linear(inputs, outputs, rngs=rngs) for inputs, outputs in pairwise((n_inputs, *widths))]
        )
        self.head = nnx.Linear(widths[-1], n_classes, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def hidden(self, X: Float[Array, "n ..."]) -> dict[str, Float[Array, "n _"]]:
        """Activation of every hidden layer, after ReLU and (in training) dropout.

        Args:
            X: inputs, (n, n_inputs) or (n, h, w, c) with h * w * c = n_inputs.

        Returns:
            {"layer1": (n, widths[0]), "layer2": (n, widths[1]), ...}

        Raises:
            ValueError: if the examples do not have `n_inputs` values.
        """
        activation = X.reshape(len(X), -1)
        if activation.shape[1] != self.n_inputs:
            raise ValueError(
                f"X of shape {X.shape} has {activation.shape[1]} values per example; this MLP "
                f"expects {self.n_inputs}. Build it with n_inputs={activation.shape[1]}, or pass the inputs it was "
                "built for."
            )
        activations = {}
        for number, layer in enumerate(self.layers, start=1):
            activation = self.dropout(nnx.relu(layer(activation)))
            activations[f"layer{number}"] = activation
        return activations

    def __call__(self, X: Float[Array, "n ..."]) -> Float[Array, "n c"]:
        """Logits of inputs (n, n_inputs) or (n, h, w, c); raises as `hidden` does."""
        *_, last = self.hidden(X).values()
        return self.head(last)


def check_inputs(X: Shaped[Array | np.ndarray, "..."]) -> None:
    """Raise a ValueError unless X is a non-empty floating-point array of shape (n, d) or (n, h, w, c)."""
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
