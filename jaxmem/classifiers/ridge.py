"""Ridge classification: least squares on class indicators with an L2 penalty, in closed form.

With centred features `Z` (n, d) and class indicators `Y` (n, C), the coefficients are `W = (ZᵀZ + αI)⁻¹ ZᵀY`, and a
row `x` scores `n_c / n + (x - mean)ᵀ W`. Only `Y` depends on labels. With the right singular vectors `V` of `Z` and
its squared singular values `l`, both label-free, everything happens in the coordinates `Q = ZV` and `R = (X' - mean)V`:

    scores = R diag(1 / (l + α)) QᵀY + n_c / n,

so that a label vector costs the class sums `QᵀY` and the product with `R`, two matrix products and nothing else. `V`
comes from the smaller of the two Gram matrices, so there are `r = min(n, d)` coordinates, primal and dual alike.

The indicators sum to one over the classes and the columns of `Q` to zero over the rows, so the scores of a row sum to
one: `C - 1` columns carry the fit, and the last class is the rest. Two classes are one column, as in scikit-learn.

Indicators in {0, 1} instead of scikit-learn's {-1, 1} halve the scores and shift all of a row's by the same amount,
which changes no prediction. References: Hoerl & Kennard (1970); scikit-learn's `RidgeClassifier`.
"""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jaxmem.classifiers._linear import centre, exactly, right_singular
from jaxmem.classifiers.base import class_sums

__all__ = ["Ridge"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    mean: Float[Array, " d"]
    basis: Float[Array, "d r"]  # V, its rows divided by the features' scales.
    squares: Float[Array, " r"]  # l, in the order of the columns of V.
    rotated: Float[Array, "n r"]  # Q.
    n_classes: int = field(metadata={"static": True})


class _Params(NamedTuple):
    weights: Float[Array, "*alphas contrasts r"]
    prior: Float[Array, " contrasts"]


@dataclass(frozen=True)
class Ridge:
    """Ridge classifier; predictions equal scikit-learn's `RidgeClassifier(alpha)` refitted on the same labels.

    Args:
        alpha: penalty on the squared coefficients, > 0, in the squared units of the features (after standardisation, if
            any). A tuple of them tests every one, for one factorisation and one product with the training rows.
        standardize: divide every feature by its standard deviation over the training rows. Features that do
            not vary there are dropped in any case: they carry nothing, and a perturbed copy must not blow them up.
    """

    alpha: float | tuple[float, ...] = 1.0
    standardize: bool = False
    gives: ClassVar[str] = "indicators"

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        if isinstance(self.alpha, list):
            raise ValueError(f"alpha must be a number or a tuple, for it to be hashable: tuple({self.alpha!r}).")
        alphas = self.alpha if isinstance(self.alpha, tuple) else (self.alpha,)
        if not alphas or not all(0 < alpha < float("inf") for alpha in alphas):
            raise ValueError(
                f"alpha must be a finite number > 0, or a tuple of those, but is {self.alpha!r}. "
                "For next to no penalty pass a small one."
            )

    def prepare(self, X: Float[Array, "n d"], n_classes: int) -> _State:
        """Centre, factorise, and rotate the training rows."""
        mean, centred, varies = centre(X)
        spread = jnp.sqrt((centred**2).mean(axis=0)) if self.standardize else jnp.ones_like(mean)
        scale = jnp.where(varies, 1 / jnp.where(varies, spread, 1), 0)
        squares, basis = right_singular(centred * scale[None, :])
        basis = scale[:, None] * basis
        return _State(mean, basis, squares, exactly(centred, basis), n_classes)

    def rows(self, state: _State, X_new: Float[Array, "m d"]) -> Float[Array, "m r"]:
        """Centre and rotate the rows."""
        return exactly(X_new - state.mean[None, :], state.basis)

    def fit(self, state: _State, labels: Integer[Array, " n"]) -> _Params:
        """Class sums of the rotated rows, shrunk by every alpha."""
        sums, counts = class_sums(labels, state.rotated, state.n_classes - 1)
        alpha = jnp.asarray(self.alpha, sums.dtype)
        return _Params(sums / (state.squares + alpha[..., None])[..., None, :], counts / labels.shape[0])

    def decision(self, state: _State, params: _Params, rows: Float[Array, "m r"]) -> Float[Array, "*alphas m C"]:
        """Least-squares estimates of the class indicators; every row sums to one."""
        scores = params.weights @ rows.T + params.prior[:, None]
        scores = jnp.concatenate([scores, 1 - scores.sum(axis=-2, keepdims=True)], axis=-2)
        return jnp.swapaxes(scores, -1, -2)
