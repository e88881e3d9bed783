"""Many networks of one structure trained at once, in one compiled program an epoch.

They may differ in their initial weights, the randomness of their training, labels, inputs, rates, and in any value
that they hold in an `nnx.Variable`. Member i is the network that `train` would make of it alone: the same order of
rows, the same augmentations and dropout masks, and the same numbers up to rounding.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from operator import index
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key, PyTree, Shaped

from jaxmem.inputs import as_number
from jaxmem.nets.checkpoints import Checkpoints, fingerprint
from jaxmem.nets.epoch import initial_optimizer_state, run_ensemble_epoch
from jaxmem.nets.models import call, check_inputs
from jaxmem.nets.train import History, TrainConfig, Trained, check_labels, checked_rows, run_epochs

__all__ = ["TrainedEnsemble", "ensemble_logits", "train_ensemble"]

_compiled_epoch = jax.jit(run_ensemble_epoch, static_argnums=(0, 1, 2, 3, 4))
_epoch_keys = jax.jit(jax.vmap(jax.random.fold_in, in_axes=(0, None)))


@dataclass(frozen=True)
class TrainedEnsemble:
    """Networks of one structure at the epochs that were kept; `len`, iteration and `member` give them one by one,
    and `at` all of them after an epoch.

    Attributes:
        graphdef: the structure of every member.
        snapshots: all members' states by epoch, in increasing order; each leaf has a leading axis of members.
        history: training loss and accuracy of every member and epoch, (members, epochs).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.nets import MLP, TrainConfig, train_ensemble
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> config = TrainConfig(epochs=3, keep_epochs=(0, 3))
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> trained = train_ensemble(lambda rngs: MLP(4, n_classes=2, widths=(8,), rngs=rngs), X, y, config, keys)
        >>> len(trained), len(trained.at(3)), list(trained.member(0).snapshots)
        (2, 2, [0, 3])
    """

    graphdef: nnx.GraphDef
    snapshots: dict[int, PyTree]
    history: History

    def __len__(self) -> int:
        return len(self.history.loss)

    def __iter__(self) -> Iterator[Trained]:
        return map(self.member, range(len(self)))

    def at(self, epoch: int) -> list[Any]:
        """All members after `epoch` epochs, in evaluation mode: fresh modules at every call.

        Raises:
            ValueError: if that epoch was not kept.
        """
        only = {epoch: self.snapshots[epoch]} if epoch in self.snapshots else self.snapshots
        return [member.at(epoch) for member in replace(self, snapshots=only)]

    def member(self, number: int) -> Trained:
        """One network, as `train` returns it; a negative number counts from the end.

        Raises:
            IndexError: if there is no such member.
        """
        if not -len(self) <= index(number) < len(self):
            raise IndexError(f"There is no member {number}; the {len(self)} members count from 0 to {len(self) - 1}.")
        snapshots = {epoch: jax.tree.map(lambda leaf: leaf[number], state) for epoch, state in self.snapshots.items()}
        return Trained(self.graphdef, snapshots, History(*(values[number] for values in self.history)))


def train_ensemble(
    make: Callable[..., nnx.Module],
    X: Shaped[Array | np.ndarray, "..."],
    y: Shaped[Array | np.ndarray, "..."],
    config: TrainConfig,
    keys: Key[Array, " members"],
    *,
    values: Shaped[Array | np.ndarray, "members ..."] | None = None,
    learning_rate: Shaped[Array | np.ndarray, "..."] | None = None,
    weight_decay: Shaped[Array | np.ndarray, "..."] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, np.ndarray, np.ndarray], object] | None = None,
) -> TrainedEnsemble:
    """Train many networks of one structure at once.

    Member i is `train(make(nnx.Rngs(init_key)), X, y, config, train_key)`, where
    `init_key, train_key = jax.random.split(keys[i])`, with its own labels, inputs and rates if there are such. All
    members' states at the epochs that are kept stay in memory: keep few epochs of a thousand networks.

    Args:
        make: makes one network from its `nnx.Rngs`. It is run once, traced, for all members.
        X: floating-point inputs of all members, (n, d) or (n, h, w, c), or with a leading axis of members; cast to
            float32.
        y: labels of all members, (n,), or of each, (members, n); integers from 0 to n_classes - 1.
        config: how to train.
        keys: one JAX key a member, such as `jax.random.split(jax.random.key(0), members)`.
        values: given to `make` as a second argument, one for each member: traced, so that the network must hold it in
            an `nnx.Variable`, say a dropout rate. None: `make` has one argument.
        learning_rate: AdamW's step size of each member, (members,); None: `config.learning_rate`.
        weight_decay: AdamW's decay of each member, (members,); None: `config.weight_decay`.
        checkpoint: a folder to save to and to go on from, as in `train`.
        progress: called after each epoch with (epoch, losses, accuracies), the last two of shape (members,).

    Returns:
        All members at `config.keep_epochs`, and their histories.

    Raises:
        ValueError: as `train` does, with the number of the member that blew up; or if a leading axis is not one of
            members, or a rate is out of range.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.nets import MLP, TrainConfig, train_ensemble
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> config = TrainConfig(epochs=3, keep_epochs=(0, 3))
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> trained = train_ensemble(lambda rngs: MLP(4, n_classes=2, widths=(8,), rngs=rngs), X, y, config, keys)
        >>> trained.history.loss.shape
        (2, 3)
    """
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) or keys.ndim != 1 or not len(keys):
        raise ValueError(
            f"keys is {keys.dtype} of shape {keys.shape}; expected one JAX key a member, such as "
            "jax.random.split(jax.random.key(0), 8)."
        )
    members = len(keys)
    own_inputs = X.ndim in (3, 5)
    for name, array in (("X", X if own_inputs else None), ("values", values)):
        if array is not None and array.shape[:1] != (members,):
            raise ValueError(
                f"{name} has shape {array.shape} and there are {members} keys; expected a leading axis of members. "
                "Inputs for all of them are (n, d) or (n, h, w, c)."
            )
    rows = X.reshape(-1, *X.shape[2:]) if own_inputs else X
    check_inputs(rows)
    n = len(rows) // members if own_inputs else len(rows)
    check_labels(y, [(n,), (members, n)], f"({n},) or (members, n) = ({members}, {n})")
    learning_rates = _rates("learning_rate", learning_rate, config.learning_rate, members)
    weight_decays = _rates("weight_decay", weight_decay, config.weight_decay, members)

    graphdef, state, optimizer_state, train_keys = _initial(make, keys, None if values is None else jnp.asarray(values))
    first = jax.tree.map(lambda leaf: leaf[0], state)
    rows, y = checked_rows(graphdef, first, rows, y, config.augment)
    X, y = rows.reshape(X.shape), jnp.broadcast_to(y, (members, n))
    batch_size = min(config.batch_size, n)
    by_turns = jax.default_backend() == "cpu"

    def epoch(number: int, state: PyTree, optimizer_state: PyTree):
        return _compiled_epoch(
            graphdef,
            batch_size,
            config.augment,
            own_inputs,
            by_turns,
            state,
            optimizer_state,
            X,
            y,
            _epoch_keys(train_keys, number),
            jnp.asarray(learning_rates, jnp.float32),
            jnp.asarray(weight_decays, jnp.float32),
        )

    saved = None
    if checkpoint is not None:
        rates = {"learning_rate": learning_rates, "weight_decay": weight_decays}
        saved = Checkpoints(checkpoint, fingerprint(config, graphdef, weights=state, X=X, y=y, keys=keys, **rates))
    kept, history = run_epochs(epoch, state, optimizer_state, config, learning_rates, X, progress, saved)
    return TrainedEnsemble(graphdef, kept, history)


def ensemble_logits(
    trained: TrainedEnsemble, X: Shaped[Array | np.ndarray, "..."], batch_size: int = 1_000
) -> Float[np.ndarray, "members epochs n c"]:
    """Logits of all members at all kept epochs, in evaluation mode; what `logits` gives of each, in one program.

    Args:
        trained: the networks.
        X: inputs of all members, (n, d) or (n, h, w, c), or with a leading axis of members.
        batch_size: rows per forward pass; the last batch is padded. It changes memory and speed only.

    Raises:
        ValueError: if X is not of that kind, or a logit is NaN or infinite (the message names member and epoch).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxmem.nets import MLP, TrainConfig, ensemble_logits, train_ensemble
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> config = TrainConfig(epochs=3, keep_epochs=(0, 3))
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> trained = train_ensemble(lambda rngs: MLP(4, n_classes=2, widths=(8,), rngs=rngs), X, y, config, keys)
        >>> ensemble_logits(trained, X).shape  # Members, kept epochs, rows, classes.
        (2, 2, 4, 2)
    """
    own_inputs = X.ndim in (3, 5)
    if own_inputs and len(X) != len(trained):
        raise ValueError(f"X has shape {X.shape}; expected a leading axis of the {len(trained)} members, or none.")
    check_inputs(X.reshape(-1, *X.shape[2:]) if own_inputs else X)
    n, by_turns = X.shape[1 if own_inputs else 0], jax.default_backend() == "cpu"
    batches = []
    for start in range(0, n, as_number(batch_size, "batch_size")):
        rows = np.minimum(np.arange(start, start + batch_size), n - 1)
        part = jnp.asarray(X[:, rows] if own_inputs else X[rows], jnp.float32)
        states = trained.snapshots.values()
        batches.append([_member_logits(trained.graphdef, own_inputs, by_turns, state, part) for state in states])
    found = np.concatenate([np.stack(batch, axis=1) for batch in batches], axis=2)[:, :, :n]
    broken = ~np.isfinite(found).all(axis=(2, 3))
    if broken.any():
        member, epoch = np.argwhere(broken)[0]
        raise ValueError(
            f"member {member} has NaN or infinite logits at epoch {list(trained.snapshots)[epoch]}. Look for such "
            "values in X, and for weights that blew up in training (a lower learning rate helps)."
        )
    return found


@partial(jax.jit, static_argnums=(0, 1, 2))
def _member_logits(graphdef: nnx.GraphDef, own_inputs: bool, by_turns: bool, state: PyTree, X: Array) -> Array:
    def one(state, X):
        model = nnx.merge(graphdef, state, copy=True)
        model.eval()
        return call(model, X)

    if not by_turns:
        return jax.vmap(one, in_axes=(0, 0 if own_inputs else None))(state, X)
    if own_inputs:
        return jax.lax.map(lambda both: one(*both), (state, X))
    return jax.lax.map(lambda state: one(state, X), state)


@partial(jax.jit, static_argnums=0)
def _initial(make: Callable[..., nnx.Module], keys: Array, values: Array | None) -> tuple[Any, PyTree, PyTree, Array]:
    """The structure, all members' states and moments, and the keys of their training."""

    def one(key, value):
        init_key, train_key = jax.random.split(key)
        rngs = nnx.Rngs(init_key)
        graphdef, state = nnx.split(make(rngs) if value is None else make(rngs, value))
        return graphdef, state, initial_optimizer_state(graphdef, state), train_key

    return jax.vmap(one)(keys, values)


def _rates(name: str, rates: Any, default: float, members: int) -> np.ndarray:
    rates = np.full(members, default) if rates is None else np.asarray(rates, float)
    least = "positive" if name == "learning_rate" else "at least 0"
    good = rates > 0 if name == "learning_rate" else rates >= 0
    if rates.shape != (members,) or not (good & np.isfinite(rates)).all():
        raise ValueError(
            f"{name} is {rates} of shape {rates.shape}; expected one finite number for each of the {members} members, "
            f"{least}, or None for the config's."
        )
    return rates
