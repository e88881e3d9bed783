"""Reading a network: the features of its hidden layers, and its logits, in evaluation mode.

The structure of the network is static and its state an argument of one compiled function, so that all epochs,
seeds and input sets of one architecture share one compilation. For the same reason every batch has
`batch_size` rows, the last one padded.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree, Shaped

from jaxmem.inputs import one_of
from jaxmem.nets.models import call, check_inputs

__all__ = ["features", "layer_names", "layer_widths", "logits"]


def features(
    model: nnx.Module,
    X: Shaped[Array | np.ndarray, "..."],
    batch_size: int = 1_000,
    *,
    layers: Sequence[str] | None = None,
    pool: Literal["mean"] | None = None,
) -> dict[str, Float[Array, "n _"]]:
    """Features of the hidden layers, each as one row per example.

    Args:
        model: a module with a method `hidden(X) -> {name: activation}`, see `jaxmem.nets.models`; or one whose call
            sows its activations, `self.sow(nnx.Intermediate, name, activation)`. It is read in evaluation mode and
            left as it is.
        X: inputs, (n, d) or (n, h, w, c), floating point; each batch is cast to float32. NumPy arrays and
            memory maps are read batch by batch.
        batch_size: rows per forward pass; the last batch is padded. It changes memory and speed only.
        layers: names of the layers to read; None: all. The others are neither kept nor, where they can be spared,
            computed.
        pool: what becomes of the axes between rows and channels, (h, w) of images or the tokens of a transformer:
            "mean" averages over them, (n, channels); None flattens them, (n, h * w * channels).

    Returns:
        {layer name: (n, d_layer)}, from the input side to the output side. Flax does not keep the order of what is
        sown: it comes by name, numbers by value, so "layer2" before "layer10". What a submodule sows is named by its
        path, "block/name", and the k-th of several values of one name "name/k".

    Raises:
        ValueError: if the model has no method `hidden` and sows nothing, X is not of that kind, a layer is unknown, or
            a feature is NaN or infinite (the message names the first such layer).

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, features
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> model = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(0))
        >>> {name: of_layer.shape for name, of_layer in features(model, X).items()}
        {'layer1': (4, 8)}
    """
    if isinstance(layers, str):
        layers = (layers,)
    if layers is not None and not layers:
        raise ValueError("layers is empty; expected at least one layer name, or layers=None for all of them.")
    if pool is not None:
        one_of(pool, ("mean",), "pool")
    return _in_batches(_hidden, model, X, batch_size, None if layers is None else frozenset(layers), pool)


def layer_names(model: nnx.Module, X: Shaped[Array | np.ndarray, "..."]) -> list[str]:
    """Names of the hidden layers that `features` reads, in its order; nothing is computed but shapes.

    Args:
        model: as for `features`.
        X: inputs of the model's kind, however few.

    Raises:
        ValueError: if the model has no method `hidden` and sows nothing, or X is not of that kind.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, layer_names
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> model = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(0))
        >>> layer_names(model, X)
        ['layer1']
    """
    return list(layer_widths(model, X))


def layer_widths(
    model: nnx.Module, X: Shaped[Array | np.ndarray, "..."], *, pool: Literal["mean"] | None = None
) -> dict[str, int]:
    """How many features of each hidden layer `features` reads; nothing is computed but shapes.

    Args:
        model, X, pool: as for `features`, X however few.

    Raises:
        ValueError: as `layer_names` does.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, layer_widths
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> model = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(0))
        >>> layer_widths(model, X)
        {'layer1': 8}
    """
    check_inputs(X)
    graphdef, state = nnx.split(model)
    shape = jax.ShapeDtypeStruct((1, *X.shape[1:]), jnp.float32)
    layers = jax.eval_shape(partial(_read_batch, _hidden, None, pool, graphdef), state, shape)[0]
    return {name: rows.shape[1] for name, rows in layers.items()}


def logits(model: nnx.Module, X: Shaped[Array | np.ndarray, "..."], batch_size: int = 1_000) -> Float[Array, "n c"]:
    """Logits in evaluation mode, (n, n_classes); arguments and errors as in `features`.

    Predictions are `logits(model, X).argmax(axis=1)`. Any module whose call gives logits will do.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, logits
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> model = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(0))
        >>> logits(model, X).shape
        (4, 2)
    """
    return _in_batches(_logits, model, X, batch_size)["logits"]


def _hidden(model, X) -> dict[str, Array]:
    return model.hidden(X) if callable(getattr(model, "hidden", None)) else _sown(model, X)


def _sown(model, X) -> dict[str, Array]:
    _, sown = nnx.capture(model, nnx.Intermediate)(X)
    activations = {}
    for path, variable in nnx.to_flat_state(sown):
        # Flax keeps a tuple per name: a module that is called twice sows twice.
        values, name = variable.get_value(), "/".join(map(str, path))
        activations |= {f"{name}/{k}" if len(values) > 1 else name: value for k, value in enumerate(values, start=1)}
    if not activations:
        raise ValueError(
            f"{type(model).__name__} has no method hidden(X), and its call sows nothing; give it one that returns "
            "{layer name: activation of shape (n, ...)}, from the input side to the output side, or sow in its call: "
            "self.sow(nnx.Intermediate, name, activation)."
        )
    return {name: activations[name] for name in sorted(activations, key=_numbers_by_value)}


def _numbers_by_value(name: str) -> list[str | int]:
    # Split at the numbers, words and numbers take turns: those of two names compare with their like.
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _logits(model, X) -> dict[str, Array]:
    return {"logits": call(model, X)}


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _read_batch(
    read: Callable,
    asked: frozenset[str] | None,
    pool: str | None,
    graphdef: nnx.GraphDef,
    state: PyTree,
    X: Float[Array, "batch ..."],
):
    """What `read` returns for one batch, one row per example, and per layer whether all of it is finite."""
    model = nnx.merge(graphdef, state, copy=True)
    model.eval()
    layers = read(model, X)
    for name in sorted(asked or ()):
        one_of(name, layers, "each of layers")
    # A compiled function returns a dict sorted by name, "layer10" before "layer2"; an OrderedDict as it was.
    values = OrderedDict(
        (name, _as_rows(name, activation, len(X), pool))
        for name, activation in layers.items()
        if asked is None or name in asked
    )
    return values, OrderedDict((name, jnp.isfinite(value).all()) for name, value in values.items())


def _as_rows(name: str, activation: Array, n: int, pool: str | None) -> Float[Array, "n _"]:
    if activation.shape[:1] != (n,):
        raise ValueError(
            f'Layer "{name}" has shape {activation.shape} for {n} examples; expected one row per '
            "example: have hidden(X) return activations of shape (n, ...)."
        )
    if pool == "mean" and activation.ndim > 2:
        activation = activation.mean(axis=tuple(range(1, activation.ndim - 1)))
    return activation.reshape(n, -1)


def _in_batches(read: Callable, model: nnx.Module, X, batch_size: int, asked=None, pool=None) -> dict[str, Array]:
    check_inputs(X)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1 row per batch.")
    graphdef, state = nnx.split(model)
    batches, checks = [], []
    for start in range(0, len(X), batch_size):
        # The last row pads a ragged batch: unlike zeros, it cannot make an activation that the data do not.
        rows = np.minimum(np.arange(start, start + batch_size), len(X) - 1)
        values, finite = _read_batch(read, asked, pool, graphdef, state, jnp.asarray(X[rows], jnp.float32))
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
