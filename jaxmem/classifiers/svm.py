"""Linear support vector machine with the squared hinge loss, one class against the rest.

For every class, with `t = 1` for its rows and `t = -1` for all others, minimise over the weights of the features and of
one constant feature 1

    f(w) = ½ |w|² + C Σ_i max(0, 1 - t_i wᵀx_i)².

The gradient in the score of a row is `-2C t max(0, 1 - t wᵀx)`, and the Hessian `I + 2C Σ x xᵀ` over the rows inside
the margin: at `w = 0`, where all of them are, and as an upper bound everywhere, it is `I + 2C XᵀX` for every label
vector. One factorisation preconditions all permutations; see `_minimize`. The first step is ridge regression.

The constant feature is penalised like all others, as in liblinear: scores are therefore not invariant to a shift of the
features, and centring them beforehand shrinks the intercept less.

Two classes are one problem, as in scikit-learn: the other's weights are its negative.

References: Cortes & Vapnik (1995); Fan, Chang, Hsieh, Wang & Lin (2008), LIBLINEAR; scikit-learn's `LinearSVC`.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jaxmem.classifiers._linear import exactly
from jaxmem.classifiers._minimize import COPIES, Minimum, check_minimizer, loss_and_gradient, minimize, whitened
from jaxmem.classifiers.base import class_sums, one_hot
from jaxmem.inputs import as_number, as_positive

__all__ = ["LinearSVM"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    basis: Float[Array, "p r"]
    coordinates: Float[Array, "n r"]
    penalties: Float[Array, " r"]
    n_classes: int = field(metadata={"static": True})


@dataclass(frozen=True)
class LinearSVM:
    """Linear support vector machine; the twin is scikit-learn's `LinearSVC(C, loss="squared_hinge", dual="auto")`.

    The objective is the same number, with scikit-learn's `intercept_scaling=1`: the intercept is penalised.

    Args:
        C: weight of the squared hinge losses, summed over the rows, against half the squared coefficients; > 0.
        tol: relative gradient norm to reach, between 0 and 1. Its square is about the relative excess of the loss over
            its minimum.
        max_steps: evaluations of the gradient at most, two matrix products each.
        solver: None: L-BFGS. Or an optax `GradientTransformation`, which then steps in whitened coordinates: the
            Hessian
            at zero weights is the identity, and nowhere more. Every `optax.adam(...)` compiles anew: make one and keep
            it.

    Raises:
        ValueError: on other hyperparameters.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> copies = jm.SharedStructure(X + 0.1)
        >>> jm.permutation_test(jm.LinearSVM(), X, y, validation=copies, n_permutations=99).pvalue
        0.01
    """

    C: float = 1.0
    tol: float = 1e-3
    max_steps: int = 300
    solver: Any = None
    gives: ClassVar[str] = "columns"
    copies: ClassVar[int] = COPIES

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        C = as_positive(self.C, "C", remedy=" For next to no penalty pass a large one.")
        object.__setattr__(self, "C", C)
        check_minimizer(self.tol, self.solver)
        object.__setattr__(self, "max_steps", as_number(self.max_steps, "max_steps"))

    def prepare(self, X: Float[Array, "n d"], n_classes: int) -> _State:
        """Append the constant feature, and whiten the training rows."""
        return _State(*whitened(_with_constant(X), 2 * self.C, 1.0), n_classes)

    def rows(self, state: _State, X_new: Float[Array, "m d"]) -> Float[Array, "m r"]:
        """Coordinates of the rows."""
        return exactly(_with_constant(X_new), state.basis)

    def fit(self, state: _State, labels: Integer[Array, " n"]) -> Minimum:
        """Minimise the penalised squared hinge loss, all classes together."""
        n_problems = _n_problems(state.n_classes)

        def squared_hinge(scores: Array, some_labels: Array) -> tuple[Array, Array]:
            targets = 2 * one_hot(some_labels, n_problems, scores.dtype) - 1
            short = jnp.maximum(1 - targets * scores, 0)
            return self.C * (short**2).sum(), -2 * self.C * targets * short

        def evaluate(weights: Float[Array, "k r"]) -> tuple[Float[Array, ""], Float[Array, "k r"]]:
            loss, gradient = loss_and_gradient(squared_hinge, weights, state.coordinates, labels)
            penalty = state.penalties[None, :] * weights
            return loss + 0.5 * (penalty * weights).sum(), gradient + penalty

        # At zero weights every row is short of the margin by one, and half an evaluation is enough.
        sums, _ = class_sums(labels, state.coordinates, n_problems)
        gradient = -2 * self.C * (2 * sums - state.coordinates.sum(axis=0)[None, :])
        value = self.C * labels.shape[0] * n_problems
        return minimize(evaluate, value, gradient, tol=self.tol, max_steps=self.max_steps, solver=self.solver)

    def decision(self, state: _State, params: Minimum, rows: Float[Array, "m r"]) -> Float[Array, "m n_classes"]:
        """Margin of each class against the rest."""
        scores = params.weights @ rows.T
        return (jnp.concatenate([scores, -scores]) if state.n_classes == 2 else scores).T

    def diagnostics(self, params: Minimum) -> dict[str, Array]:
        """`gradient_norm`, relative: its square is about the relative excess loss; `converged`: at most `tol`."""
        return {"gradient_norm": params.gradient_norm, "converged": params.converged}


def _n_problems(n_classes: int) -> int:
    return 1 if n_classes == 2 else n_classes


def _with_constant(X: Float[Array, "n d"]) -> Float[Array, "n p"]:
    return jnp.pad(X, ((0, 0), (0, 1)), constant_values=1)
