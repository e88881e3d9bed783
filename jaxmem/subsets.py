"""Memorization of single examples, from networks that were each trained on a random subset of the rows.

With T networks, a_it = 1 if row i is among the rows of network t, and r_it = 1 if network t is right about row i,

    memorization of i      = mean of r_it where a_it = 1  -  mean of r_it where a_it = 0,
    influence of i on j    = mean of r_jt where a_it = 1  -  mean of r_jt where a_it = 0,
    consistency of i       = mean of r_it where a_it = 0.

A row is memorized if networks are right about it only when they have seen it. Each is a difference of two means over
independent networks, hence the standard errors (s² / k of either half, s² with k - 1).

References: Feldman & Zhang (2020), What neural networks memorize and why; Jiang et al. (2021), Characterizing
structural regularities of labeled data, who average consistency over several sizes of the subsets too.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxmem.inputs import as_key, as_number, float_type

__all__ = [
    "SubsetScores",
    "check_subsets",
    "consistency_scores",
    "influence_scores",
    "mean_square_influence",
    "memorization_scores",
    "random_subsets",
]


class SubsetScores(NamedTuple):
    """Estimates and their standard errors, of the same shape.

    Attributes:
        value: the estimates.
        standard_error: over networks, which are independent.
    """

    value: Float[np.ndarray, "..."]
    standard_error: Float[np.ndarray, "..."]


def random_subsets(key: Any, n: int, n_members: int, share: float = 0.7) -> Bool[np.ndarray, "members n"]:
    """Which rows each network is trained on: subsets of one size, independent and uniformly random.

    Args:
        key: a seed, or a JAX key; subset t depends on it and t alone.
        n: number of rows.
        n_members: number of networks.
        share: of the rows in every subset, between 0 and 1; so many exactly, rounded to the nearest.

    Returns:
        (members, n), `share * n` True in every row.

    Raises:
        ValueError: numbers below one, or a share that leaves no row in, or none out.

    Example:
        >>> import jaxmem as jm
        >>> jm.random_subsets(0, n=10, n_members=4, share=0.7).sum(axis=1)
        array([7, 7, 7, 7])
    """
    n, n_members, key = as_number(n, "n"), as_number(n_members, "n_members"), as_key(key)
    size = round(share * n) if 0 < share < 1 else 0
    if not 0 < size < n:
        raise ValueError(f"share is {share!r} of {n} rows; expected one that leaves at least one row in and one out.")

    def one(member):
        return jax.random.permutation(jax.random.fold_in(key, member), n) < size

    return np.asarray(jax.vmap(one)(jnp.arange(n_members)))


def memorization_scores(included: Any, correct: Any) -> SubsetScores:
    """How much likelier a network is right about a row for having been trained on it (Feldman & Zhang, 2020).

    Args:
        included: which rows each network was trained on, (members, n), of booleans.
        correct: whether it predicts each row's label, (members, n), of booleans; or any other number for each, such as
            the probability of the label.

    Returns:
        (n,), from -1 to 1 for booleans: near 0 where other rows suffice, near 1 where nothing but the row itself does.

    Raises:
        ValueError: tables that do not fit each other, or a row in or out of fewer than two subsets.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> included = np.array([[1, 1], [1, 0], [0, 1], [0, 0]] * 2, dtype=bool)
        >>> correct = included | [False, True]  # The first row is known where it was seen, the second always.
        >>> jm.memorization_scores(included, correct).value
        array([1., 0.])
    """
    included, correct = _tables(included, correct, same_rows=True)
    (seen, seen_error), (unseen, unseen_error) = _halves(included, correct)
    return SubsetScores(seen - unseen, np.sqrt(seen_error + unseen_error))


def influence_scores(included: Any, correct: Any) -> SubsetScores:
    """How much likelier a network is right about another row for having been trained on this one.

    A few dozen networks find large influences of memorized rows only; compare with the standard errors.

    Args:
        included: which training rows each network was trained on, (members, n), of booleans.
        correct: whether it predicts the label of each other row, (members, m); as in `memorization_scores`.

    Returns:
        (n, m): training row i on row j.

    Raises:
        ValueError: as `memorization_scores` does.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> included = np.array([[1, 1], [1, 0], [0, 1], [0, 0]] * 2, dtype=bool)
        >>> jm.influence_scores(included, included[:, :1]).value  # Another row is known where the first was seen.
        array([[1.],
               [0.]])
    """
    included, correct = _centred(included, correct)
    halves = []
    for there in (included.astype(float), 1.0 - included):
        count = there.sum(axis=0)[:, None]
        mean = there.T @ correct / count
        variance = np.maximum(there.T @ correct**2 / count - mean**2, 0) * count / (count - 1)
        halves.append((mean, variance / count))
    (seen, seen_error), (unseen, unseen_error) = halves
    return SubsetScores(seen - unseen, np.sqrt(seen_error + unseen_error))


def mean_square_influence(included: Any, correct: Any) -> Float[np.ndarray, " n"]:
    """How much a training row influences other rows: mean square of `influence_scores` over them, noise taken off.

    The squared standard errors are what noise adds to the squares on average. Single influences drown in it unless
    there are thousands of networks; their mean square does not. With the networks' table r of all other rows, a sum of
    squares over them is (w r) (w r)ᵀ = w (r rᵀ) wᵀ, so no table of all pairs of rows is made. This estimate is ours.

    Arguments and errors as in `influence_scores`.

    Returns:
        (n,): unbiased, hence around 0, and on either side of it, for rows without influence.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> included = np.array([[1, 1], [1, 0], [0, 1], [0, 0]] * 2, dtype=bool)
        >>> jm.mean_square_influence(included, included[:, :1]).round(2)  # Another row, known where the first was seen.
        array([ 1.  , -0.17])
    """
    included, correct = _centred(included, correct)
    gram, squares = correct @ correct.T, (correct**2).sum(axis=1)
    difference, noise = np.zeros(included.T.shape), np.zeros(included.shape[1])
    for sign, there in ((1, included), (-1, ~included)):
        count = there.sum(axis=0)
        means = there.T / count[:, None]
        difference += sign * means
        noise += (means @ squares - ((means @ gram) * means).sum(axis=1)) / (count - 1)
    return (((difference @ gram) * difference).sum(axis=1) - noise) / correct.shape[1]


def consistency_scores(included: Any, correct: Any) -> SubsetScores:
    """How often networks that were not trained on a row are right about it, at this size of subsets (Jiang et al.).

    Arguments and errors as in `memorization_scores`.

    Returns:
        (n,), from 0 to 1 for booleans: near 1 where a row is as the others lead one to expect.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> included = np.array([[1, 1], [1, 0], [0, 1], [0, 0]] * 2, dtype=bool)
        >>> jm.consistency_scores(included, included | [False, True]).value
        array([0., 1.])
    """
    included, correct = _tables(included, correct, same_rows=True)
    _, (unseen, unseen_error) = _halves(included, correct)
    return SubsetScores(unseen, np.sqrt(unseen_error))


def check_subsets(included: Bool[np.ndarray, "members n"]) -> None:
    """Raise a ValueError unless every row is in two subsets and out of two; before any network is trained, say."""
    times = included.sum(axis=0)
    fewest = np.minimum(times, len(included) - times)
    if fewest.min() < 2:
        row = int(fewest.argmin())
        raise ValueError(
            f"row {row} is in {times[row]} of {len(included)} subsets; a standard error takes two in and two out. "
            "Train more networks, or take a share of the rows nearer to one half."
        )


def _tables(
    included: Any, correct: Any, same_rows: bool = False
) -> tuple[Bool[np.ndarray, "members n"], Float[np.ndarray, "members m"]]:
    included, correct = np.asarray(included), np.asarray(correct)
    if included.ndim != 2 or included.dtype != bool or correct.ndim != 2 or len(correct) != len(included):
        raise ValueError(
            f"included is {included.dtype} of shape {included.shape} and correct has shape {correct.shape}; expected "
            "booleans (members, n), such as random_subsets gives, and one row for each member."
        )
    if 0 in included.shape or 0 in correct.shape:
        raise ValueError(
            f"included has shape {included.shape} and correct {correct.shape}; expected one or more networks and rows."
        )
    float_type(correct.dtype, "correct")
    if same_rows and correct.shape != included.shape:
        raise ValueError(f"included has shape {included.shape} and correct {correct.shape}; expected the same.")
    correct = correct.astype(float)
    if not np.isfinite(correct).all():
        raise ValueError("correct holds NaN or infinite values; expected whether each network is right about each row.")
    check_subsets(included)
    return included, correct


def _centred(included: Any, correct: Any) -> tuple[Bool[np.ndarray, "members n"], Float[np.ndarray, "members m"]]:
    """Both tables, less what all networks have in common: no difference between networks changes, or loses digits."""
    included, correct = _tables(included, correct)
    return included, correct - correct.mean(axis=0, keepdims=True)


def _halves(included, correct) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean over the networks that have seen each row and its squared standard error, then over those that have not."""
    found = []
    for there in (included, ~included):
        count = there.sum(axis=0)
        mean = np.where(there, correct, 0).sum(axis=0) / count
        squares = np.where(there, (correct - mean[None, :]) ** 2, 0).sum(axis=0)
        found.append((mean, squares / (count - 1) / count))
    return found
