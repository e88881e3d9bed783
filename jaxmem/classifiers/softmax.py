"""Softmax (multinomial logistic) regression: convex, iterative, and still almost all of it label-free.

With scores `s = W x + b` of a row and its softmax `p`, minimise

    f(W, b) = Σ_i -log p_i[y_i] + ½ l2 |W|²,

whose gradient in the scores is `p - y` with `y` the class indicator. At `W = 0` the Hessian is
`(1/C) (I - 11ᵀ/C) ⊗ XᵀX + l2 I` for every label vector (Böhning (1992) bounds it everywhere by the same with ½ instead
of `1/C`; for two classes they agree). One factorisation of the centred features therefore preconditions all
permutations: `_minimize.whitened` makes it the identity, and `_minimize.minimize` does the rest. The intercept is one
more coordinate, a constant feature without a penalty.

On shuffled labels the first step, a ridge regression in fact, leaves about a thousandth of the loss to gain, and some
five more leave a millionth. Labels that the features predict well take tens of steps, and up to some hundred
where the features separate the classes.

The weights of the classes sum to zero: the penalty wants that, and gradients have it. So `C - 1` rows carry both matrix
products, and the last class is the rest.

References: Cox (1958); Böhning (1992); scikit-learn's `LogisticRegression`.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jaxmem.classifiers._linear import Shift, centre, exactly, shifted
from jaxmem.classifiers._minimize import COPIES, Minimum, check_minimizer, loss_and_gradient, minimize, whitened
from jaxmem.classifiers.base import class_sums, one_hot
from jaxmem.inputs import as_number, as_positive

__all__ = ["Softmax"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    shift: Shift
    basis: Float[Array, "d r"]
    coordinates: Float[Array, "n p"]  # Whitened; the last one is the same for all rows, the intercept.
    penalties: Float[Array, " p"]
    n_classes: int = field(metadata={"static": True})


@dataclass(frozen=True)
class Softmax:
    """Softmax regression with an L2 penalty; the twin is scikit-learn's `LogisticRegression(C=1 / l2)`.

    The objective is the same number: log losses summed, not averaged, over the rows, plus half of `l2` times the
    squared weights, the intercept left out. For two classes that is scikit-learn's model with one weight vector, the
    difference between those of the two classes.

    Args:
        l2: penalty on the squared coefficients, > 0; `1 / C` in scikit-learn.
        tol: relative gradient norm to reach, between 0 and 1. Its square is about the relative excess of the loss over
            its minimum.
        max_steps: evaluations of the gradient at most, two matrix products each.
        solver: None: L-BFGS. Or an optax `GradientTransformation`, `optax.adam(0.1)` say, which then steps in whitened
            coordinates: for the loss summed over rows, the Hessian at zero weights is the identity and nowhere more
            than half the number of classes. Every `optax.adam(...)` compiles anew: make one and keep it.

    Raises:
        ValueError: on other hyperparameters.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> copies = jm.SharedStructure(X + 0.1)
        >>> jm.permutation_test(jm.Softmax(), X, y, validation=copies, n_permutations=99).pvalue
        0.01
    """

    l2: float = 1.0
    tol: float = 1e-3
    max_steps: int = 300
    solver: Any = None
    copies: ClassVar[int] = COPIES

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        l2 = as_positive(self.l2, "l2", remedy=" For next to no penalty pass a small one.")
        object.__setattr__(self, "l2", l2)
        check_minimizer(self.tol, self.solver)
        object.__setattr__(self, "max_steps", as_number(self.max_steps, "max_steps"))

    def prepare(self, X: Float[Array, "n d"], n_classes: int) -> _State:
        """Centre and whiten the training rows."""
        shift, centred = centre(X)
        # Weights u and -u of two classes differ by w = 2u, and l2 |w|² / 2 = (2 l2) (|u|² + |-u|²) / 2.
        penalty = 2 * self.l2 if n_classes == 2 else self.l2
        basis, rotated, penalties = whitened(centred, 1 / n_classes, penalty)
        constant = _constant(len(X), n_classes, X.dtype)
        coordinates = jnp.pad(rotated, ((0, 0), (0, 1)), constant_values=constant)
        return _State(shift, basis, coordinates, jnp.append(penalties, 0), n_classes)

    def rows(self, state: _State, X_new: Float[Array, "m d"]) -> Float[Array, "m p"]:
        """Coordinates of the rows."""
        rotated = exactly(shifted(state.shift, X_new), state.basis)
        constant = _constant(state.coordinates.shape[0], state.n_classes, rotated.dtype)
        return jnp.pad(rotated, ((0, 0), (0, 1)), constant_values=constant)

    def fit(self, state: _State, labels: Integer[Array, " n"]) -> Minimum:
        """Minimise the penalised log loss."""
        n, n_classes = labels.shape[0], state.n_classes

        def evaluate(weights: Float[Array, "C p"]) -> tuple[Float[Array, ""], Float[Array, "C p"]]:
            loss, gradient = loss_and_gradient(_log_loss, weights[:-1], state.coordinates, labels)
            penalty = state.penalties[None, :] * weights
            return loss + 0.5 * (penalty * weights).sum(), _with_last(gradient) + penalty

        # At zero weights all classes are equally likely, and half an evaluation is enough.
        sums, _ = class_sums(labels, state.coordinates, n_classes - 1)
        gradient = _with_last(state.coordinates.mean(axis=0)[None, :] * (n / n_classes) - sums)
        return minimize(
            evaluate,
            n * jnp.log(jnp.asarray(n_classes, gradient.dtype)),
            gradient,
            tol=self.tol,
            max_steps=self.max_steps,
            solver=self.solver,
        )

    def decision(self, state: _State, params: Minimum, rows: Float[Array, "m p"]) -> Float[Array, "m C"]:
        """Log probability of each class, up to a constant per row; every row sums to zero."""
        return _with_last(params.weights[:-1] @ rows.T).T

    def probabilities(self, scores: Float[Array, "m C"]) -> Float[Array, "m C"]:
        """Class probabilities of rows with these scores."""
        return jax.nn.softmax(scores, axis=1)

    def diagnostics(self, params: Minimum) -> dict[str, Array]:
        """`gradient_norm`, relative: its square is about the relative excess loss; `converged`: at most `tol`."""
        return {"gradient_norm": params.gradient_norm, "converged": params.converged}


def _constant(n: int, n_classes: int, dtype: Any) -> Float[Array, ""]:
    """The constant feature that the intercept belongs to, whitened."""
    return jnp.sqrt(jnp.asarray(n_classes / n, dtype))


def _with_last(of_all_but_one: Float[Array, "contrasts k"]) -> Float[Array, "C k"]:
    """Add the last class, where all classes together sum to zero."""
    return jnp.concatenate([of_all_but_one, -of_all_but_one.sum(axis=0, keepdims=True)])


def _log_loss(
    scores: Float[Array, "contrasts b"], labels: Integer[Array, " b"]
) -> tuple[Float[Array, ""], Float[Array, "contrasts b"]]:
    """Summed log loss, and its derivative in the scores of all classes but the last.

    Where features separate the classes, `1 - p` of the right class is all that is left, and it would be all rounding.
    It is therefore summed from the probabilities of the wrong classes.
    """
    scores = _with_last(scores)
    own = one_hot(labels, len(scores), scores.dtype)
    largest = scores.max(axis=0)
    likelihoods = jnp.exp(scores - largest[None, :])
    total = likelihoods.sum(axis=0)
    wrong = (1 - own) * likelihoods / total[None, :]
    missed = wrong.sum(axis=0)
    confident = missed < 0.5
    near = -jnp.log1p(-jnp.where(confident, missed, 0))
    far = jnp.log(total) + largest - (own * scores).sum(axis=0)
    return jnp.where(confident, near, far).sum(), (wrong - own * missed[None, :])[:-1]
