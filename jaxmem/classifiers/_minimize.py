"""Convex losses of linear scores, minimised for one label vector in coordinates that no label vector changes.

Logistic regression and support vector machines have no closed form, but their Hessians share a label-free part. The
loss of a row has the same curvature `a` in its score at zero weights, whatever its label, so the Hessian there is
`a XᵀX + λI` for every label vector. `whitened` turns it into the identity: with `X = Q Vᵀ` and squares `l` of the
columns of `Q`, a coordinate is scaled by `1 / sqrt(a l + λ)`. In these coordinates

* the gradient at zero is the exact Newton step from there, and on shuffled labels, where scores stay small, nearly
  the whole way;
* `½ |gradient|²` is the decrease in loss that a Newton step still promises.

`minimize` then runs L-BFGS (Liu & Nocedal 1989; `optax.scale_by_lbfgs`), which learns how the Hessian departs from the
identity, for a bounded number of steps, each one evaluation of the gradient: two matrix products, `W Qᵀ` and the
residuals by `Q`. No evaluation is spent on a line search. On a convex function, the slope along the step at its end
says enough: negative, and the loss has decreased for certain; steeply positive, and the step went too far and is
repeated, shortened to where a secant puts the zero of the slope. Loss values, whose rounding hides the last digits of
the way down, decide nothing. (optax's own line search took as many steps and twenty times the time: under `vmap`, both
sides of its every branch run for all label vectors.)

A label vector takes the same steps alone and in any batch. What differs is how products of other shapes round, and a
search of a hundred steps, on labels that the features separate, magnifies that up to `tol`.

References: Böhning (1992), Multinomial logistic regression algorithm; Liu & Nocedal (1989), On the limited memory BFGS
method; Hager & Zhang (2005) for deciding by slopes instead of values.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float, Int, Integer

from jaxmem.blocks import over_row_blocks
from jaxmem.classifiers._linear import exactly, right_singular

__all__ = ["COPIES", "Minimum", "check_minimizer", "loss_and_gradient", "minimize", "whitened"]

# Pairs of differences that L-BFGS remembers: ten take no fewer steps than five in these coordinates.
_MEMORY = 5
# What a search holds at once, counted in weights: pairs of differences, last point, trial, direction, gradients.
COPIES = 2 * _MEMORY + 6
# A step is repeated if the slope at its end is more than this share of the slope at its start, and positive.
_OVERSHOOT = 0.5
# A step shortened below this share finds nothing but rounding: give up.
_SHORTEST = 1e-8


class Minimum(NamedTuple):
    """Where `minimize` stopped.

    Attributes:
        weights: one row per column of scores, in whitened coordinates.
        gradient_norm: relative, see `minimize`.
        converged: whether it is at most `tol`.
    """

    weights: Float[Array, "k r"]
    gradient_norm: Float[Array, ""]
    converged: Bool[Array, ""]


class _Search(NamedTuple):
    """One label vector's search: the last point accepted, and the step from it that is tried next."""

    weights: Float[Array, "k r"]
    gradient_norm: Float[Array, ""]
    direction: Float[Array, "k r"]
    slope: Float[Array, ""]
    length: Float[Array, ""]
    done: Bool[Array, ""]
    memory: Any
    steps: Int[Array, ""]


def check_minimizer(tol: float, solver: Any) -> None:
    """Check the hyperparameters that `minimize` takes.

    Raises:
        ValueError: one of them is not as `minimize` says.
    """
    if not 0 < tol < 1:
        raise ValueError(f"tol must lie between 0 and 1, but is {tol!r}.")
    if not (solver is None or (callable(getattr(solver, "init", None)) and callable(getattr(solver, "update", None)))):
        raise ValueError(
            f"solver must be None (L-BFGS) or an optax GradientTransformation, optax.adam(0.1) say, not {solver!r}."
        )


def whitened(
    Z: Float[Array, "n d"], curvature: float, penalty: float
) -> tuple[Float[Array, "d r"], Float[Array, "n r"], Float[Array, " r"]]:
    """Coordinates in which `curvature * ZᵀZ + penalty * I` is the identity; `r = min(n, d)`.

    Returns:
        `(basis, rows, penalties)`: the coordinates of a row `z` are `z @ basis`, those of the rows of `Z` are `rows`,
        and the penalty on weights `w` in them is `½ Σ penalties w²`. Directions without variation have zeros in all.
    """
    _, basis = right_singular(Z, len(Z))
    rows = exactly(Z, basis)
    # More accurate than the eigenvalues themselves, whose rounding is that of the largest.
    squares = (rows**2).sum(axis=0)
    real = squares > (16 * jnp.finfo(Z.dtype).eps) ** 2 * squares.sum()
    scale = jnp.where(real, 1 / jnp.sqrt(curvature * squares + penalty), 0)
    return basis * scale[None, :], rows * scale[None, :], penalty * scale**2


def loss_and_gradient(
    loss: Callable[[Array, Array], tuple[Array, Array]],
    weights: Float[Array, "k r"],
    rows: Float[Array, "n r"],
    labels: Integer[Array, " n"],
) -> tuple[Float[Array, ""], Float[Array, "k r"]]:
    """Loss over all rows and its gradient in the weights, a block of rows at a time.

    Two matrix products, which under `vmap` over label vectors stay two: scores and residuals of all label vectors are
    the rows of one matrix. Exact products, for L-BFGS learns from small differences of gradients.

    Args:
        loss: scores (k, b) and labels (b,) of some rows to their summed loss and its derivative in the scores (k, b).
        weights: zero or more.
        rows: as `whitened` returns them.
        labels: one per row.
    """

    def block(arrays: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        some_rows, some_labels = arrays
        value, residuals = loss(exactly(weights, some_rows.T), some_labels)
        return (value, exactly(residuals, some_rows)), None

    return over_row_blocks(block, (rows, labels))[0]


def minimize(
    evaluate: Callable[[Array], tuple[Array, Array]],
    value: Float[Array, ""] | float,
    gradient: Float[Array, "k r"],
    *,
    tol: float,
    max_steps: int,
    solver: Any,
) -> Minimum:
    """Minimise a convex function of whitened weights, from zero.

    It stops where the gradient norm, relative, is at most `tol`: `|g| sqrt(f₀ / 2) / f`, with `f` the loss there and
    `f₀` that at zero. Its square estimates the relative excess of the loss over its minimum, as long as curvature falls
    with the loss: `½ |g|²` is what a Newton step promises if the Hessian is the identity, as at zero, and where the
    features separate the classes, curvature is smaller by about `f / f₀`.

    Args:
        evaluate: weights to loss and gradient.
        value: loss at zero, > 0.
        gradient: gradient at zero.
        tol: the relative gradient norm to reach, between 0 and 1; 1e-3 is an excess loss of about a millionth.
        max_steps: evaluations at most, each one step, tried or taken. Under `vmap` the loop ends when the last label
            vector is done; one that is done earlier no longer changes.
        solver: None: L-BFGS as this module says. Or an optax gradient transformation, of which every update is taken.
    """
    # Not at the top of the file: importing jaxmem should cost no more than importing JAX.
    import optax

    @jax.custom_vjp
    def objective(weights: Array) -> Array:
        return evaluate(weights)[0]

    # For solvers that search along a line themselves: no products but the two, and no memory for going backwards.
    objective.defvjp(evaluate, lambda slopes, cotangent: (cotangent * slopes,))

    searches = solver is None
    transform = optax.with_extra_args_support(
        optax.chain(optax.scale_by_lbfgs(_MEMORY), optax.scale(-1.0)) if searches else solver
    )

    def relative(norm: Array, at: Any) -> Array:
        return norm * jnp.sqrt(start / 2) / at

    def propose(weights: Array, at: Array, slopes: Array, memory: Any) -> tuple[Array, Array, Any]:
        """Step to try from here, and the slope along it."""
        step: Any
        step, memory = transform.update(slopes, memory, weights, value=at, grad=slopes, value_fn=objective)
        slope = jnp.vdot(slopes, step)
        if searches:
            # No memory yet, or a memory of rounding errors: then the gradient itself.
            downhill = (slope < 0) & (memory[0].count > 1)
            step = jnp.where(downhill, step, -slopes)
            slope = jnp.where(downhill, slope, -jnp.vdot(slopes, slopes))
        return step, slope, memory

    def proceed(search: _Search) -> _Search:
        trial = search.weights + search.length * search.direction
        at, slopes = evaluate(trial)
        norm = relative(jnp.linalg.norm(slopes), at)
        # Points that are rejected enter the memory too: on a convex function any two points make a good pair.
        direction, slope, memory = propose(trial, at, slopes, search.memory)
        accept, shorter = jnp.array(True), search.length
        if searches:
            end = jnp.vdot(slopes, search.direction)
            accept = (end <= -_OVERSHOOT * search.slope) | (norm <= tol)
            secant = search.slope / jnp.where(accept, 1, search.slope - end)
            shorter = search.length * jnp.clip(secant, 0.01, 0.5)
        moves = accept & ~search.done
        norm = jnp.where(moves, norm, search.gradient_norm)
        done = search.done | (norm <= tol) | (shorter < _SHORTEST)
        return _Search(
            weights=jnp.where(moves, trial, search.weights),
            gradient_norm=norm,
            direction=jnp.where(moves, direction, search.direction),
            slope=jnp.where(moves, slope, search.slope),
            length=jnp.where(done, 0, jnp.where(accept, 1, shorter)),
            done=done,
            memory=memory,
            steps=search.steps + 1,
        )

    start = jnp.asarray(value, gradient.dtype)
    weights = jnp.zeros_like(gradient)
    norm = relative(jnp.linalg.norm(gradient), start)
    direction, slope, memory = propose(weights, start, gradient, transform.init(weights))
    done = norm <= tol
    length = jnp.where(done, 0, jnp.ones_like(norm))
    search = _Search(weights, norm, direction, slope, length, done, memory, jnp.zeros((), jnp.int32))
    search = jax.lax.while_loop(lambda s: (s.steps < max_steps) & ~_all_lanes(s.done), proceed, search)
    return Minimum(search.weights, search.gradient_norm, search.gradient_norm <= tol)


@custom_vmap
def _all_lanes(done: Bool[Array, ""]) -> Bool[Array, ""]:
    """Whether all label vectors under `vmap` are done: one answer for all of them.

    A `while_loop` that each of them could leave on its own would copy the whole state of all of them at every step,
    only to put back what should not have changed, and would turn the slices of the shared step number into gathers.
    """
    return done


@_all_lanes.def_vmap
def _all_lanes_of_batch(axis_size: int, in_batched: Any, done: Bool[Array, " b"]) -> tuple[Bool[Array, ""], bool]:
    del axis_size, in_batched
    return _all_lanes(done.all()), False
