"""Gradients of single examples, by inputs or by parameters, and how alike they are.

With a network's logits z(x; w) and the loss of one example L = log sum_c exp z_c - z_y, the gradients are dL/dx and
dL/dw, or dz_y/dx and dz_y/dw, in evaluation mode. Of unit gradients `u_i = g_i / |g_i|` of n examples,

    coherence = mean of u_i · u_j over i ≠ j = (|sum_i u_i|² - n) / (n (n - 1)),

so that one sum, gathered block by block, takes the place of the n × P matrix of all gradients. A gradient that is
exactly zero has no direction: it is left out of every mean of cosines, and where nothing is left an error says so.

References: Gu & Tresp (2019) for gradients between networks; Arpit et al. (2017) for the loss sensitivity of examples
and its Gini coefficient; Fort et al. (2019), Stiffness, for the cosine of gradients across examples.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Integer, PyTree, Shaped

from jaxmem.inputs import as_number, one_of
from jaxmem.nets.models import call, check_inputs
from jaxmem.nets.train import check_labels, checked_rows

__all__ = [
    "checked_networks",
    "gini",
    "gradient_coherence",
    "gradient_cosines",
    "gradient_norms",
    "gradients",
    "row_losses",
]

# Numbers in the gradients that are in memory at once: 128 MiB in single precision.
_AT_ONCE = 2**25
_OF, _BY = ("loss", "logit"), ("inputs", "parameters")


def gradients(
    models: nnx.Module | Sequence[nnx.Module],
    X: Shaped[Array | np.ndarray, "..."],
    y: Shaped[Array | np.ndarray, "..."],
    *,
    of: Literal["loss", "logit"] = "loss",
    by: Literal["inputs", "parameters"] = "inputs",
    batch_size: int | None = None,
) -> Float[Array, "*members n d"]:
    """Gradient of every example, as one row.

    Args:
        models: a network, any module whose call gives logits; or several of one structure, `trained.at(epoch)` of an
            ensemble. They are read in evaluation mode, in which no row may depend on another, and left as they are.
        X: inputs, (n, d) or (n, h, w, c), floating point; cast to float32.
        y: labels, (n,), or of each network, (members, n); integers from 0 to n_classes - 1. For logits: which one.
        of: "loss", the cross entropy of the example in nats, or "logit", that of its label.
        by: "inputs", d values in the order of the input's own; or "parameters", one for each of them.
        batch_size: examples whose gradients are in memory at once; None: so many that they hold 32 Mi numbers. It
            changes memory and speed only. Here the gradients of all rows are kept in any case.

    Returns:
        (n, d), with a leading axis of members where there are several networks. Units of `of` per unit of `by`.

    Raises:
        ValueError: X and y do not fit each other or the networks; networks of more than one structure; gradients that
            are NaN or infinite.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, gradients
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> model = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(0))
        >>> gradients(model, X, y).shape
        (4, 4)
    """
    found = list(_blocks(_as_they_are, models, X, y, of, by, batch_size))
    return _together(models, jnp.concatenate(found, axis=1)[:, : len(X)])


def gradient_norms(
    models: nnx.Module | Sequence[nnx.Module],
    X: Shaped[Array | np.ndarray, "..."],
    y: Shaped[Array | np.ndarray, "..."],
    *,
    of: Literal["loss", "logit"] = "loss",
    by: Literal["inputs", "parameters"] = "inputs",
    batch_size: int | None = None,
) -> Float[np.ndarray, "*members n"]:
    """Euclidean length of the gradient of every example; arguments and errors as in `gradients`.

    Of the loss by inputs it is the example's loss sensitivity. (Arpit et al. sum absolute values, and average them over
    the course of training: average over kept epochs for that.)

    Returns:
        (n,), with a leading axis of members where there are several networks; at least 0, and 0 where the gradient is.
        No similarity: it grows with the scale of the loss or logits.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, gradient_norms
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> model = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(0))
        >>> gradient_norms(model, X, y).shape
        (4,)
    """
    found = list(_blocks(_norms, models, X, y, of, by, batch_size))
    return _together(models, np.concatenate(found, axis=1)[:, : len(X)])


def gradient_cosines(
    models: Sequence[nnx.Module],
    X: Shaped[Array | np.ndarray, "..."],
    y: Shaped[Array | np.ndarray, "..."],
    *,
    of: Literal["loss", "logit"] = "loss",
    by: Literal["inputs", "parameters"] = "inputs",
    batch_size: int | None = None,
) -> Float[np.ndarray, "members members"]:
    """Mean over examples of the cosine between the gradients of two networks, for all pairs at once.

    Larger is more alike; 1 is the same direction for every example, 0 what directions drawn at random have. The scale
    of a network's loss or logits does not matter (`jaxmem.similarity.GRADIENT_FACTS`). By parameters, units of another
    order count as other units.

    Args:
        models: two or more networks of one structure; see `gradients`.
        X: see `gradients`.
        y: see `gradients`.
        of: see `gradients`.
        by: see `gradients`.
        batch_size: see `gradients`.

    Returns:
        Symmetric, from -1 to 1, ones on its diagonal. An example counts for a pair if neither gradient is zero.

    Raises:
        ValueError: as `gradients` does; fewer than two networks; no example at which two of them both have a gradient.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, gradient_cosines
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> model = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(0))
        >>> other = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(1))
        >>> gradient_cosines([model, other], X, y).shape
        (2, 2)
    """
    if isinstance(models, nnx.Module) or len(models) < 2:
        raise ValueError("gradient_cosines compares networks: give a sequence of two or more, such as trained.at(40).")
    sums, counts = (np.zeros((len(models), len(models))) for _ in range(2))
    for units, there in _blocks(_units, models, X, y, of, by, batch_size):
        block_sums, block_counts = _pairs(units, there)
        sums += np.asarray(block_sums)
        counts += np.asarray(block_counts)
    if not counts.all():
        first, second = np.argwhere(counts == 0)[0]
        raise ValueError(
            f"networks {first} and {second} have no example at which both have a gradient of the {of} other than zero: "
            "look for dead networks, or take logits rather than a loss that has become 0."
        )
    cosines = np.clip(sums / counts, -1, 1)
    np.fill_diagonal(cosines, 1)
    return cosines


def gradient_coherence(
    models: nnx.Module | Sequence[nnx.Module],
    X: Shaped[Array | np.ndarray, "..."],
    y: Shaped[Array | np.ndarray, "..."],
    *,
    of: Literal["loss", "logit"] = "loss",
    by: Literal["inputs", "parameters"] = "parameters",
    batch_size: int | None = None,
) -> Float[np.ndarray, " members"] | np.floating:
    """Mean cosine between the gradients of two distinct examples of one network; see the top of this file.

    Larger is more alike: a step that helps one example helps the others. Neither the scale of any gradient matters nor
    the axes that they are given in (`jaxmem.similarity.GRADIENT_FACTS`). Arguments as in `gradients`.

    Returns:
        From -1 / (n - 1) to 1, n being the number of examples whose gradient is not zero; a number, or (members,).

    Raises:
        ValueError: as `gradients` does; fewer than two examples have a gradient other than zero.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, gradient_coherence
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> model = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(0))
        >>> -1 <= gradient_coherence(model, X, y) <= 1
        np.True_
    """
    sums, counts = None, np.zeros(1)
    for block_sums, block_counts in _blocks(_sums, models, X, y, of, by, batch_size):
        sums = block_sums if sums is None else sums + block_sums
        counts = counts + np.asarray(block_counts)
    if (counts < 2).any():
        raise ValueError(
            f"coherence takes two examples whose gradient of the {of} is not zero, but a network has "
            f"{int(counts.min())} of {len(X)}: give more rows, or take logits rather than a loss that has become 0."
        )
    squares = np.asarray(_squares(sums), float)
    return _together(models, np.clip((squares - counts) / (counts * (counts - 1)), -1 / (counts - 1), 1))


def gini(values: Any) -> Float[np.ndarray, "..."] | np.floating:
    """Gini coefficient of quantities that are not negative: how unequally their sum is spread over them.

    Half the mean absolute difference of all pairs over the mean: sum_i (2 i - n - 1) x_i / (n sum_i x_i), x in
    increasing order. 0 where all are equal, (n - 1) / n where one has everything; their scale does not matter.

    Args:
        values: (..., n), such as loss sensitivities; finite.

    Returns:
        (...,), a number where `values` has one axis.

    Raises:
        ValueError: negative or non-finite values, none at all, or a sum of zero.

    Example:
        >>> from jaxmem.nets import gini
        >>> float(gini([1.0, 1.0, 1.0, 1.0])), float(gini([0.0, 0.0, 0.0, 1.0]))
        (0.0, 0.75)
    """
    values = np.asarray(values, float)
    if values.ndim < 1 or not values.shape[-1] or not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(f"values of shape {values.shape} must be finite, at least 0, and at least one.")
    largest, n = values.max(axis=-1, keepdims=True), values.shape[-1]
    if not (largest > 0).all():
        raise ValueError("values sum to zero: nothing is spread, equally or otherwise.")
    shares = np.sort(values, axis=-1) / largest  # Their sum overflows no more.
    weights = 2 * np.arange(1, n + 1) - n - 1
    return np.maximum(shares @ weights / (n * shares.sum(axis=-1)), 0)  # Of equal ones, rounding may be below.


def row_losses(logits: Float[Array, "n c"], y: Integer[Array, " n"]) -> Float[Array, " n"]:
    """Cross entropy of every row in nats, whose gradient keeps its digits where the network is sure of itself.

    log(1 + exp(a)) with a = log sum_{c ≠ y} exp z_c - z_y: the gradient by z_y is minus a sum of small probabilities,
    not a difference p_y - 1 that rounds to nothing.
    """
    own = jax.nn.one_hot(y, logits.shape[1], dtype=bool)
    others = jax.scipy.special.logsumexp(logits, axis=1, where=~own)
    return jax.nn.softplus(others - jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0])


def _logits_of_labels(logits, y) -> Float[Array, " n"]:
    return jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]


# What becomes of one network's gradients (b, d) of one block, and of which rows they are; padding rows are not there.
def _as_they_are(gradients, there):
    return gradients


def _norms(gradients, there):
    _, largest, norms = _scaled(gradients)
    return largest * norms


def _units(gradients, there):
    scaled, largest, norms = _scaled(gradients)
    there = there & (largest > 0)
    return jnp.where(there, 1 / norms, 0)[:, None] * scaled, there


def _scaled(gradients):
    """Rows over their largest magnitude, that, and the norms of what remains: squares of small numbers underflow."""
    largest = jnp.abs(gradients).max(axis=1)
    scaled = gradients / jnp.where(largest > 0, largest, 1)[:, None]
    return scaled, largest, jnp.sqrt((scaled**2).sum(axis=1))


def _sums(gradients, there):
    units, there = _units(gradients, there)
    return units.sum(axis=0), there.sum()


@jax.jit
def _pairs(
    units: Float[Array, "members b d"], there: Bool[Array, "members b"]
) -> tuple[Float[Array, "members members"], Float[Array, "members members"]]:
    """Sums of cosines over the rows of a block, and how many rows they are of."""
    counted = there.astype(jnp.float32)
    precise = jax.lax.Precision.HIGHEST
    members = len(units)
    flat = units.reshape(members, -1)
    return jnp.matmul(flat, flat.T, precision=precise), jnp.matmul(counted, counted.T, precision=precise)


@jax.jit
def _squares(sums: Float[Array, "members d"]) -> Float[Array, " members"]:
    return (sums**2).sum(axis=1)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _block(
    each: Callable,
    of: str,
    by: str,
    by_turns: bool,
    graphdef: nnx.GraphDef,
    states: PyTree,
    X: Float[Array, "b ..."],
    y: Integer[Array, "members b"],
    there: Bool[Array, " b"],
):
    """What `each` makes of the gradients of one block, for all members, and whether these are finite."""
    quantity = row_losses if of == "loss" else _logits_of_labels

    def total(parameters, rest, X, y):
        model = nnx.merge(graphdef, parameters, rest, copy=True)
        model.eval()
        return quantity(call(model, X), y).sum()

    def one(member):
        (parameters, rest), y = member
        if by == "inputs":  # No row depends on another, so the gradient of the sum holds those of all rows.
            found = jax.grad(total, argnums=2)(parameters, rest, X, y).reshape(len(X), -1)
        else:
            of_row = jax.grad(lambda parameters, x, label: total(parameters, rest, x[None], label[None]))
            found = jax.vmap(lambda x, label: ravel_pytree(of_row(parameters, x, label))[0])(X, y)
        return each(found, there), jnp.isfinite(found).all()

    # As in training: abreast where a device is to be filled, by turns on a CPU.
    return jax.lax.map(one, (states, y)) if by_turns else jax.vmap(one)((states, y))


def _blocks(each, models, X, y, of, by, batch_size) -> Iterator[Any]:
    """What `each` makes of the gradients, block by block; every leaf with a leading axis of members."""
    one_of(of, _OF, "of")
    one_of(by, _BY, "by")
    check_inputs(X)
    graphdef, states, X, y = checked_networks(models, X, y)
    parameters, _ = states
    size = X[0].size if by == "inputs" else sum(leaf[0].size for leaf in jax.tree.leaves(parameters))
    n = len(X)
    if batch_size is None:
        batch_size = min(n, max(1, _AT_ONCE // (size * len(y))))
    batch_size = as_number(batch_size, "batch_size")
    by_turns = jax.default_backend() == "cpu"
    for start in range(0, n, batch_size):
        # The last row pads a ragged block: all blocks share one compilation.
        rows = np.arange(start, start + batch_size)
        there, rows = jnp.asarray(rows < n), np.minimum(rows, n - 1)
        found, finite = _block(each, of, by, by_turns, graphdef, states, X[rows], y[:, rows], there)
        if not finite.all():
            raise ValueError(
                f"the gradients of the {of} by {by} of network {int(jnp.argmin(finite))} are NaN or infinite. Look for "
                "weights that blew up in training (a lower learning rate helps)."
            )
        yield found


def checked_networks(models, X, y) -> tuple[nnx.GraphDef, tuple[PyTree, PyTree], Array, Array]:
    """The structure, all members' parameters and other state stacked, and rows and labels (members, n) that fit."""
    several = [models] if isinstance(models, nnx.Module) else list(models)
    if not several:
        raise ValueError("models is empty; expected at least one network.")
    graphdef, *_ = parts = nnx.split(several[0], nnx.Param, ...)
    split = [parts, *(nnx.split(model, nnx.Param, ...) for model in several[1:])]
    shapes = [jax.tree.map(jnp.shape, each[1:]) for each in split]
    for number, (each, shape) in enumerate(zip(split, shapes, strict=True)):
        if each[0] != graphdef or shape != shapes[0]:
            raise ValueError(
                f"network {number} is of another structure than network 0; expected networks that differ in their "
                "numbers only, such as trained.at(40) of one ensemble (all in training or all in evaluation mode)."
            )
    check_labels(y, [X.shape[:1], (len(several), len(X))], f"({len(X)},) or ({len(several)}, {len(X)})")
    X, y = checked_rows(graphdef, nnx.merge_state(*parts[1:]), X, y, None)
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(tuple(each[1:]) for each in split))
    return graphdef, states, X, jnp.broadcast_to(y, (len(several), len(X)))


def _together(models, found):
    return found[0] if isinstance(models, nnx.Module) else found
