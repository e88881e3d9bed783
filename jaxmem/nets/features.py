"""Reading a network: the features of every hidden layer, and its logits, in evaluation mode.

The structure of the network is static and its state an argument of one compiled function, so that all epochs,
seeds and input sets of one architecture share one compilation. For the same reason every batch has
`batch_size` rows, the last one padded.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree, Shaped

from jaxmem.nets.models import check_inputs

__all__ = ["features", "logits"]


def features(
    model: nnx.Module, X: Shaped[Array | np.ndarray, "..."], batch_size: int = 1_000
) -> dict[str, Float[Array, "n _"]]:
    """Features of every hidden layer, each flattened to one row per example.

    Args:
        model: a module with a method `hidden(X) -> {name: activation}`; see `jaxmem.nets.models`. It is read
            in evaluation mode and left as it is.
        X: inputs, (n, d) or (n, h, w, c), floating point; each batch is cast to float32. NumPy arrays and
            memory maps are read batch by batch.
        batch_size: rows per forward pass; the last batch is padded. It changes memory and speed only.

    Returns:
        {layer name: (n, d_layer)}, from the input side to the output side.

    Raises:
        ValueError: if the model has no method `hidden`, X is not of that kind, or an activation is NaN or
            infinite (the message names the first such layer).
    """
    if not callable(getattr(model, "hidden", None)):
        raise ValueError(
            f"{type(model).__name__} has no method hidden(X); give it one that returns "
            "{layer name: activation of shape (n, ...)}, from the input side to the output side."
        )
    return _in_batches(_hidden, model, X, batch_size)


def logits(model: nnx.Module, X: Shaped[Array | np.ndarray, "..."], batch_size: int = 1_000) -> Float[Array, "n c"]:
    """Logits in evaluation mode, (n, n_classes); arguments and errors as in `features`.

    Predictions are `logits(model, X).argmax(axis=1)`. Any module whose call gives logits will do.
    """
    return _in_batches(_logits, model, X, batch_size)["logits"]


def _hidden(model, X) -> dict[str, Array]:
    return model.hidden(X)


def _logits(model, X) -> dict[str, Array]:
    return {"logits": model(X)}


@partial(jax.jit, static_argnums=(0, 1))
def _read_batch(read: Callable, graphdef: nnx.GraphDef, state: PyTree, X: Float[Array, "batch ..."]):
    """What `read` returns for one batch, flattened, and per layer whether all of it is finite."""
    model = nnx.merge(graphdef, state, copy=True)
    model.eval()
    layers = read(model, X)
    for name, activation in layers.items():
        if activation.shape[:1] != X.shape[:1]:
            raise ValueError(
                f'Layer "{name}" has shape {activation.shape} for {len(X)} examples; expected one row per '
                "example: have hidden(X) return activations of shape (n, ...)."
            )
    # A compiled function returns a dict sorted by name, "layer10" before "layer2"; an OrderedDict as it was.
    values = OrderedDict((name, activation.reshape(len(X), -1)) for name, activation in layers.items())
    return values, OrderedDict((name, jnp.isfinite(value).all()) for name, value in values.items())


def _in_batches(read: Callable, model: nnx.Module, X, batch_size: int) -> dict[str, Array]:
    check_inputs(X)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1 row per batch.")
    graphdef, state = nnx.split(model)
    batches, checks = [], []
    for start in range(0, len(X), batch_size):
        # The last row pads a ragged batch: unlike zeros, it cannot make an activation that the data do not.
        rows = np.minimum(np.arange(start, start + batch_size), len(X) - 1)
        values, finite = _read_batch(read, graphdef, state, jnp.asarray(X[rows], jnp.float32))
        batches.append(values)
        checks.append(finite)
    # The batches are all under way before the first answer is waited for.
    for name in checks[0]:
        if not all(finite[name] for finite in checks):
            raise ValueError(
                f'Layer "{name}" has NaN or infinite activations. Look for such values in X, and for weights '
                "that blew up in training (a lower learning rate helps)."
            )
    return {name: jnp.concatenate([values[name] for values in batches])[: len(X)] for name in batches[0]}
