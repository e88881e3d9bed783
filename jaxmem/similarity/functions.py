"""Similarity of what networks compute in the end: their predicted classes, probabilities, and mistakes.

Networks can agree on every training row and on nothing else, so the rows decide: compare them on unseen ones too. Of
two networks with any predictions at all, some agree by chance: by `Σ_c p_a(c) p_b(c)` of the shares that each gives to
the classes. Cohen's kappa takes that off, and so does a permutation test (`jm.similarity_test`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy
from jaxtyping import Array, Float, Int

from jaxmem.classifiers._linear import exactly
from jaxmem.classifiers.base import one_hot
from jaxmem.similarity.base import Facts

__all__ = ["Agreement", "ErrorOverlap", "JensenShannon", "Kappa"]


# Of f(t) in powers of t², the highest first; to the last digit in double precision where t² < 1/16, and in single
# precision with the last five powers.
_SERIES, _NEAR = np.array([1 / (2 * k * (2 * k - 1)) for k in range(12, 0, -1)] + [0.0]), 1 / 16


class _Probabilities(NamedTuple):
    p: Float[Array, "n C"]
    p_log_p: Float[Array, "n C"]


class _Predicted(NamedTuple):
    classes: Int[Array, " n"]
    counts: Float[Array, " C"]


def _common(a: Int[Array, " n"], b: Int[Array, " n"]) -> Int[Array, ""]:
    """Rows of which both predict the same class."""
    return (a == b).sum(dtype=jnp.int32)


@dataclass(frozen=True)
class Agreement:
    """Share of the rows for which two networks predict the same class.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.similarity import Agreement
        >>> jm.pair_similarity(np.array([0, 1, 2, 0]), np.array([0, 1, 2, 2]), Agreement())
        0.75
    """

    @property
    def facts(self) -> Facts:
        """Range and invariances."""
        return Facts("predictions", 0.0, 1.0, True, ("scaling", "increasing map"), False, "Fort et al. (2019)")

    def prepare(self, X: Float[Array, "n C"]) -> Int[Array, " n"]:
        """The predicted classes."""
        return X.argmax(axis=1)

    def compare(self, a: Int[Array, " n"], b: Int[Array, " n"]) -> Float[Array, ""]:
        """The share of rows with a common class."""
        return _common(a, b).astype(float) / len(a)

    def permute(self, state: Int[Array, " n"], permutation: Int[Array, " n"]) -> Int[Array, " n"]:
        """Rows in another order."""
        return state[permutation]


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa: agreement beyond chance, `(p - e) / (1 - e)` with `e = Σ_c p_a(c) p_b(c)`.

    Networks that both predict one class only, and the same, agree by chance alone: 0.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.similarity import Kappa
        >>> jm.pair_similarity(np.array([0, 1, 0, 1]), np.array([0, 1, 0, 0]), Kappa())
        0.5
    """

    @property
    def facts(self) -> Facts:
        """Range and invariances."""
        return Facts("predictions", -1.0, 1.0, True, ("scaling", "increasing map"), False, "Cohen (1960)")

    def prepare(self, X: Float[Array, "n C"]) -> _Predicted:
        """The predicted classes, and how often each is predicted."""
        classes = X.argmax(axis=1)
        return _Predicted(classes, one_hot(classes, X.shape[1], X.dtype).sum(axis=1))

    def compare(self, a: _Predicted, b: _Predicted) -> Float[Array, ""]:
        """The agreement beyond chance, as a share of what there could be."""
        by_chance = jnp.vdot(a.counts, b.counts)
        n = by_chance.dtype.type(len(a.classes))  # Its square is no integer of 32 bits.
        together = _common(a.classes, b.classes).astype(by_chance.dtype) * n
        # Where both predict one class only, and the same, both are n² to the last digit.
        possible = n * n - by_chance
        return jnp.where(possible > 0, (together - by_chance) / jnp.where(possible > 0, possible, 1), 0)

    def permute(self, state: _Predicted, permutation: Int[Array, " n"]) -> _Predicted:
        """Rows in another order."""
        return state._replace(classes=state.classes[permutation])


@dataclass(frozen=True)
class JensenShannon:
    """Mean Jensen-Shannon divergence of the predicted probabilities, in bits: 0 for equal ones, 1 for disjoint ones.

    With `m = (p + q) / 2`, `JS(p, q) = (KL(p | m) + KL(q | m)) / 2`. It is a divergence: smaller means more similar.

    By class that is `(p log p + q log q) / 2 - m log m`, one logarithm a pair; and where the two are nearly equal, so
    that it would lose its digits, `m f(t)` with `t = (p - q) / (p + q)` and `f(t) = Σ_k t^(2k) / (2k (2k - 1))`.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.similarity import JensenShannon
        >>> logits = 10 * np.eye(4)
        >>> round(jm.pair_similarity(logits, logits[::-1], JensenShannon()), 2)
        1.0
    """

    @property
    def facts(self) -> Facts:
        """Range and invariances."""
        # Of logits: a constant added to all of a row. None of the invariances of features.
        return Facts("logits", 0.0, 1.0, False, (), False, "Lin (1991)")

    def prepare(self, X: Float[Array, "n C"]) -> _Probabilities:
        """Probabilities of the classes, and what they alone add."""
        p = jax.nn.softmax(X, axis=1)
        return _Probabilities(p, xlogy(p, p))

    def compare(self, a: _Probabilities, b: _Probabilities) -> Float[Array, ""]:
        """The mean divergence over rows."""
        # Unrolled: a sum over an axis of ten is a slow one.
        (p, p_log_p), (q, q_log_q) = ((state.p.ravel(), state.p_log_p.ravel()) for state in (a, b))
        total = p + q
        there = jnp.where(total > 0, total, 1)
        squares = ((p - q) / there) ** 2
        near = squares < _NEAR
        terms = (_SERIES if total.dtype == jnp.float64 else _SERIES[-6:]).astype(total.dtype)
        series = jnp.polyval(terms, jnp.where(near, squares, 0), unroll=len(terms))
        twice = jnp.where(near, total * series, p_log_p + q_log_q - total * jnp.log(there / 2))
        # A product with ones: a sum along rows does not vectorise on CPU, nor what it is made of.
        return exactly(twice, jnp.ones_like(twice)) / (2 * len(a.p) * jnp.log(2.0).astype(twice.dtype))

    def permute(self, state: _Probabilities, permutation: Int[Array, " n"]) -> _Probabilities:
        """Rows in another order."""
        return _Probabilities(state.p[permutation], state.p_log_p[permutation])


@dataclass(frozen=True)
class ErrorOverlap:
    """Of the rows that at least one of two networks gets wrong, the share that both do (Jaccard's index); 0 of none.

    It takes whether each row is predicted wrongly, `predictions != y`, of each network.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> from jaxmem.similarity import ErrorOverlap
        >>> predictions = np.array([[1, 2, 0, 1], [1, 1, 0, 1]])  # Of two networks.
        >>> first, second = predictions != np.array([0, 1, 0, 1])
        >>> jm.pair_similarity(first, second, ErrorOverlap())
        0.5
    """

    @property
    def facts(self) -> Facts:
        """Range and invariances."""
        return Facts("errors", 0.0, 1.0, True, (), False, "Jaccard (1901)")

    def prepare(self, X: Float[Array, "n 1"]) -> Float[Array, "n 1"]:
        """One for a row that is wrong, zero for one that is right."""
        return X

    def compare(self, a: Float[Array, "n 1"], b: Float[Array, "n 1"]) -> Float[Array, ""]:
        """Rows wrong in both over rows wrong in any."""
        both = jnp.vdot(a, b)
        either = a.sum() + b.sum() - both
        return jnp.where(either > 0, both / jnp.where(either > 0, either, 1), 0)

    def permute(self, state: Float[Array, "n 1"], permutation: Int[Array, " n"]) -> Float[Array, "n 1"]:
        """Rows in another order."""
        return state[permutation]
