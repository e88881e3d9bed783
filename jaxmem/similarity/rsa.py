"""Representational similarity analysis: do two networks place the same rows far apart?

Each network has a matrix of dissimilarities between its rows. Their correlation over all pairs of rows, Pearson's or
Spearman's, is the similarity of the networks. Both are cosines of vectors that each network has for itself:
dissimilarities minus their mean, or their ranks minus the mean rank, tied ones sharing theirs. Dissimilarities that are
all equal but for rounding say nothing, and are zeros.

Reference: Kriegeskorte, Mur & Bandettini (2008), who took one minus the correlation of two rows as dissimilarity.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxmem.classifiers._linear import centre, exactly
from jaxmem.inputs import one_of
from jaxmem.similarity._rows import centred, inner, permuted_pairs, rounding, square_distances, unit
from jaxmem.similarity.base import Facts

__all__ = ["RSA"]

# Cells that ranks are counted in: 64 octaves, each halved so often.
_OCTAVES, _HALVINGS = 64, 16
# The table of their counts.
_ROW_BITS = 8
_ROWS, _COLUMNS = 2**_ROW_BITS, (_OCTAVES << (_HALVINGS - _ROW_BITS)) + 1


@dataclass(frozen=True)
class RSA:
    """Correlation of the dissimilarities between rows.

    Spearman's ranks count as tied what lies in one cell of a relative width of 2^-16, in double precision too.

    Args:
        correlation: "pearson" or "spearman".
        distance: "euclidean", or "correlation": one minus the correlation of two rows over the features, 1 for a row
            that is constant over them. So it is for all rows of a single feature: such a network is like none, not even
            itself.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.similarity import RSA
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> round(jm.pair_similarity(X, X[:, ::-1], RSA("spearman")), 3)  # The same features in another order.
        1.0
    """

    correlation: str = "pearson"
    distance: str = "euclidean"

    def __post_init__(self) -> None:
        """Check the choices."""
        one_of(self.correlation, ("pearson", "spearman"), "correlation")
        one_of(self.distance, ("euclidean", "correlation"), "distance")

    @property
    def facts(self) -> Facts:
        """Range and invariances."""
        euclidean = ("translation", "scaling", "rotation", "dead units")
        return Facts(
            takes="features",
            low=-1.0,
            high=1.0,
            larger_is_similar=True,
            # Dead units, and what a rotation mixes, move the mean over the features of a row.
            invariances=euclidean if self.distance == "euclidean" else ("scaling",),
            more_rows_than_features=False,
            source="Kriegeskorte et al. (2008)",
        )

    def prepare(self, X: Float[Array, "n d"]) -> Float[Array, "n n"]:
        """Dissimilarities or their ranks, centred off the diagonal and of unit norm."""
        if self.distance == "euclidean":
            rows = centred(X)
            values = square_distances(rows)
        else:
            rows = centre(X.T)[1].T
            lengths = jnp.sqrt((rows**2).sum(axis=1, keepdims=True))
            rows = rows / jnp.where(lengths > 0, lengths, 1)
            values = 1 - exactly(rows, rows.T)
        n, diagonal, squares = len(X), jnp.eye(len(X), dtype=bool), (rows**2).sum(axis=1)
        lowest, largest = _ends(values)
        varies = largest - lowest > rounding(2 * squares.max())
        if self.correlation == "spearman":
            values = _ranks(values, squares)
        elif self.distance == "euclidean":
            values = jnp.sqrt(values)
        lowest, largest = _ends(values)
        varies = varies & (largest > lowest)  # Ranks do not, where all lie in one cell.
        # Their mean would be rounded by more than nearly equal ones vary.
        off = jnp.where(diagonal, 0, values - lowest)
        return unit(jnp.where(diagonal | ~varies, 0, off - off.sum() / (n * (n - 1))))

    def compare(self, a: Float[Array, "n n"], b: Float[Array, "n n"]) -> Float[Array, ""]:
        """The correlation over all pairs of rows."""
        return inner(a, b)

    def permute(self, state: Float[Array, "n n"], permutation: Int[Array, " n"]) -> Float[Array, "n n"]:
        """Rows and columns in another order."""
        return permuted_pairs(state, permutation)


def _ends(values: Float[Array, "n n"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The smallest and the largest entry off the diagonal."""
    diagonal = jnp.eye(len(values), dtype=bool)
    return jnp.where(diagonal, jnp.inf, values).min(), jnp.where(diagonal, -jnp.inf, values).max()


def _ranks(values: Float[Array, "n n"], squares: Float[Array, " n"]) -> Float[Array, "n n"]:
    """Ranks of the entries off the diagonal, tied ones sharing theirs; the diagonal's are of no use."""
    # Tied is what differs by no more than rounding: that of the two rows, or of a typical one, but not of one distant
    # row. Halfway between the pairs that are surely smaller and those that are perhaps not larger is the shared rank.
    squares = jnp.maximum(squares, jnp.median(squares))
    nearby = rounding(squares[:, None] + squares[None, :])
    off, largest = ~jnp.eye(len(values), dtype=bool), values.max()
    below = _counted_below(_cells(values, largest), off)
    smaller, not_larger = (
        below[_places(cells)] for cells in (_cells(values - nearby, largest), _cells(values + nearby, largest) + 1)
    )
    return ((smaller + not_larger) / 2).astype(values.dtype)


def _counted_below(cells: Int[Array, "n n"], counted: Bool[Array, "n n"]) -> Int[Array, " places"]:
    """How many counted entries are in cells below each, in the order of `_places`."""
    counts = jnp.zeros(_ROWS * _COLUMNS, jnp.int32).at[_places(cells + 1)].add(counted.astype(jnp.int32))

    def step(sums: Int[Array, " columns"], row: Int[Array, " columns"]) -> tuple[Array, Array]:
        return sums + row, sums + row

    # Row by row, all columns at a time: several times as fast as one running sum over millions of cells.
    sums, below = jax.lax.scan(step, jnp.zeros(_COLUMNS, jnp.int32), counts.reshape(_ROWS, _COLUMNS))
    return (below + (jnp.cumsum(sums) - sums)[None, :]).ravel()


def _places(cells: Int[Array, "n n"]) -> Int[Array, "n n"]:
    """Places of cells in a table down whose columns they follow each other, unrolled."""
    return (cells & (_ROWS - 1)) * _COLUMNS + (cells >> _ROW_BITS)


def _cells(values: Float[Array, "n n"], largest: Float[Array, ""]) -> Int[Array, "n n"]:
    """The first bits of values relative to the largest: as cells of one relative width, in the order of the values."""
    # Bits of positive floats order as the floats do, so that counting sorts them, however far one is from the others.
    share = jnp.clip(values / jnp.where(largest > 0, largest, 1), 2.0**-_OCTAVES, 1).astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(share, jnp.int32)
    mantissa = jnp.finfo(jnp.float32).nmant
    first = (jnp.finfo(jnp.float32).maxexp - 1 - _OCTAVES) << mantissa  # The bits of 2^-64.
    return (bits - first) >> (mantissa - _HALVINGS)
