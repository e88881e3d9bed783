"""Copies matched with other rows than their sources: what fits would recover if the copies had nothing to do with them.

Under that hypothesis, and rows that are exchangeable, the right matching is one among equals: an exact test of
memorization, which a comparison with chance is not. For copies of quite other rows line up with these rows a little, as
any two sets do, and the more permutations, the surer that shows.

References: Hemerik & Goeman (2018), Exact testing with random permutations, for why matchings have to be a group.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Integer

from jaxmem.batches import in_batches
from jaxmem.devices import fetched
from jaxmem.fits import BlockwiseFit, HostFit, PreparedFit
from jaxmem.results import MATCHINGS

__all__ = ["rematched_counts"]

# Copies are matched with other rows under so many labellings.
_LABELLINGS = 99


def rematched_counts(
    fits: Sequence[PreparedFit | BlockwiseFit | HostFit],
    draw: Callable[[int, int], Integer[Array, "size n"]],
    B: int,
    batch_size: int,
    key: Any,
    *,
    halve: bool = True,
) -> dict[Any, Int[np.ndarray, " matchings"]]:
    """How many labels of copies are recovered with their own sources, and with other rows in their place.

    The rows stand in a random circle, and every source moves so many places further: any such step is a matching that
    leaves no copy where it was, and together they are a group, as an exact test needs.

    Args:
        fits: of all validations.
        draw: told a first permutation and how many, draws their labels.
        B: the last permutation.
        batch_size: labellings at once.
        key: of the circle and the steps.
        halve: whether these are halved where memory does not hold as many, as in `in_batches`.

    Returns:
        By validation, one count a matching, over all of its parts; that with the copies' own sources first.
    """
    n_labellings = min(B, _LABELLINGS)
    counts: dict[Any, np.ndarray] = {}

    def launch(start: int, size: int) -> list[dict[Any, np.ndarray]]:
        labels = draw(start, size)[: n_labellings + 1 - start]
        return [_counts(fit, labels, key) for fit in fits]

    def take(start: int, batch: list[dict[Any, np.ndarray]]) -> bool:
        for of_fit in batch:
            for (name, _), new in of_fit.items():
                counts[name] = new + counts.get(name, 0)
        return False

    in_batches(
        launch,
        lambda _, batch: batch,
        take,
        first=1,
        total=n_labellings + 1,
        size=batch_size,
        halve=halve,
        progress=False,
    )
    return counts


def _counts(
    fit: PreparedFit | BlockwiseFit | HostFit, labels: Integer[Array, "size n"], key: Any
) -> dict[Any, np.ndarray]:
    order_key, steps_key = jax.random.split(key)
    n = labels.shape[1]
    order = jax.random.permutation(order_key, n)
    steps = jnp.append(0, 1 + jax.random.permutation(steps_key, n - 1)[:MATCHINGS])
    return {
        view: fetched(_matches(predicted, labels, fit.sources[view], order, steps))
        for view, predicted in fit.predictions(labels).items()
    }


@jax.jit
def _matches(
    predicted: Integer[Array, "size m"],
    labels: Integer[Array, "size n"],
    source: Int[Array, " m"],
    order: Int[Array, " n"],
    steps: Int[Array, " matchings"],
) -> Int[Array, " matchings"]:
    place, in_circle = jnp.argsort(order)[source], labels[:, order]

    def count(step: Int[Array, ""]) -> Int[Array, ""]:
        return (predicted == in_circle[:, (place + step) % len(order)]).sum(dtype=jnp.int32)

    return jax.lax.map(count, steps)
