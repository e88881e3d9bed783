"""Linear discriminant analysis, plain or shrunk: one small linear system per label vector.

With total scatter `S_T`, class sizes `n_k`, class means `m_k` (of centred features) and between-class scatter
`S_B = Σ_k n_k m_k m_kᵀ`, the classes share the covariance

    Σ = A / n,   A = (1 - s) (S_T - S_B) + s tr(S_T - S_B) / d · I,

and a centred row `x` scores `xᵀ Σ⁻¹ m_k - ½ m_kᵀ Σ⁻¹ m_k + log π_k`, up to a constant of the row.

Only `S_B` and its trace depend on labels, and `S_B` has rank `C - 1`. In the coordinates `Q = ZV` of the eigenvectors
of `S_T = V diag(l) Vᵀ`, which are label-free, `A` is a diagonal `D = (1 - s) l + s tr(S_T - S_B) / d` less a matrix of
that rank. Let `T` be the sums of the rows of `Q` in all classes but the last (with the last they sum to zero). By
Woodbury's identity, the weights of those classes against the last are

    [Σ⁻¹ (m_k - m_C)]_k = n (H - (1 - s) T D⁻¹ Tᵀ)⁻¹ T D⁻¹,   H_kj = n_k δ_kj - n_k n_j / n,

so that a label vector costs the class sums, the product with the rows to score, and `C - 1` equations between them.
Without shrinkage the matrix on the left is the residual scatter of class indicators regressed on the features, which
is how discriminant analysis is a regression (Hastie, Tibshirani & Buja 1994).

References: Fisher (1936); Friedman (1989), Regularized discriminant analysis; Ledoit & Wolf (2004), A
well-conditioned estimator for large-dimensional covariance matrices; scikit-learn's `LinearDiscriminantAnalysis`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from jaxmem.blocks import over_row_blocks
from jaxmem.classifiers._linear import Shift, centre, exactly, right_singular, shifted
from jaxmem.classifiers.base import contrast_sums, one_hot
from jaxmem.classifiers.moments import Moments

__all__ = ["LDA"]

# Without shrinkage, directions with a smaller standard deviation than this (of standardised features) are left out;
# the same as scikit-learn's `tol`, and well above the rounding of single precision.
_SMALLEST_SPREAD = 1e-4


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    shift: Shift
    basis: Float[Array, "d r"]  # V, scaled as the features are.
    squares: Float[Array, " r"]  # l, in the order of the columns of V; 0 where a direction is left out.
    rotated: Float[Array, "n r"]  # Q; without rows where those come a block at a time.
    n_classes: int = field(metadata={"static": True})


class _Params(NamedTuple):
    weights: Float[Array, "C-1 r"]  # Against the last class; of features, where rows come a block at a time.
    intercepts: Float[Array, " C"]


@dataclass(frozen=True)
class LDA:
    """Linear discriminant analysis; predictions equal scikit-learn's refitted on the same labels.

    The twin is `LinearDiscriminantAnalysis` with `solver="lsqr"` or `"eigen"` and the same `shrinkage`, or
    `solver="svd"` without. Scores equal its decision values up to a constant per row. Two differences are deliberate:

    * `priors` only move the intercepts, as in `solver="svd"` (scikit-learn 1.9). The other two solvers also weigh the
      covariance by them, class by class; that is no update of low rank, and it lets a class of few rows but much
      prior set the covariance of all. With the default priors, the shares of the classes, all solvers agree.
    * `shrinkage="auto"` is Ledoit and Wolf's estimate from all residuals about the class means together
      (`sklearn.covariance.ledoit_wolf` of them). scikit-learn's "auto" is another estimator: it standardises and
      shrinks each class on its own and averages.

    Args:
        shrinkage: weight in [0, 1] of the multiple of the identity with the same trace; "auto": estimated per label
            vector; None or 0: no shrinkage, which takes at least as many rows as features and classes together.
        priors: probability of each class, positive, summing to one; None: their shares of the training rows.

    Raises:
        ValueError: on other hyperparameters, or, from `prepare`, where the covariance would be singular.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> copies = jm.SharedStructure(X + 0.1)
        >>> jm.permutation_test(jm.LDA(shrinkage="auto"), X, y, validation=copies, n_permutations=99).pvalue
        0.01
    """

    shrinkage: float | str | None = None
    priors: Sequence[float] | None = None
    scatter: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        shrinkage = self.shrinkage
        if isinstance(shrinkage, np.number):
            shrinkage = shrinkage.item()
            object.__setattr__(self, "shrinkage", shrinkage)
        if not (shrinkage in (None, "auto") or (isinstance(shrinkage, (int, float)) and 0 <= shrinkage <= 1)):
            raise ValueError(f'shrinkage must be None, "auto" or a number in [0, 1], but is {shrinkage!r}.')
        if self.priors is not None:
            priors = tuple(float(prior) for prior in self.priors)
            if not (all(prior > 0 for prior in priors) and math.isclose(sum(priors), 1, abs_tol=1e-5)):
                raise ValueError(f"priors must be positive and sum to one, but are {priors}.")
            # A list would not hash, and a classifier has to.
            object.__setattr__(self, "priors", priors)

    def prepare(self, X: Float[Array, "n d"], n_classes: int) -> _State:
        """Centre, find the axes of the total scatter, and rotate the training rows."""
        self._check(len(X), X.shape[1], n_classes)
        shift, centred = centre(X)
        basis = self._basis(centred, len(X))
        rotated = exactly(centred, basis)
        # More accurate than the eigenvalues themselves, whose rounding is that of the largest.
        squares = (rotated**2).sum(axis=0)
        return _State(shift, basis, squares, rotated, n_classes)

    def _check(self, n: int, d: int, n_classes: int) -> None:
        if self.priors is not None and len(self.priors) != n_classes:
            raise ValueError(
                f"priors has {len(self.priors)} entries, but there are {n_classes} classes: give one each."
            )
        if n <= n_classes:
            raise ValueError(f"LDA needs more rows than classes, but there are {n} rows and {n_classes} classes.")
        if not self.shrinkage and n - n_classes < d:
            raise ValueError(
                f"The within-class covariance is singular: {n} rows in {n_classes} classes leave {n - n_classes} "
                f'degrees of freedom for {d} features. Pass shrinkage="auto" or a number, LDA(shrinkage=0.1).'
            )

    def _basis(self, centred: Float[Array, "k d"], n: int) -> Float[Array, "d r"]:
        """Axes of `n` centred rows, or of fewer with the same scatter."""
        return _axes(centred, n) if self.shrinkage else _whitening(centred, n)

    def rows(self, state: _State, X_new: Float[Array, "m d"]) -> Float[Array, "m r"]:
        """Centre and rotate the rows."""
        return exactly(shifted(state.shift, X_new), state.basis)

    def fit(self, state: _State, labels: Integer[Array, " n"]) -> _Params:
        """Class sums of the rotated rows, and the small linear system."""
        return self._params(state, *contrast_sums(labels, state.rotated, state.n_classes), labels)

    def _params(
        self,
        state: _State,
        sums: Float[Array, "contrasts r"],
        counts: Float[Array, " C"],
        labels: Integer[Array, " n"],
    ) -> _Params:
        n, dtype = counts.sum(), counts.dtype
        # A class without rows gets weights of no meaning, but -inf for an intercept: it never wins.
        sizes = jnp.maximum(counts, 1)
        means = jnp.concatenate([sums, -sums.sum(axis=0, keepdims=True)]) / sizes[:, None]

        total = state.squares.sum()
        within = jnp.maximum(total - (sizes[:, None] * means**2).sum(), 0)
        if isinstance(self.shrinkage, str):
            shrinkage = _ledoit_wolf(state, labels, means, sizes, within)
        else:
            shrinkage = self.shrinkage or 0.0
        diagonal = (1 - shrinkage) * state.squares + shrinkage * within / len(state.basis)
        scaled = sums * jnp.where(diagonal > 0, 1 / jnp.where(diagonal > 0, diagonal, 1), 0)[None, :]

        indicators = jnp.diag(sizes[:-1]) - sizes[:-1, None] * sizes[None, :-1] / sizes.sum()
        # Where features separate the classes entirely nothing is left of the indicators; rounding must not make it
        # negative, for that would turn the weights round.
        residual = (1 + 10 * jnp.finfo(dtype).eps) * indicators - (1 - shrinkage) * exactly(scaled, sums.T)
        weights = n * exactly(jnp.linalg.inv(residual), scaled)

        priors = counts / n if self.priors is None else jnp.where(counts > 0, jnp.asarray(self.priors, dtype), 0)
        offsets = 0.5 * (weights * (means[:-1] + means[-1:])).sum(axis=1)
        return _Params(weights, jnp.log(priors) - jnp.append(offsets, 0))

    def decision(self, state: _State, params: _Params, rows: Float[Array, "m r"]) -> Float[Array, "m C"]:
        """Log of the posterior probability of each class, up to a constant per row."""
        scores = params.weights @ rows.T
        return (jnp.pad(scores, ((0, 1), (0, 0))) + params.intercepts[:, None]).T

    def probabilities(self, scores: Float[Array, "m C"]) -> Float[Array, "m C"]:
        """Class probabilities of rows with these scores."""
        return jax.nn.softmax(scores, axis=1)

    def condense(self, moments: Moments, n_classes: int) -> _State:
        """Axes of the total scatter."""
        if self.shrinkage == "auto":
            raise ValueError(
                'shrinkage="auto" needs all rows at once for every label vector, but X comes by blocks. Pass a number, '
                "LDA(shrinkage=0.1) say, or read X into memory, np.asarray(X), on every device."
            )
        self._check(moments.n, len(moments.spread), n_classes)
        basis = self._basis(moments.condensed, moments.n)
        squares = (exactly(moments.condensed, basis) ** 2).sum(axis=0)
        return _State(moments.shift, basis, squares, moments.condensed[:0], n_classes)

    def summed(self, state: _State, X: Float[Array, "k d"]) -> Float[Array, "k d"]:
        """Centre some training rows."""
        return shifted(state.shift, X)

    def solve(self, state: _State, sums: Float[Array, "contrasts d"], counts: Float[Array, " C"]) -> _Params:
        """The small linear system of rotated class sums, its solution turned back to the features."""
        # To rotate what a label vector comes to is little beside rotating all rows anew whenever they are read.
        params = self._params(state, exactly(sums, state.basis), counts, jnp.zeros(0, jnp.uint8))
        return params._replace(weights=exactly(params.weights, state.basis.T))

    def score(self, state: _State, params: _Params, X_new: Float[Array, "k d"]) -> Float[Array, "k C"]:
        """As `decision`."""
        return self.decision(state, params, shifted(state.shift, X_new))


def _axes(centred: Float[Array, "k d"], n: int) -> Float[Array, "d r"]:
    """Principal axes, scaled so that the rows have a mean squared length of one."""
    squares, right = right_singular(centred, n)
    # One scale for all features changes no prediction, and keeps Ledoit and Wolf's fourth powers within range.
    mean_square = squares.sum() / n
    return right / jnp.sqrt(jnp.where(mean_square > 0, mean_square, 1))


def _whitening(centred: Float[Array, "k d"], n: int) -> Float[Array, "d d"]:
    """Axes on which the rows have the identity for their total scatter; columns of zeros for the null directions.

    Without shrinkage the scale of the features is free, and the smallest directions count as much as the largest. A
    Gram matrix alone knows only those above the root of the rounding error. Whitened by it once, with its small
    eigenvalues raised, the rows have a second Gram matrix that knows the rest: as good as singular value decomposition
    of the rows, at a tenth of the time.
    """
    spread = jnp.sqrt((centred**2).sum(axis=0) / n)
    scale = jnp.where(spread > 0, 1 / jnp.where(spread > 0, spread, 1), 0)
    standard = centred * scale[None, :]
    squares, first = right_singular(standard, n)
    smallest = jnp.finfo(centred.dtype).eps ** 0.5 * jnp.maximum(squares[-1], 1)
    first = first / jnp.sqrt(jnp.maximum(squares, smallest))[None, :]
    squares, second = right_singular(exactly(standard, first), n)
    axes = exactly(first, second)
    real = squares > n * _SMALLEST_SPREAD**2 * (axes**2).sum(axis=0)
    return scale[:, None] * axes * jnp.where(real, 1 / jnp.sqrt(jnp.where(real, squares, 1)), 0)[None, :]


def _ledoit_wolf(
    state: _State,
    labels: Integer[Array, " n"],
    means: Float[Array, "C r"],
    sizes: Float[Array, " C"],
    within: Float[Array, ""],
) -> Float[Array, ""]:
    """Shrinkage of the residuals' covariance `S` that is best in expected squared error (Ledoit & Wolf 2004).

    With residuals `e_i` it is `b / (|S|² - tr(S)² / d)`, at most one, with `b = (mean |e_i|⁴ - |S|²) / n`. The squared
    Frobenius norm `|S|²` needs the class means only; the lengths of the residuals, one product with the class means.
    """
    n, d = labels.shape[0], len(state.basis)
    squared_means = (means**2).sum(axis=1)

    def fourth_powers(arrays: tuple[Array, Array]) -> tuple[Array, None]:
        block_labels, rotated = arrays
        # |q - m|² = |q|² - (2 q·m - |m|²), with the mean of a row's own class picked by its indicator.
        nearness = 2 * means @ rotated.T - squared_means[:, None]
        own = (one_hot(block_labels, len(sizes), rotated.dtype) * nearness).sum(axis=0)
        return (((rotated**2).sum(axis=1) - own) ** 2).sum(), None

    mean_fourth = over_row_blocks(fourth_powers, (labels, state.rotated))[0] / n
    # |S_T - S_B|² = |S_T|² - 2 tr(S_T S_B) + |S_B|², and S_T is diagonal here.
    cross = (sizes[:, None] * means**2 * state.squares[None, :]).sum()
    between = exactly(sizes[:, None] * means, means.T)
    norm = ((state.squares**2).sum() - 2 * cross + (between * between.T).sum()) / n**2
    distance = norm - (within / n) ** 2 / d
    # No distance: the covariance is the target already, and any shrinkage gives the same.
    return jnp.where(distance > 0, jnp.clip((mean_fourth - norm) / n / jnp.where(distance > 0, distance, 1), 0, 1), 1)
