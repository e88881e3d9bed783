"""Curvature of the loss around single examples, as a function of their inputs.

With H the Hessian of an example's loss by its input and v a vector of independent random signs, E vvᵀ = I, so that

    E |H v|² = tr(H²) = the sum of the squared eigenvalues of H.

H v is one derivative of the gradient in the direction v; H itself is never formed.

References: Hutchinson (1989) for traces by random signs; Garg et al. (2023), Memorization through the lens of curvature
of loss function around samples, who take differences of gradients in place of H v, and average over the epochs of
training: average over kept epochs for that.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Integer, Key, PyTree, Shaped

from jaxmem.inputs import as_key, as_number
from jaxmem.nets.gradients import checked_networks, row_losses
from jaxmem.nets.models import call, check_inputs

__all__ = ["input_curvature"]


def input_curvature(
    models: nnx.Module | Sequence[nnx.Module],
    X: Shaped[Array | np.ndarray, "..."],
    y: Shaped[Array | np.ndarray, "..."],
    key: Any,
    *,
    n_probes: int = 10,
    batch_size: int = 500,
) -> Float[np.ndarray, "*members n"]:
    """Root of the sum of squared eigenvalues of the Hessian of every example's loss by its input.

    Larger is more curved. An estimate: its relative error is about one over the root of twice `n_probes` where a single
    eigenvalue rules, and smaller where many do.

    Args:
        models: a network or several of one structure, as in `jaxmem.nets.gradients`.
        X: inputs, (n, d) or (n, h, w, c), floating point; cast to float32.
        y: labels, (n,), or of each network, (members, n).
        key: a seed or a JAX key, of the random signs: those of row i and probe k depend on the key, i and k alone.
        n_probes: random directions for every example.
        batch_size: examples at once. It changes memory and speed only.

    Returns:
        (n,), with a leading axis of members where there are several networks; in nats per squared unit of the inputs.

    Raises:
        ValueError: as in `jaxmem.nets.gradients`; numbers below one.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxmem.nets import MLP, input_curvature
        >>> X, y = jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> model = MLP(4, n_classes=2, widths=(8,), rngs=nnx.Rngs(0))
        >>> input_curvature(model, X, y, key=0).shape
        (4,)
    """
    check_inputs(X)
    key, n_probes, batch_size = as_key(key), as_number(n_probes, "n_probes"), as_number(batch_size, "batch_size")
    graphdef, states, X, y = checked_networks(models, X, y)
    batch_size = min(batch_size, len(X))
    by_turns, blocks = jax.default_backend() == "cpu", []
    for start in range(0, len(X), batch_size):
        # The last row pads a ragged block: all blocks share one compilation.
        rows = np.minimum(np.arange(start, start + batch_size), len(X) - 1)
        blocks.append(_curvature(n_probes, by_turns, graphdef, states, X[rows], y[:, rows], key, jnp.asarray(rows)))
    found = np.concatenate(blocks, axis=1)[:, : len(X)]
    if not np.isfinite(found).all():
        member = int(np.isfinite(found).all(axis=1).argmin())
        raise ValueError(
            f"the curvature of the loss of network {member} is NaN or infinite. Look for weights that blew up in "
            "training (a lower learning rate helps)."
        )
    return found[0] if isinstance(models, nnx.Module) else found


@partial(jax.jit, static_argnums=(0, 1, 2))
def _curvature(
    n_probes: int,
    by_turns: bool,
    graphdef: nnx.GraphDef,
    states: PyTree,
    X: Float[Array, "b ..."],
    y: Integer[Array, "members b"],
    key: Key[Array, ""],
    rows: Integer[Array, " b"],
) -> Float[Array, "members b"]:
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(rows)

    def one(member):
        state, y = member

        def gradient(X):
            def total(X):
                model = nnx.merge(graphdef, *state, copy=True)
                model.eval()
                return row_losses(call(model, X), y).sum()

            return jax.grad(total)(X)

        def probe(index):
            # No row depends on another, so one derivative along all rows' directions holds that of each.
            of_row = partial(jax.random.rademacher, shape=X.shape[1:], dtype=X.dtype)
            v = jax.vmap(lambda own: of_row(jax.random.fold_in(own, index)))(keys)
            return jax.jvp(gradient, (X,), (v,))[1].reshape(len(X), -1)

        products = jax.lax.map(probe, jnp.arange(n_probes))
        # Squares of small numbers underflow: scaled by the largest, they do not.
        largest = jnp.abs(products).max(axis=(0, 2))
        scaled = products / jnp.where(largest > 0, largest, 1)[None, :, None]
        return largest * jnp.sqrt((scaled**2).sum(axis=2).mean(axis=0))

    return jax.lax.map(one, (states, y)) if by_turns else jax.vmap(one)((states, y))
