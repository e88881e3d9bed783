"""Copies matched with other rows than their sources: what fits would recover if the copies had nothing to do with them.

Under that hypothesis, and rows that are exchangeable, the right matching is one among equals: an exact test of
memorization, which a comparison with chance is not. For copies of quite other rows line up with these rows a little, as
any two sets do, and the more permutations, the surer that shows.

References: Hemerik & Goeman (2018), Exact testing with random permutations, for why matchings have to be a group.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Integer

from jaxmem.fits import HostFit, PreparedFit

__all__ = ["REMATCHED_LABELLINGS", "rematched_counts"]

# Copies are matched with other rows so many times, under so many labellings: the smallest p-value of that is 0.01.
_REMATCHINGS = 99
REMATCHED_LABELLINGS = 99


def rematched_counts(
    fit: PreparedFit | HostFit, labels: Integer[Array, "size n"], key: Any
) -> dict[Any, Int[np.ndarray, " matchings"]]:
    """How many labels of copies are recovered with their own sources, and with other rows in their place, by view.

    The rows stand in a random circle, and every source moves so many places further: any such step is a matching that
    leaves no copy where it was, and together they are a group, as an exact test needs.
    """
    order_key, steps_key = jax.random.split(key)
    n = labels.shape[1]
    order = jax.random.permutation(order_key, n)
    steps = jnp.append(0, 1 + jax.random.permutation(steps_key, n - 1)[:_REMATCHINGS])
    return {
        view: np.asarray(_matches(predicted, labels, fit.sources[view], order, steps))
        for view, predicted in fit.predictions(labels).items()
    }


@jax.jit
def _matches(
    predicted: Int[Array, "size m"],
    labels: Integer[Array, "size n"],
    source: Int[Array, " m"],
    order: Int[Array, " n"],
    steps: Int[Array, " matchings"],
) -> Int[Array, " matchings"]:
    place, in_circle = jnp.argsort(order)[source], labels[:, order]

    def count(step: Int[Array, ""]) -> Int[Array, ""]:
        return (predicted == in_circle[:, (place + step) % len(order)]).sum(dtype=jnp.int32)

    return jax.lax.map(count, steps)
