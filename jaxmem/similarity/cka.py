"""Centred kernel alignment: are the same rows alike in both networks?

With Gram matrices `K` and `L` of the rows of two networks, the Hilbert-Schmidt independence criterion is an inner
product of the centred matrices, and CKA their cosine:

    CKA = <K°, L°> / sqrt(<K°, K°> <L°, L°>).

* Biased (Gretton et al. 2005): `K° = HKH`, `H = I - 11ᵀ/n`. In [0, 1], and near 1 for anything if rows are few.
* Unbiased (Song et al. 2012), by U-centring (Székely & Rizzo 2014): the diagonal is left out,

      K°_ij = K_ij - r_i/(n-2) - r_j/(n-2) + s/((n-1)(n-2)),  i != j,   K°_ii = 0,

  with sums `r_i` of row i without its diagonal, and their sum `s`. Then `<K°, L°> / (n (n-3))` is the unbiased estimate
  of HSIC. Unrelated networks are at 0 on average, and so below it now and then: negative values are meant.

Either way all that a pair needs is the inner product of two prepared matrices. Every network of many against every
other is one matrix product.

Kernels: linear, `K = XXᵀ`, or RBF, `K_ij = exp(-|x_i - x_j|² / (2 σ²))` with `σ` a share of the median distance.
Reference: Kornblith, Norouzi, Lee & Hinton (2019), Similarity of neural network representations revisited.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxmem.classifiers._linear import exactly
from jaxmem.inputs import as_positive, one_of
from jaxmem.similarity._rows import centred, inner, permuted_pairs, rounding, square_distances, unit
from jaxmem.similarity.base import Facts

__all__ = ["CKA"]


@dataclass(frozen=True)
class CKA:
    """Centred kernel alignment.

    Args:
        kernel: "linear" or "rbf".
        unbiased: use the unbiased estimates of HSIC.
        bandwidth: of the RBF kernel, as a share of the median distance between rows.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.similarity import CKA
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> round(jm.pair_similarity(X, X[:, ::-1], CKA("rbf")), 3)  # The same features in another order.
        1.0
    """

    kernel: str = "linear"
    unbiased: bool = True
    bandwidth: float = 1.0

    def __post_init__(self) -> None:
        """Check the choices."""
        one_of(self.kernel, ("linear", "rbf"), "kernel")
        bandwidth = as_positive(self.bandwidth, "bandwidth", "a positive finite share of the median")
        object.__setattr__(self, "bandwidth", bandwidth)

    @property
    def facts(self) -> Facts:
        """Range and invariances."""
        return Facts(
            takes="features",
            low=-1.0 if self.unbiased else 0.0,
            high=1.0,
            larger_is_similar=True,
            invariances=("translation", "scaling", "rotation", "dead units"),
            more_rows_than_features=not self.unbiased,
            source="Kornblith et al. (2019)" + ("; Song et al. (2012)" if self.unbiased else ""),
        )

    def prepare(self, X: Float[Array, "n d"]) -> Float[Array, "n n"]:
        """The centred Gram matrix, of unit norm."""
        X = centred(X)
        # The Gram matrix of centred features is centred.
        gram = exactly(X, X.T) if self.kernel == "linear" else _centred(self._rbf(X))
        return unit(_u_centred(gram) if self.unbiased else gram)

    def compare(self, a: Float[Array, "n n"], b: Float[Array, "n n"]) -> Float[Array, ""]:
        """The cosine of two matrices of unit norm."""
        return inner(a, b)

    def permute(self, state: Float[Array, "n n"], permutation: Int[Array, " n"]) -> Float[Array, "n n"]:
        """Rows and columns in another order."""
        return permuted_pairs(state, permutation)

    def _rbf(self, X: Float[Array, "n d"]) -> Float[Array, "n n"]:
        distances = square_distances(X)
        width = (self.bandwidth * _median_distance(distances)) ** 2
        # Where half of all pairs of rows coincide, the others are infinitely far apart. Less 1, which centring takes
        # away: rows that all coincide are then exactly zero, and close ones keep their digits.
        return jnp.where(distances > 0, jnp.expm1(-distances / (2 * jnp.where(width > 0, width, 1e-30))), 0)


def _centred(gram: Float[Array, "n n"]) -> Float[Array, "n n"]:
    means = gram.mean(axis=1)
    return gram - means[:, None] - means[None, :] + means.mean()


def _u_centred(gram: Float[Array, "n n"]) -> Float[Array, "n n"]:
    # Of a matrix that is centred already: a row without its diagonal sums to minus the diagonal. U-centring undoes what
    # centring does to the rest of it, and there is less to round then.
    n, diagonal = len(gram), jnp.eye(len(gram), dtype=bool)
    sums = -jnp.diagonal(gram)
    shifted = gram - (sums / (n - 2))[:, None] - (sums / (n - 2))[None, :] + sums.sum() / ((n - 1) * (n - 2))
    off = jnp.where(diagonal, 0, shifted)
    # Rows that are all equally far apart, or all but one of which coincide, leave what the sums were rounded to.
    return jnp.where(jnp.abs(off).max() <= rounding(jnp.abs(gram).max()), 0, off)


def _median_distance(squares: Float[Array, "n n"]) -> Float[Array, ""]:
    """The median distance of all pairs of rows, the mean of the two middle ones where their number is even; exact.

    Bits of non-negative floats order as the floats do: counting their first 16 bits, then the next 16 of those that
    begin as the lower middle one does, finds it without sorting.
    """
    kind = jnp.int32 if squares.dtype == jnp.float32 else jnp.int64
    bits = jax.lax.bitcast_convert_type(squares, kind)
    n = len(squares)
    rank = n + n * (n - 1) // 2  # The n zeros of the diagonal come first, and then every pair twice.
    found, begins_alike = jnp.zeros((), kind), jnp.ones(bits.shape, bool)
    equal = jnp.zeros((), jnp.int32)
    for shift in range(jnp.iinfo(kind).bits - 16, -1, -16):
        digits = (bits >> shift) & (2**16 - 1)
        counts = jnp.zeros(2**16, jnp.int32).at[jnp.where(begins_alike, digits, 2**16)].add(1, mode="drop")
        not_larger = jnp.cumsum(counts)
        digit = (not_larger >= rank).argmax()
        equal = counts[digit]
        rank = rank - (not_larger[digit] - equal)
        found = (found << 16) | digit.astype(kind)
        begins_alike = begins_alike & (digits == digit)
    lower = jax.lax.bitcast_convert_type(found, squares.dtype)
    # Of an odd number of pairs, the middle one follows itself.
    upper = jnp.where(equal > rank, lower, jnp.where(squares > lower, squares, jnp.inf).min())
    return (jnp.sqrt(lower) + jnp.sqrt(upper)) / 2
