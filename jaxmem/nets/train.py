"""Training a network on labelled rows, epoch by epoch, and the networks kept along the way.

Epoch e draws its order of the rows and its dropout masks from `fold_in(key, e)`, so it is the same whatever
else is trained, kept or watched. What happens within an epoch, and why it compiles once, stands in
`jaxmem.nets.epoch`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Integer, Key, PyTree, Shaped

from jaxmem.nets.epoch import initial_optimizer_state, run_epoch
from jaxmem.nets.models import check_inputs

__all__ = ["History", "TrainConfig", "Trained", "train"]

_compiled_epoch = jax.jit(run_epoch, static_argnums=(0, 1))


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        epochs: number of passes over the rows.
        batch_size: rows of a minibatch; with fewer rows than this, one minibatch holds them all.
        learning_rate: AdamW's step size.
        weight_decay: AdamW's decoupled decay of all parameters; 0 is Adam.
        keep_epochs: after which epochs the parameters are kept, increasing; 0 is the untrained network.

    Raises:
        ValueError: if a value is out of range, or an epoch is to be kept that training does not reach.
    """

    epochs: int = 40
    batch_size: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    keep_epochs: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 40)

    def __post_init__(self):
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(
                f"TrainConfig got epochs={self.epochs} and batch_size={self.batch_size}; expected at least 1 of each."
            )
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"TrainConfig got learning_rate={self.learning_rate}; expected a positive finite number.")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ValueError(
                f"TrainConfig got weight_decay={self.weight_decay}; expected 0 or a positive finite number."
            )
        good = tuple(sorted({epoch for epoch in self.keep_epochs if 0 <= epoch <= self.epochs}))
        if not self.keep_epochs or self.keep_epochs != good:
            raise ValueError(
                f"TrainConfig got keep_epochs={self.keep_epochs}; expected increasing epochs, each once, "
                f"from 0 to epochs={self.epochs}, for example keep_epochs={good or (0, self.epochs)}."
            )


class History(NamedTuple):
    """What each epoch measured, entry e - 1 for epoch e.

    Both are means over the epoch's minibatches as they were trained on, dropout included, so they trail the
    network at the end of the epoch a little; `logits(trained.at(e), X)` gives the exact ones.
    """

    loss: Float[np.ndarray, " epochs"]  # mean cross entropy, in nats
    accuracy: Float[np.ndarray, " epochs"]  # share of rows predicted right, 0 to 1


@dataclass(frozen=True)
class Trained:
    """A network at the epochs that were kept.

    Attributes:
        graphdef: the network's structure, the same at all epochs.
        snapshots: the network's state (parameters and all else it holds) by epoch, in increasing order.
        history: training loss and accuracy of every epoch.
    """

    graphdef: nnx.GraphDef
    snapshots: dict[int, PyTree]
    history: History

    def at(self, epoch: int) -> Any:
        """The network after `epoch` epochs, in evaluation mode: a fresh module at every call.

        Raises:
            ValueError: if that epoch was not kept.
        """
        if epoch not in self.snapshots:
            raise ValueError(
                f"Epoch {epoch} was not kept; the kept epochs are {tuple(self.snapshots)}. "
                "Name it in TrainConfig(keep_epochs=...) and train again."
            )
        # A copy, so that whatever is done to the module leaves the snapshot as it is.
        model = nnx.merge(self.graphdef, self.snapshots[epoch], copy=True)
        model.eval()
        return model


def train(
    model: nnx.Module,
    X: Shaped[Array | np.ndarray, "..."],
    y: Shaped[Array | np.ndarray, "..."],
    config: TrainConfig,
    key: Key[Array, ""] | int,
    progress: Callable[[int, float, float], object] | None = None,
) -> Trained:
    """Train a network from its present state; the module passed in is left as it is.

    Every epoch visits the rows in a fresh order. Where the number of rows is not a multiple of the batch
    size, the last minibatch is filled up from the start of the same order: all minibatches are full, every row
    is used, and a few random ones are used twice. The same model, data, config and key give the same numbers.

    Args:
        model: a module whose call gives logits, (n, n_classes); see `jaxmem.nets.models`.
        X: inputs, (n, d) or (n, h, w, c), floating point; they are cast to float32.
        y: labels, (n,), integers from 0 to n_classes - 1.
        config: how to train.
        key: the randomness of shuffles and dropout: `jax.random.key(0)`, or its seed. (The initial weights
            come from the `rngs` the model was built with.)
        progress: called after each epoch with (epoch, loss, accuracy); epochs count from 1.

    Returns:
        The network at `config.keep_epochs`, and the history of the training loss and accuracy.

    Raises:
        ValueError: if X and y do not fit each other or the model, X is not finite, or training blows up (a
            loss or weights that are NaN or infinite), with the epoch at which it did.
    """
    key = jax.random.key(key) if isinstance(key, int) else key
    graphdef, state = nnx.split(model)
    X, y = _checked_rows(graphdef, state, X, y)
    # Fresh Variables around the same arrays: later changes to the caller's module do not reach the snapshots.
    state = jax.tree.map(lambda leaf: leaf, state)
    optimizer_state = initial_optimizer_state(graphdef, state)
    snapshots = {0: state} if 0 in config.keep_epochs else {}
    batch_size = min(config.batch_size, len(X))
    rates = (float(config.learning_rate), float(config.weight_decay))
    losses, accuracies = [], []
    for epoch in range(1, config.epochs + 1):
        state, optimizer_state, loss, accuracy = _compiled_epoch(
            graphdef, batch_size, state, optimizer_state, X, y, jax.random.fold_in(key, epoch), *rates
        )
        losses.append(float(loss))
        accuracies.append(float(accuracy))
        if not math.isfinite(losses[-1]):
            raise ValueError(
                f"Training blew up at epoch {epoch}: the loss or the weights are no longer finite "
                f"(learning_rate={config.learning_rate}). Lower the learning rate, or rescale X "
                f"(its largest magnitude is {float(jnp.abs(X).max()):.3g})."
            )
        if epoch in config.keep_epochs:
            snapshots[epoch] = state
        if progress is not None:
            progress(epoch, losses[-1], accuracies[-1])
    return Trained(graphdef, snapshots, History(np.array(losses), np.array(accuracies)))


def _checked_rows(graphdef, state, X, y) -> tuple[Float[Array, "n ..."], Integer[Array, " n"]]:
    """X as float32 and y as int32 on the device, after the checks that `train` promises."""
    check_inputs(X)
    if y.shape != X.shape[:1] or not jnp.issubdtype(y.dtype, jnp.integer):
        raise ValueError(
            f"y is {y.dtype} of shape {y.shape}; expected one integer label per row of X, "
            f"shape {X.shape[:1]}. Class names become integers by np.unique(y, return_inverse=True)[1]."
        )
    low, high = int(np.min(y)), int(np.max(y))
    X, y = jnp.asarray(X, jnp.float32), jnp.asarray(y, jnp.int32)
    if not jnp.isfinite(X).all():
        raise ValueError("X holds NaN or infinite values (after the cast to float32); remove or replace them.")
    shape = jax.eval_shape(lambda state, X: nnx.merge(graphdef, state)(X), state, X).shape
    if len(shape) != 2 or low < 0 or high >= shape[1]:
        raise ValueError(
            f"y runs from {low} to {high} and the model's logits have shape {shape}; expected labels from 0 "
            "to n_classes - 1 and logits (n, n_classes). Recode y, or build the model with more classes."
        )
    return X, y
