"""Orthogonal Procrustes: how well does a rotation lay the features of one network over those of another?

With centred features of unit Frobenius norm, `min |X - YQ|² = 2 - 2 |XᵀY|_*` over orthogonal `Q`, and the similarity is
the nuclear norm `|XᵀY|_*` (the sum of singular values), the cosine of the smallest angle between them.

References: Schönemann (1966); Ding, Denain & Steinhardt (2021); Williams, Kunz, Kornblith & Linderman (2021).
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxmem.classifiers._linear import exactly
from jaxmem.similarity._rows import centred
from jaxmem.similarity.base import Facts

__all__ = ["Procrustes"]


@dataclass(frozen=True)
class Procrustes:
    """Cosine of the angle between features after the best rotation of one of them.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.similarity import Procrustes
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> round(jm.pair_similarity(X, X[:, ::-1], Procrustes()), 3)  # The same features in another order.
        1.0
    """

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
            source="Schönemann (1966); Ding et al. (2021)",
        )

    def prepare(self, X: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Centred features of unit norm."""
        return centred(X)

    def compare(self, a: Float[Array, "n d"], b: Float[Array, "n d"]) -> Float[Array, ""]:
        """The nuclear norm of the cross product."""
        return jnp.linalg.svd(exactly(a.T, b), compute_uv=False).sum()

    def permute(self, state: Float[Array, "n d"], permutation: Int[Array, " n"]) -> Float[Array, "n d"]:
        """Rows in another order."""
        return state[permutation]
