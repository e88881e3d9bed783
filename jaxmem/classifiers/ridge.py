"""Ridge classification: least squares on class indicators with an L2 penalty, in closed form.

With centred features `Z` (n, d) and class indicators `Y` (n, C), the coefficients are `W = (ZᵀZ + αI)⁻¹ ZᵀY`, and a
row `x` scores `n_c / n + (x - mean)ᵀ W`. Only `Y` depends on labels. In any coordinates `Q = ZT` the same reads

    scores = R QᵀY + n_c / n,   R = (X' - mean) T (QᵀQ + α TᵀT)⁻¹,

so that a label vector costs the class sums `QᵀY` and the product with `R`: two matrix products and nothing else.

`T` decides about rounding. A Gram matrix in single precision knows its small directions only down to the root of the
rounding error, and less where features differ in scale. So `T` comes from a first factorisation, of the Gram matrix
with unit diagonal, and makes `QᵀQ + α TᵀT` nearly the identity; the Gram matrix of `Q` then knows what the first one
could not. On raw pixels of digits and `α = 1` the scores' error falls from 8e-3 to 1e-5. Of several penalties, the
smallest chooses `T`, turned so that `TᵀT` is diagonal: `QᵀQ + α TᵀT` is then nearly diagonal for all of them.

The indicators sum to one over the classes and the columns of `Q` to zero over the rows, so the scores of a row sum to
one: `C - 1` columns carry the fit, and the last class is the rest. Two classes are one column, as in scikit-learn.

Indicators in {0, 1} instead of scikit-learn's {-1, 1} halve the scores and shift all of a row's by the same amount,
which changes no prediction. References: Hoerl & Kennard (1970); scikit-learn's `RidgeClassifier`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer

from jaxmem.blocks import over_row_blocks
from jaxmem.classifiers._linear import Shift, centre, exactly, gram_matrix, located, shifted
from jaxmem.classifiers.base import contrast_sums
from jaxmem.classifiers.moments import Moments
from jaxmem.inputs import as_positive

__all__ = ["Ridge"]

# The share of the penalty up to which rounding may go in a Gram matrix that rows are taken out of.
_ROUNDED_OFF = 1e-6


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Placed:
    coordinates: Float[Array, "n r"]  # Q.
    n_classes: int = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State(_Placed):
    shift: Shift
    basis: Float[Array, "d *alphas r"]  # T (QᵀQ + α TᵀT)⁻¹.


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Condensed:
    shift: Shift
    whitening: Float[Array, "d r"]  # T.
    basis: Float[Array, "d *alphas r"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Whole:
    centred: Float[Array, "n r"]
    gram: Float[Array, "r r"]
    n_classes: int = field(metadata={"static": True})


class _Params(NamedTuple):
    sums: Float[Array, "*alphas contrasts r"]  # Or coefficients of features, where rows come a block at a time.
    prior: Float[Array, " contrasts"]


@dataclass(frozen=True)
class Ridge:
    """Ridge classifier; predictions equal scikit-learn's `RidgeClassifier(alpha)` refitted on the same labels.

    Args:
        alpha: penalty on the squared coefficients, > 0, in the squared units of the features (after standardisation, if
            any). A tuple of them tests every one on the same class sums; the rows to score are held once for each.
        standardize: divide every feature by its standard deviation over the training rows. Features that do
            not vary there are dropped in any case: they carry nothing, and a perturbed copy must not blow them up.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> copies = jm.SharedStructure(X + 0.1)
        >>> jm.permutation_test(jm.Ridge(alpha=10.0), X, y, validation=copies, n_permutations=99).pvalue
        0.01
    """

    alpha: float | tuple[float, ...] = 1.0
    standardize: bool = False
    gives: ClassVar[str] = "indicators"
    scatter: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        given: Any = self.alpha
        if not isinstance(given, tuple) and np.ndim(given) > 0:
            alphas = np.ravel(given).tolist()
            raise ValueError(f"alpha must be a number or a tuple, for it to be hashable: tuple({alphas!r}).")
        expected, remedy = "a finite number > 0, or a tuple of those", " For next to no penalty pass a small one."
        alphas = (given or (None,)) if isinstance(given, tuple) else (given,)
        taken = tuple(as_positive(alpha, "alpha", expected, remedy) for alpha in alphas)
        object.__setattr__(self, "alpha", taken if isinstance(given, tuple) else taken[0])

    def prepare(self, X: Float[Array, "n d"], n_classes: int) -> _State:
        """Centre, factorise twice, and place the training rows."""
        alpha, shift = self._alphas(X.dtype), located(X)
        # Rows are centred where they are needed, a block at a time: to hold them would cost more than to do it thrice.
        scale = self._scale(shift.varies, _spread(shift, X))

        def scaled(rows: Float[Array, "k d"]) -> Float[Array, "k d"]:
            return shifted(shift, rows) * scale[None, :]

        if 1 < X.shape[0] <= X.shape[1]:
            within, Z = _within(scaled(X))
            _, coordinates, basis = _factorised(Z, alpha)
            basis = jnp.tensordot(within, basis, 1, precision="highest")
        else:
            _, coordinates, basis = _factorised(X, alpha, scaled)
        return _State(coordinates, n_classes, shift, jax.vmap(jnp.multiply)(scale, basis))

    def _alphas(self, dtype: Any) -> np.ndarray:
        with np.errstate(over="ignore"):
            alpha = np.asarray(self.alpha, dtype)
        if not (np.isfinite(alpha) & (alpha > 0)).all():
            raise ValueError(f"alpha is {self.alpha!r}, which is zero or infinite in {dtype}, as the features are.")
        if alpha.max() / alpha.min() > 1 / np.finfo(alpha.dtype).eps:
            raise ValueError(
                f"alpha spans {alpha.max() / alpha.min():.0e}, more than one factorisation in {dtype} can serve: "
                "test the path in two parts."
            )
        return alpha

    def _scale(self, varies: Bool[Array, " d"], spread: Float[Array, " d"]) -> Float[Array, " d"]:
        return jnp.where(varies, 1 / jnp.where(varies & self.standardize, spread, 1), 0)

    def rows(self, state: _State, X_new: Float[Array, "m d"]) -> Float[Array, "m *alphas r"]:
        """Centre the rows and place them where class sums score them, for every alpha."""

        def place(rows: Float[Array, "k d"]) -> tuple[None, Float[Array, "k *alphas r"]]:
            return None, jnp.tensordot(shifted(state.shift, rows), state.basis, 1, precision="highest")

        return over_row_blocks(place, X_new)[1]

    def fit(self, state: _Placed, labels: Integer[Array, " n"]) -> _Params:
        """Class sums of the training rows: the whole fit."""
        sums, counts = contrast_sums(labels, state.coordinates, state.n_classes)
        return _Params(sums, counts[:-1] / labels.shape[0])

    def foldable(self, X: Float[Array, "n d"], n_classes: int, largest: int) -> _Whole | None:
        """The Gram matrix of all rows, from which a fold's is taken off: in double precision, for one penalty.

        In single precision, the difference could have lost what the fold alone had; so it could in double precision
        where a few rows are so far from the others that what these have is rounded off beside them, and the penalty.
        """
        n, d = X.shape
        wide = X.dtype == jnp.float64
        if not wide or isinstance(self.alpha, tuple) or n < 2 or (self.standardize and n <= d):
            return None
        Z = centre(X)[1]
        if n <= d:
            Z = _within(Z)[1]
        gram = exactly(Z.T, Z)
        squares = jnp.diag(gram)
        if self.standardize:
            squares = n * squares / _least_left(Z, n - largest)
        if jnp.finfo(gram.dtype).eps * squares.sum() > _ROUNDED_OFF * self.alpha:
            return None
        return _Whole(Z, gram, n_classes)

    def fold(
        self, whole: _Whole, inside: Int[Array, " m"], outside: Int[Array, " k"]
    ) -> tuple[_Placed, Float[Array, "m r"]]:
        """Take a fold's rows out of the Gram matrix, and solve for them."""
        inner, outer = whole.centred[inside], whole.centred[outside]
        mean, n = outer.mean(axis=0), outer.shape[0]
        inner, outer = inner - mean[None, :], outer - mean[None, :]
        # About the mean of the rows outside, the rows have as much more as their number times its square.
        n_all = n + inner.shape[0]
        gram = whole.gram + n_all * mean[:, None] * mean[None, :] - exactly(inner.T, inner)
        if self.standardize:
            varies = jnp.abs(outer).max(axis=0) > 1e-12 * jnp.abs(whole.centred).max(axis=0)
            scale = jnp.where(varies, 1 / jnp.sqrt(jnp.where(varies, jnp.diag(gram) / n, 1)), 0)
            inner, outer, gram = inner * scale[None, :], outer * scale[None, :], scale[:, None] * gram * scale[None, :]
        penalised = gram + np.asarray(self.alpha, gram.dtype) * jnp.eye(len(gram), dtype=gram.dtype)
        rows = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(penalised), inner.T).T
        return _Placed(outer, whole.n_classes), rows

    def decision(
        self, state: _Placed, params: _Params, rows: Float[Array, "m *alphas r"]
    ) -> Float[Array, "*alphas m C"]:
        """Least-squares estimates of the class indicators; every row sums to one."""
        return _scores(params, rows)

    def condense(self, moments: Moments, n_classes: int) -> _Condensed:
        """Factorise few rows that stand for all."""
        scale = self._scale(moments.shift.varies, moments.spread)
        whitening, _, basis = _factorised(moments.condensed * scale[None, :], self._alphas(scale.dtype))
        return _Condensed(moments.shift, scale[:, None] * whitening, jax.vmap(jnp.multiply)(scale, basis))

    def summed(self, state: _Condensed, X: Float[Array, "k d"]) -> Float[Array, "k d"]:
        """Centre some training rows."""
        return shifted(state.shift, X)

    def solve(self, state: _Condensed, sums: Float[Array, "contrasts d"], counts: Float[Array, " C"]) -> _Params:
        """Coefficients of the features, for every alpha."""
        # To place what a label vector comes to is little beside placing all rows anew whenever they are read.
        placed = exactly(sums, state.whitening)
        weights = jnp.einsum("cr,d...r->...cd", placed, state.basis, precision="highest")
        return _Params(weights, counts[:-1] / counts.sum())

    def score(self, state: _Condensed, params: _Params, X_new: Float[Array, "k d"]) -> Float[Array, "*alphas k C"]:
        """As `decision`."""
        return _scores(params, shifted(state.shift, X_new))


def _scores(params: _Params, rows: Float[Array, "m ..."]) -> Float[Array, "... m C"]:
    # The alphas are an axis of the rows or, where those come a block at a time, of the coefficients.
    scores = jnp.einsum("...cr,m...r->...cm", params.sums, rows)
    scores = scores + jnp.broadcast_to(params.prior[:, None], scores.shape)
    # The last class is the rest to one. Class by class XLA makes one loop of it and of what follows; a sum over classes
    # it sets apart, and reads and writes all scores twice more.
    whole = jnp.ones_like(scores[..., 0, :])
    rest, _ = jax.lax.scan(lambda left, one: (left - one, None), whole, jnp.moveaxis(scores, -2, 0), unroll=16)
    scores = jnp.concatenate([scores, rest[..., None, :]], axis=-2)
    return jnp.swapaxes(scores, -1, -2)


def _spread(shift: Shift, X: Float[Array, "n d"]) -> Float[Array, " d"]:
    def squares(rows: Float[Array, "k d"]) -> tuple[Float[Array, " d"], None]:
        return (shifted(shift, rows) ** 2).sum(axis=0), None

    return jnp.sqrt(over_row_blocks(squares, X)[0] / len(X))


def _factorised(
    rows: Float[Array, "k d"], alpha: np.ndarray, scaled: Callable[[Array], Array] = lambda rows: rows
) -> tuple[Float[Array, "d r"], Float[Array, "k r"], Float[Array, "d *alphas r"]]:
    """`T`, `ZT` and, for every alpha, `T (QᵀQ + α TᵀT)⁻¹`, from all rows or from fewer with the same Gram matrix."""

    def squares(block: Float[Array, "k d"]) -> tuple[Float[Array, "d d"], None]:
        return gram_matrix(scaled(block)), None

    def placed(block: Float[Array, "k d"]) -> tuple[Float[Array, "r r"], Float[Array, "k r"]]:
        Q = exactly(scaled(block), whitening)
        return gram_matrix(Q), Q

    whitening = _whitening(over_row_blocks(squares, rows)[0], float(alpha.min()))
    if alpha.size > 1:
        whitening = exactly(whitening, jnp.linalg.eigh(exactly(whitening.T, whitening))[1])
    again, coordinates = over_row_blocks(placed, rows)
    penalty = exactly(whitening.T, whitening)
    inverses = [_inverse(again + a * penalty, at_least=a * jnp.diag(penalty)) for a in alpha.reshape(-1)]
    basis = exactly(whitening, jnp.stack(inverses).reshape(*alpha.shape, *again.shape))
    return whitening, coordinates, jnp.moveaxis(basis, -2, 0)


def _least_left(Z: Float[Array, "n r"], k: int) -> Float[Array, " r"]:
    """The least sum of squares about their mean that any `k` rows have in a feature, of those that differ at all."""
    # The `k` values that are closest together are neighbours in their order.
    Z = jnp.sort(Z, axis=0)
    sums, squares = (jnp.pad(jnp.cumsum(part, axis=0), ((1, 0), (0, 0))) for part in (Z, Z**2))
    left = squares[k:] - squares[:-k] - (sums[k:] - sums[:-k]) ** 2 / k
    left = jnp.where(Z[k - 1 :] > Z[: len(Z) - k + 1], left, jnp.inf).min(axis=0)
    return jnp.maximum(left, jnp.finfo(Z.dtype).tiny)


def _within(Z: Float[Array, "n d"]) -> tuple[Float[Array, "d r"], Float[Array, "n r"]]:
    """An orthonormal basis of few centred rows, found without squaring anything, and the rows in it.

    They sum to zero: the last one is minus the sum of the others, and a basis of it would be one of rounding errors.
    """
    basis, triangle = jnp.linalg.qr(Z[:-1].T)
    return basis, jnp.concatenate([triangle.T, -triangle.sum(axis=1)[None, :]])


def _whitening(gram: Float[Array, "r r"], alpha: float) -> Float[Array, "r r"]:
    """A basis `T` in which the Gram matrix and `αI` are the identity together, as nearly as it tells."""
    squares, axes, scale = _balanced(gram + alpha * jnp.eye(len(gram), dtype=gram.dtype))
    # Features of low rank make the rounded matrix indefinite; the penalty alone is a lower bound.
    squares = jnp.maximum(squares, (alpha * scale**2).min())
    return scale[:, None] * axes / jnp.sqrt(squares)[None, :]


def _inverse(matrix: Float[Array, "r r"], at_least: Float[Array, " r"]) -> Float[Array, "r r"]:
    """Inverse of a matrix that is nearly diagonal and, but for rounding, no smaller than a given diagonal one."""
    squares, axes, scale = _balanced(matrix)
    squares = jnp.maximum(squares, (at_least * scale**2).min())
    halves = scale[:, None] * axes
    return exactly(halves / squares[None, :], halves.T)


def _balanced(matrix: Float[Array, "r r"]) -> tuple[Float[Array, " r"], Float[Array, "r r"], Float[Array, " r"]]:
    """Eigenvalues and eigenvectors of a matrix scaled to a unit diagonal, and the scale.

    What is left to round then is what the rows and columns have in common, and not their scales.
    """
    diagonal = jnp.diag(matrix)
    scale = 1 / jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    return *jnp.linalg.eigh(scale[:, None] * matrix * scale[None, :]), scale
