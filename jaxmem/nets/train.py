"""Training a network on labelled rows, epoch by epoch, and the networks kept along the way.

Epoch e draws its order of the rows, its augmentations and its dropout masks from `fold_in(key, e)`, so it is the same
whatever else is trained, kept or watched. What happens within an epoch, and why it compiles once, stands in
`jaxmem.nets.epoch`; many networks at once in `jaxmem.nets.ensemble`, which shares the loop over epochs below.
"""

import math
import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Integer, Key, PyTree, Shaped

from jaxmem.nets.checkpoints import Checkpoints, Progress, fingerprint
from jaxmem.nets.epoch import Augment, initial_optimizer_state, run_epoch
from jaxmem.nets.models import call, check_inputs

__all__ = ["History", "TrainConfig", "Trained", "train"]

_compiled_epoch = jax.jit(run_epoch, static_argnums=(0, 1, 2))


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        epochs: number of passes over the rows.
        batch_size: rows of a minibatch; with fewer rows than this, one minibatch holds them all.
        learning_rate: AdamW's step size.
        weight_decay: AdamW's decoupled decay of all parameters; 0 is Adam.
        keep_epochs: after which epochs the parameters are kept, increasing; 0 is the untrained network.
        augment: what happens to the inputs of every minibatch, (key, X) -> X of the same shape, in JAX; afresh in
            every minibatch of every epoch. `jaxmem.data.Shift(2)` and all other perturbations will do. None: nothing.

    Raises:
        ValueError: if a value is out of range, an epoch is to be kept that training does not reach, or `augment` is
            no hashable function.

    Example:
        >>> from jaxmem.data import Shift
        >>> from jaxmem.nets import TrainConfig
        >>> TrainConfig(epochs=10, keep_epochs=(0, 10), augment=Shift(2)).batch_size
        100
    """

    epochs: int = 40
    batch_size: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    keep_epochs: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 40)
    augment: Augment | None = None

    def __post_init__(self):
        # It is part of the compiled program, which is looked up by it.
        if self.augment is not None and not (callable(self.augment) and isinstance(self.augment, Hashable)):
            raise ValueError(
                f"TrainConfig got augment={self.augment!r}; expected a hashable function (key, X) -> X, such as "
                "jaxmem.data.Shift(2), or None."
            )
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

    Both are means over the epoch's minibatches as they were trained on, augmented and with dropout, so they trail
    the network at the end of the epoch a little; `logits(trained.at(e), X)` gives the exact ones. An ensemble's have
    a leading axis of members.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, TrainConfig, train
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> model = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(0))
        >>> trained = train(model, X, y, TrainConfig(epochs=3, keep_epochs=(0, 3)), key=0)
        >>> trained.history.accuracy.shape
        (3,)
    """

    loss: Float[np.ndarray, "*members epochs"]  # mean cross entropy, in nats
    accuracy: Float[np.ndarray, "*members epochs"]  # share of rows predicted right, 0 to 1


@dataclass(frozen=True)
class Trained:
    """A network at the epochs that were kept.

    Attributes:
        graphdef: the network's structure, the same at all epochs.
        snapshots: the network's state (parameters and all else it holds) by epoch, in increasing order.
        history: training loss and accuracy of every epoch.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, TrainConfig, logits, train
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> model = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(0))
        >>> trained = train(model, X, y, TrainConfig(epochs=3, keep_epochs=(0, 3)), key=0)
        >>> list(trained.snapshots), logits(trained.at(3), X).shape
        ([0, 3], (4, 2))
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
    *,
    checkpoint: str | os.PathLike[str] | None = None,
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
        key: the randomness of shuffles, augmentations and dropout: `jax.random.key(0)`, or its seed. (The initial
            weights come from the `rngs` the model was built with.)
        progress: called after each epoch with (epoch, loss, accuracy); epochs count from 1.
        checkpoint: a folder of this training's own. What the next epoch needs is saved there after every kept epoch;
            called again with the same arguments, training goes on from the last of them, to the same numbers as if it
            had never stopped.

    Returns:
        The network at `config.keep_epochs`, and the history of the training loss and accuracy.

    Raises:
        ValueError: if X and y do not fit each other, the model or the augmentation, X is not finite, training blows
            up (a loss or weights that are NaN or infinite), with the epoch at which it did, or the checkpoint is of
            another training or cannot be read.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, TrainConfig, train
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> model = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(0))
        >>> trained = train(model, X, y, TrainConfig(epochs=3, keep_epochs=(0, 3), learning_rate=0.01), key=0)
        >>> trained.history.loss[-1] < trained.history.loss[0]
        np.True_
    """
    key = jax.random.key(key) if isinstance(key, int) else key
    graphdef, state = nnx.split(model)
    check_inputs(X)
    check_labels(y, [X.shape[:1]], f"{X.shape[:1]}")
    X, y = checked_rows(graphdef, state, X, y, config.augment)
    # Fresh Variables around the same arrays: later changes to the caller's module do not reach the snapshots.
    state = jax.tree.map(lambda leaf: leaf, state)
    optimizer_state = initial_optimizer_state(graphdef, state)
    batch_size = min(config.batch_size, len(X))
    rates = (float(config.learning_rate), float(config.weight_decay))

    def epoch(number: int, state: PyTree, optimizer_state: PyTree):
        epoch_key = jax.random.fold_in(key, number)
        return _compiled_epoch(graphdef, batch_size, config.augment, state, optimizer_state, X, y, epoch_key, *rates)

    saved = None
    if checkpoint is not None:
        saved = Checkpoints(checkpoint, fingerprint(config, graphdef, weights=state, X=X, y=y, key=key))
    kept, history = run_epochs(epoch, state, optimizer_state, config, rates[0], X, progress, saved)
    return Trained(graphdef, kept, history)


def run_epochs(
    epoch: Callable[[int, PyTree, PyTree], tuple[PyTree, PyTree, Array, Array]],
    state: PyTree,
    optimizer_state: PyTree,
    config: TrainConfig,
    learning_rate: float | np.ndarray,
    X: Array,
    progress: Callable[[int, Any, Any], object] | None,
    checkpoints: Checkpoints | None,
) -> tuple[dict[int, PyTree], History]:
    """The loop over epochs, of one network or of many.

    Args:
        epoch: (number, state, optimizer_state) -> (state, optimizer_state, loss, accuracy); the last two a number, or
            one for each member.
        state: before the first epoch.
        optimizer_state: likewise.
        config: how many epochs, and which to keep.
        learning_rate: one, or one for each member; for the message.
        X: the inputs; for the message.
        progress: called after each epoch with its number, loss and accuracy, saved by then if the epoch is kept.
        checkpoints: where kept epochs are saved, and where training goes on.

    Returns:
        The states at `config.keep_epochs`, and the history.

    Raises:
        ValueError: if a loss is NaN or infinite; or for a checkpoint that does not fit.
    """
    snapshots = {0: state} if 0 in config.keep_epochs else {}
    losses, accuracies = [], []
    if checkpoints is not None and (loaded := checkpoints.load(state, optimizer_state)) is not None:
        kept, (optimizer_state, loss, accuracy) = loaded
        state = kept[max(kept)]
        snapshots |= kept
        losses, accuracies = (list(np.moveaxis(values, -1, 0)) for values in (loss, accuracy))
    for number in range(len(losses) + 1, config.epochs + 1):
        state, optimizer_state, loss, accuracy = epoch(number, state, optimizer_state)
        losses.append(np.asarray(loss, float)[()])
        accuracies.append(np.asarray(accuracy, float)[()])
        if not np.isfinite(losses[-1]).all():
            raise ValueError(_blown_up(number, losses[-1], learning_rate, X))
        if number in config.keep_epochs:
            snapshots[number] = state
            if checkpoints is not None:
                checkpoints.save(number, state, Progress(optimizer_state, *_history(losses, accuracies)))
        if progress is not None:
            progress(number, losses[-1], accuracies[-1])
    return snapshots, _history(losses, accuracies)


def check_labels(y: Shaped[Array | np.ndarray, "..."], shapes: Sequence[tuple[int, ...]], expected: str) -> None:
    """Raise a ValueError unless the labels are integers of one of the shapes."""
    if not isinstance(y, jax.Array | np.ndarray):
        raise ValueError(f"y is a {type(y).__name__}; expected an array of NumPy or JAX: np.asarray(y).")
    if y.shape not in shapes or not jnp.issubdtype(y.dtype, jnp.integer):
        raise ValueError(
            f"y is {y.dtype} of shape {y.shape}; expected one integer label per row of X, "
            f"shape {expected}. Class names become integers by np.unique(y, return_inverse=True)[1]."
        )


def checked_rows(
    graphdef: nnx.GraphDef,
    state: PyTree,
    X: Shaped[Array | np.ndarray, "n ..."],
    y: Integer[Array | np.ndarray, "..."],
    augment: Augment | None,
) -> tuple[Float[Array, "n ..."], Integer[Array, "..."]]:
    """X as float32 and y as int32 on the device; a ValueError unless X is finite and fits network, y and `augment`."""
    X = jnp.asarray(X, jnp.float32)
    if not jnp.isfinite(X).all():
        raise ValueError("X holds NaN or infinite values (after the cast to float32); remove or replace them.")
    if augment is not None:
        changed = jax.eval_shape(augment, jax.random.key(0), X)
        if getattr(changed, "shape", None) != X.shape:
            raise ValueError(
                f"augment={augment!r} makes {changed} of X, float32 of shape {X.shape}; expected an array of "
                "the same shape."
            )
    low, high = int(np.min(y)), int(np.max(y))
    shape = jax.eval_shape(lambda state, X: call(nnx.merge(graphdef, state), X), state, X).shape
    if len(shape) != 2 or low < 0 or high >= shape[1]:
        raise ValueError(
            f"y runs from {low} to {high} and the model's logits have shape {shape}; expected labels from 0 "
            "to n_classes - 1 and logits (n, n_classes). Recode y, or build the model with more classes."
        )
    return X, jnp.asarray(y, jnp.int32)


def _history(losses: list, accuracies: list) -> History:
    return History(np.stack(losses, axis=-1), np.stack(accuracies, axis=-1))


def _blown_up(epoch: int, loss: np.ndarray | np.floating, learning_rate: float | np.ndarray, X: Array) -> str:
    """What to say and to advise; of an ensemble, for the first member that blew up."""
    member = int(np.argmin(np.isfinite(loss)))
    return (
        f"Training{f' of member {member}' if np.ndim(loss) else ''} blew up at epoch {epoch}: the loss or the weights "
        f"are no longer finite (learning_rate={np.broadcast_to(learning_rate, np.shape(loss)).flat[member]}). Lower "
        f"the learning rate, or rescale X (its largest magnitude is {float(jnp.abs(X).max()):.3g})."
    )
