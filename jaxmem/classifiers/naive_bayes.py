"""Gaussian naive Bayes: independent Gaussian features within each class, from class sums of `x` and `x²` alone.

With class means `μ_kj` and variances `v_kj`, a row scores

    log π_k - ½ Σ_j [log v_kj + (x_j - μ_kj)² / v_kj],

a quadratic in `x` whose coefficients are per class: a matrix product with the rows `(x, x²)`, side by side. Both that
product and the class sums take `C - 1` columns: scores are differences to the last class (the same constant off all
scores of a row), and both `x` and `x²` are centred over the training rows, so that their class sums add up to zero.

Features are first centred and divided by their standard deviation, which changes nothing in the model but the units
of its smoothing, and everything in its rounding: with mean and variance of all rows at 0 and 1, class variances are
`1 + (mean of x² - 1) - μ²`, numbers of order one. Features that do not vary over the training rows have
the same density in all classes; they are left out.

References: Hand & Yu (2001), Idiot's Bayes; scikit-learn's `GaussianNB`.
"""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jaxmem.classifiers._linear import Shift, centre, shifted
from jaxmem.classifiers.base import contrast_sums
from jaxmem.classifiers.moments import Moments

__all__ = ["GaussianNB"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    shift: Shift
    scale: Float[Array, " d"]  # One over the standard deviation; 0 for features that do not vary.
    smoothing: Float[Array, " d"]  # In units of each feature's own variance.
    # Two columns per feature: x and x² - 1, standardised; without rows where those come a block at a time.
    training: Float[Array, "n two_d"]
    n_classes: int = field(metadata={"static": True})


class _Params(NamedTuple):
    weights: Float[Array, "C-1 two_d"]  # Against the last class.
    intercepts: Float[Array, " C"]


@dataclass(frozen=True)
class GaussianNB:
    """Gaussian naive Bayes; predictions equal scikit-learn's `GaussianNB(var_smoothing=...)` on the same labels.

    Scores equal its joint log-likelihood up to a constant per row. Variances below the rounding error of a feature's
    variance over all rows (1e-7 of it in single precision) count as that.

    Args:
        var_smoothing: added to all variances, as a multiple of the largest variance of a feature over the training
            rows; >= 0.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> copies = jm.SharedStructure(X + 0.1)
        >>> jm.permutation_test(jm.GaussianNB(), X, y, validation=copies, n_permutations=99).pvalue
        0.01
    """

    var_smoothing: float = 1e-9
    scatter: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        if not 0 <= self.var_smoothing < float("inf"):
            raise ValueError(f"var_smoothing must be a finite number >= 0, but is {self.var_smoothing!r}.")

    def prepare(self, X: Float[Array, "n d"], n_classes: int) -> _State:
        """Standardise the training rows, and set their squares beside them."""
        shift, centred = centre(X)
        spread = jnp.sqrt((centred**2).mean(axis=0))
        return self._state(shift, spread, centred, n_classes)

    def _state(self, shift: Shift, spread: Float[Array, " d"], centred: Float[Array, "n d"], n_classes: int) -> _State:
        scale = jnp.where(spread > 0, 1 / jnp.where(spread > 0, spread, 1), 0)
        smoothing = self.var_smoothing * (spread.max() * scale) ** 2
        return _State(shift, scale, smoothing, _moments(centred, scale), n_classes)

    def rows(self, state: _State, X_new: Float[Array, "m d"]) -> Float[Array, "m two_d"]:
        """Standardise the rows, and set their squares beside them."""
        return _moments(shifted(state.shift, X_new), state.scale)

    def fit(self, state: _State, labels: Integer[Array, " n"]) -> _Params:
        """Class means and variances, as coefficients of a quadratic."""
        return self.solve(state, *contrast_sums(labels, state.training, state.n_classes))

    def decision(self, state: _State, params: _Params, rows: Float[Array, "m two_d"]) -> Float[Array, "m C"]:
        """Joint log-likelihood of rows and classes, less that of the last class's Gaussian."""
        scores = params.weights @ rows.T
        return (jnp.pad(scores, ((0, 1), (0, 0))) + params.intercepts[:, None]).T

    def probabilities(self, scores: Float[Array, "m C"]) -> Float[Array, "m C"]:
        """Class probabilities of rows with these scores."""
        return jax.nn.softmax(scores, axis=1)

    def condense(self, moments: Moments, n_classes: int) -> _State:
        """Mean and standard deviation of every feature."""
        return self._state(moments.shift, moments.spread, moments.condensed[:0], n_classes)

    def summed(self, state: _State, X: Float[Array, "k d"]) -> Float[Array, "k two_d"]:
        """Standardise some training rows, and set their squares beside them."""
        return self.rows(state, X)

    def solve(self, state: _State, sums: Float[Array, "contrasts two_d"], counts: Float[Array, " C"]) -> _Params:
        """Class means and variances from class sums."""
        sums = jnp.concatenate([sums, -sums.sum(axis=0, keepdims=True)])
        # A class without rows gets the mean and variance of all rows, and a prior of zero.
        means, squares = jnp.split(sums / jnp.maximum(counts, 1)[:, None], 2, axis=1)
        variances = jnp.maximum(1 + squares - means**2, jnp.finfo(sums.dtype).eps) + state.smoothing[None, :]

        coefficients = jnp.concatenate([means / variances, -0.5 / variances], axis=1)
        # Class against class before the sum over features, which is large beside the differences.
        offsets = 0.5 * (jnp.log(variances) + (1 + means**2) / variances)
        offsets = (offsets - offsets[-1:]).sum(axis=1)
        return _Params(coefficients[:-1] - coefficients[-1:], jnp.log(counts / counts.sum()) - offsets)

    def score(self, state: _State, params: _Params, X_new: Float[Array, "k d"]) -> Float[Array, "k C"]:
        """As `decision`."""
        return self.decision(state, params, self.rows(state, X_new))


def _moments(centred: Float[Array, "n d"], scale: Float[Array, " d"]) -> Float[Array, "n two_d"]:
    """Standardised features and their squares less one, which is the mean square over the training rows."""
    standard = centred * scale[None, :]
    return jnp.concatenate([standard, jnp.where(scale[None, :] > 0, standard**2 - 1, 0)], axis=1)
