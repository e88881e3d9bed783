"""Linear predictivity: which share of one network's variance does ridge regression on the other's features explain?

With singular vectors `u_k` and values `s_k` of the centred features `X` and penalty `λ`, ridge regression predicts
`Ŷ = Σ_k f_k u_k u_kᵀ Y`, `f_k = s_k² / (s_k² + λ)`, and the share of the variance that it explains on these rows is

    R² = 1 - |Y - Ŷ|² / |Y|² = Σ_k (2 f_k - f_k²) |u_kᵀ Y|² / |Y|².

With the singular vectors `v_l` and values `t_l` of `Y`, `|u_kᵀ Y|² = Σ_l (u_k·v_l)² t_l²`: the one product of the
networks' bases gives both ways, from X to Y and from Y to X. The measure is their mean. The rows predicted are those
fitted, so there must be more of them than features.

References: Hoerl & Kennard (1970) for ridge; Kornblith et al. (2019) for R² without penalty as a similarity.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxmem.classifiers._linear import exactly
from jaxmem.inputs import as_positive
from jaxmem.similarity._rows import centred
from jaxmem.similarity.base import Facts

__all__ = ["LinearPredictivity"]


class _Predictor(NamedTuple):
    basis: Float[Array, "n r"]  # Left singular vectors of the centred features.
    explained: Float[Array, " r"]  # 2 f_k - f_k², the share of what lies along each that is predicted.
    variances: Float[Array, " r"]  # Share of the features' variance along each.


@dataclass(frozen=True)
class LinearPredictivity:
    """Share of the variance explained by ridge regression, the mean of both ways.

    Args:
        alpha: penalty on the squared coefficients, as a share of the features' total sum of squares, > 0.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.similarity import LinearPredictivity
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> round(jm.pair_similarity(X, X[:, ::-1], LinearPredictivity()), 3)  # The same features in another order.
        1.0
    """

    alpha: float = 1e-4

    def __post_init__(self) -> None:
        """Check the penalty."""
        object.__setattr__(self, "alpha", as_positive(self.alpha, "alpha"))

    @property
    def facts(self) -> Facts:
        """Range and invariances."""
        return Facts(
            takes="features",
            low=0.0,
            high=1.0,
            larger_is_similar=True,
            invariances=("translation", "scaling", "rotation", "dead units"),
            more_rows_than_features=True,
            source="Kornblith et al. (2019)",
        )

    def prepare(self, X: Float[Array, "n d"]) -> _Predictor:
        """Singular vectors, what ridge keeps of each, and what each holds."""
        left, values, _ = jnp.linalg.svd(centred(X), full_matrices=False)
        kept = values**2 / (values**2 + self.alpha)
        return _Predictor(left, 2 * kept - kept**2, values**2)

    def compare(self, a: _Predictor, b: _Predictor) -> Float[Array, ""]:
        """The mean of both shares."""
        squares = exactly(a.basis.T, b.basis) ** 2
        ways = jnp.outer(a.explained, b.variances), jnp.outer(a.variances, b.explained)
        return (squares * (ways[0] + ways[1])).sum() / 2

    def permute(self, state: _Predictor, permutation: Int[Array, " n"]) -> _Predictor:
        """Rows in another order."""
        return state._replace(basis=state.basis[permutation])
