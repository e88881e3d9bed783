"""One epoch of training as a pure function: AdamW on the cross entropy, one `lax.scan` over minibatches.

With logits z = f(x; w), one step on a minibatch B is

    w <- AdamW(w, grad_w  1/|B| sum_{i in B} ( log sum_c exp z_ic - z_{i, y_i} ))

AdamW with weight decay 0 is Adam (Kingma & Ba, 2015; Loshchilov & Hutter, 2019).

The order of the rows, the augmentations and the dropout masks come from the epoch's own key, never from what ran
before. So an epoch is a function of (weights, moments, rows, labels, key), arrays in and arrays out: `jax.jit`
compiles it once for all epochs, and `run_ensemble_epoch` maps it over an ensemble of states, labels, keys and rates.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Integer, Key, PyTree

from jaxmem.nets.models import call

__all__ = ["Augment", "initial_optimizer_state", "run_ensemble_epoch", "run_epoch"]

Augment = Callable[[Key[Array, ""], Float[Array, "n ..."]], Float[Array, "n ..."]]


def run_epoch(
    graphdef: nnx.GraphDef,
    batch_size: int,
    augment: Augment | None,
    state: PyTree,
    optimizer_state: optax.OptState,
    X: Float[Array, "n ..."],
    y: Integer[Array, " n"],
    key: Key[Array, ""],
    learning_rate: Float[Array, ""] | float,
    weight_decay: Float[Array, ""] | float,
) -> tuple[PyTree, optax.OptState, Float[Array, ""], Float[Array, ""]]:
    """One epoch as a pure function; `graphdef`, `batch_size` and `augment` are static, all else may be traced.

    The two rates are traced rather than compiled in, so that a sweep over them compiles once too.

    Args:
        graphdef: the network's structure, from `nnx.split`.
        batch_size: rows of a minibatch, from 1 to n.
        augment: what happens to the inputs of every minibatch first, (key, X) -> X of the same shape; or None.
        state: all of the network's state, from `nnx.split`.
        optimizer_state: AdamW's moments, from `initial_optimizer_state` or the epoch before.
        X: inputs, (n, ...).
        y: labels, (n,).
        key: this epoch's own key.
        learning_rate: AdamW's step size.
        weight_decay: AdamW's decoupled decay.

    Returns:
        The state and the optimizer's state after the epoch, and the means over its minibatches of the loss
        (NaN if the weights are no longer finite) and of the accuracy.
    """
    shuffle_key, noise_key = jax.random.split(key)
    augment_key = jax.random.fold_in(key, 2)  # Beside the two halves of the split, whose numbers are 0 and 1.
    model = nnx.merge(graphdef, state, copy=True)
    model.train()
    _reseed(model, noise_key)
    # The structure in training mode serves inside the epoch; the caller's own fits the states that leave it.
    training, parameters, rest = nnx.split(model, nnx.Param, ...)
    optimizer = _adamw(learning_rate, weight_decay)

    def loss_of(parameters, rest, inputs, labels):
        model = nnx.merge(training, parameters, rest, copy=True)
        scores = call(model, inputs)
        loss = optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
        accuracy = (scores.argmax(axis=1) == labels).mean()
        # Batch statistics and counters of random streams moved on during the call.
        return loss, (accuracy, nnx.split(model, nnx.Param, ...)[2])

    def step(carry, minibatch):
        parameters, rest, optimizer_state = carry
        number, rows = minibatch
        inputs = X[rows] if augment is None else augment(jax.random.fold_in(augment_key, number), X[rows])
        slope = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (accuracy, rest)), gradient = slope(parameters, rest, inputs, y[rows])
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, parameters)
        return (optax.apply_updates(parameters, updates), rest, optimizer_state), (loss, accuracy)

    carry = (parameters, rest, optimizer_state)
    minibatches = _minibatches(shuffle_key, len(X), batch_size)
    carry, (loss, accuracy) = jax.lax.scan(step, carry, (jnp.arange(len(minibatches)), minibatches))
    parameters, rest, optimizer_state = carry
    # Weights broken by the very last step would show in no loss.
    sound = jnp.isfinite(optax.tree.norm(parameters))
    loss = jnp.where(sound, loss.mean(), jnp.nan)
    _, state = nnx.split(nnx.merge(training, parameters, rest))
    return state, optimizer_state, loss, accuracy.mean()


def run_ensemble_epoch(
    graphdef: nnx.GraphDef,
    batch_size: int,
    augment: Augment | None,
    own_inputs: bool,
    by_turns: bool,
    state: PyTree,
    optimizer_state: optax.OptState,
    X: Float[Array, "..."],
    y: Integer[Array, "members n"],
    keys: Key[Array, " members"],
    learning_rate: Float[Array, " members"],
    weight_decay: Float[Array, " members"],
) -> tuple[PyTree, optax.OptState, Float[Array, " members"], Float[Array, " members"]]:
    """One epoch of every member of an ensemble: `run_epoch` mapped over a leading axis, in one program.

    On an accelerator the members run abreast (`jax.vmap`): small products become batched ones, which fill the device.
    On a CPU batched products save nothing (for MLPs they took up to a fifteenth more processor time), so the members
    run by turns within the program (`jax.lax.map`): only one member's gradients and activations are in memory, and
    its weights and moments stay in the cache.

    Args:
        graphdef: the structure that all members share.
        batch_size: as in `run_epoch`.
        augment: as in `run_epoch`.
        own_inputs: whether X has a leading axis of members; otherwise all share it.
        by_turns: one member after the other, rather than all abreast. The numbers differ by rounding only.
        state: all members' states, stacked.
        optimizer_state: all members' moments, stacked.
        X: inputs, (n, ...) or (members, n, ...).
        y: labels.
        keys: the members' keys for this epoch.
        learning_rate: AdamW's step sizes.
        weight_decay: AdamW's decoupled decays.

    Returns:
        What `run_epoch` returns, stacked.
    """

    def one(X, member):
        state, optimizer_state, y, key, learning_rate, weight_decay = member
        return run_epoch(graphdef, batch_size, augment, state, optimizer_state, X, y, key, learning_rate, weight_decay)

    members = (state, optimizer_state, y, keys, learning_rate, weight_decay)
    if not by_turns:
        return jax.vmap(one, in_axes=(0 if own_inputs else None, 0))(X, members)
    if own_inputs:
        return jax.lax.map(lambda both: one(*both), (X, members))
    return jax.lax.map(partial(one, X), members)


@partial(jax.jit, static_argnums=0)
def initial_optimizer_state(graphdef: nnx.GraphDef, state: PyTree) -> optax.OptState:
    """AdamW's moments before the first step: zeros, shaped as the parameters."""
    _, parameters, _ = nnx.split(nnx.merge(graphdef, state), nnx.Param, ...)
    return _adamw(0.0, 0.0).init(parameters)


def _adamw(learning_rate, weight_decay) -> optax.GradientTransformation:
    return optax.adamw(learning_rate, weight_decay=weight_decay)


def _minibatches(key, n: int, batch_size: int) -> Integer[Array, "steps batch"]:
    """A fresh order of the rows, cut into full minibatches; the last is filled up from the order's start."""
    steps = -(-n // batch_size)
    order = jax.random.permutation(key, n)
    # batch_size <= n, so the filling never runs past the order once.
    return jnp.concatenate([order, order[: steps * batch_size - n]]).reshape(steps, batch_size)


def _reseed(model, key) -> None:
    """Restart every random stream of the module from `key`, each stream name with a key of its own."""
    nodes = (node for _, node in nnx.iter_graph(model))
    names = sorted({node.key.tag for node in nodes if isinstance(node, nnx.RngStream)})
    keys: dict[str, Any] = {name: jax.random.fold_in(key, index) for index, name in enumerate(names)}
    nnx.reseed(model, policy="match_shape", **keys)
