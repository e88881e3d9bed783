"""Are the networks of one group more alike than those of another? Networks change places between the groups.

The statistic is the mean similarity over the pairs within the first group minus that within the second. Under the
hypothesis that all networks come from one and the same way of training, which of them are called first and which second
does not matter, and the p-value from exchanging them is exact. Pairs are not exchanged: each network is in many.

Groups that are alike in the mean similarity within, but differ in what their networks are, do not meet that hypothesis,
and the test then has no level: read a rejection as "not the same way of training", and the intervals of the result, by
the jackknife over networks, for how much more alike. Simulated, of k networks against k, rejections at level 0.05 were:

* around centres of their own, all equally far from them: 0.08 for k = 4, 0.09 for 5, and 0.19 for 8;
* one group mixed, of networks that are nearly the same and others that are like none, with the other's mean: for k = 4
  and 8, 0.33 and 0.23 where the mixed group is the first, 0.23 and 0.20 where it is the second.

Dividing by the jackknife's standard error under every labelling, as Janssen (1997) and Chung & Romano (2013) do for
means of independent values, did not mend this at such sizes: 0.18 and 0.25 for the centres, 0.32 and 0.16, 0.16 and
0.09 for the mixtures. So the plain difference it is. Four networks against four have 70 labellings, and so no p-value
below 1/70; three against three none below 1/20.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from jaxmem.inference import ALTERNATIVES, check_reachable, family_pvalues, pvalue
from jaxmem.inputs import as_key, as_number, one_of
from jaxmem.permutations import PermutationPlan, plan
from jaxmem.results import GroupSimilarityTest, SimilarityTests, key_fields

__all__ = ["group_similarity_test", "group_similarity_tests"]

_ROUNDING = 1e-12  # Sums in double precision, whatever the similarities were computed in.
_ASYMMETRY = 1e-5  # Of the largest similarity: more than single precision rounds, both directions computed.


def group_similarity_test(
    similarities: Any,
    groups: Any,
    first: str | int,
    second: str | int,
    *,
    alternative: str = "greater",
    n_permutations: int = 9_999,
    key: Any = 0,
) -> GroupSimilarityTest:
    """Test whether the networks of one group are more alike than those of another.

    Args:
        similarities: of all networks, shape (N, N), symmetric, as `jm.similarities` returns them.
        groups: the group of every network, strings or integers, shape (N,). Other groups are left out.
        first, second: the groups to compare, each of two networks or more.
        alternative: "greater": the first is more alike; "less" for divergences, which are smaller for what is alike;
            or "two-sided".
        n_permutations: B; all distinct labellings once, where there are no more than that.
        key: a seed or a JAX key, for random labellings.

    Returns:
        The difference, its p-value, and the means within both groups with intervals over networks.

    Raises:
        ValueError: similarities that are no finite symmetric matrix; groups that are unknown or too small.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> alike = np.full((10, 10), 0.2)
        >>> alike[:5, :5] = 0.8
        >>> test = jm.group_similarity_test(alike, ["true"] * 5 + ["random"] * 5, "true", "random")
        >>> test.exact, test.pvalue == 1 / 252  # Of 252 ways to form the first group, none is as extreme.
        (True, True)
    """
    one_of(alternative, ALTERNATIVES, "alternative")
    chosen, in_first, planned, key = _planned(groups, first, second, n_permutations, key)
    matrix = _checked(similarities, "similarities", len(np.asarray(groups)))[np.ix_(chosen, chosen)]
    scores = _scores(matrix, _labellings(planned, in_first))
    return GroupSimilarityTest(
        first=str(first),
        second=str(second),
        similarities=matrix,
        in_first=in_first,
        statistic=float(scores[0]),
        pvalue=pvalue(float(scores[0]), scores[1:], alternative, rounding=_ROUNDING),
        null_distribution=scores[1:],
        alternative=alternative,
        **key_fields(key),
        n_permutations=int(n_permutations),
        exact=planned.exact,
    )


def group_similarity_tests(
    similarities: Mapping[str, Any],
    groups: Any,
    first: str | int,
    second: str | int,
    *,
    correction: str = "maxT",
    alpha: float = 0.05,
    alternative: str = "greater",
    n_permutations: int = 9_999,
    key: Any = 0,
) -> SimilarityTests:
    """`group_similarity_test` of several matrices of the same networks, layers and epochs say, adjusted.

    Args:
        similarities: matrices by name; the networks are the same, in the same order, in all of them.
        groups, first, second, alternative, n_permutations, key: as for `group_similarity_test`.
        correction: as in `jm.permutation_tests`; maxT is studentised.
        alpha: the level that `rejected` is about. A family in which nothing could be rejected at it is refused.

    Raises:
        ValueError: as `group_similarity_test` does; too few labellings for the correction.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> alike = np.full((10, 10), 0.2)
        >>> alike[:5, :5] = 0.8
        >>> layers = {"layer1": alike, "layer2": 0.5 * alike}
        >>> jm.group_similarity_tests(layers, ["true"] * 5 + ["random"] * 5, "true", "random").rejected
        array([ True,  True])
    """
    one_of(alternative, ALTERNATIVES, "alternative")
    if not isinstance(similarities, Mapping) or not similarities:
        raise ValueError(f"similarities must map one or more names to matrices, but is {str(similarities)[:40]}.")
    chosen, in_first, planned, _ = _planned(groups, first, second, n_permutations, key)
    check_reachable(correction, len(similarities), planned.n_permutations, alternative, alpha)
    labellings, n = _labellings(planned, in_first), len(np.asarray(groups))
    matrices = [_checked(matrix, f"similarities[{name!r}]", n) for name, matrix in similarities.items()]
    scores = np.stack([_scores(matrix[np.ix_(chosen, chosen)], labellings) for matrix in matrices])
    separate, adjusted = family_pvalues(scores, alternative, correction, rounding=_ROUNDING)
    return SimilarityTests(
        names=np.array(list(similarities), str),
        statistic=scores[:, 0],
        pvalue=separate,
        pvalue_adjusted=adjusted,
        null_distribution=scores[:, 1:].T,
        what=f"within {first} minus within {second}",
        correction=correction,
        alternative=alternative,
        alpha=float(alpha),
        exact=planned.exact,
    )


def _planned(
    groups: Any, first: str | int, second: str | int, n_permutations: int, key: Any
) -> tuple[np.ndarray, np.ndarray, PermutationPlan, Any]:
    """Which networks take part, which of them are in the first group, and the labellings to go through."""
    groups, key = np.asarray(groups), as_key(key)
    if groups.ndim != 1:
        raise ValueError(f"groups must hold one group per network, shape (N,), but has shape {groups.shape}.")
    if first == second:
        raise ValueError(f"first and second are the same group, {first!r}: name two.")
    for group in (first, second):
        size, names = int((groups == group).sum()), np.unique(groups).tolist()
        if size == 0 and str(group) in map(str, names):
            given, held = type(group).__name__, type(names[0]).__name__
            raise ValueError(
                f"group {group!r} is of type {given}, but groups holds {held}: name it as it is there, "
                f"{held}({group!r})."
            )
        if size < 2:
            there = ", ".join(map(repr, names))
            raise ValueError(
                f"group {group!r} has {size} networks; a similarity within it takes two or more. Groups are {there}."
            )
    chosen = np.flatnonzero((groups == first) | (groups == second))
    in_first = groups[chosen] == first
    n_permutations = as_number(n_permutations, "n_permutations")
    return chosen, in_first, plan(key, in_first.astype(np.int32), n_permutations=n_permutations), key


def _checked(similarities: Any, name: str, n: int) -> Float[np.ndarray, "N N"]:
    matrix = np.array(similarities, float)
    if matrix.shape != (n, n):
        raise ValueError(f"{name} has shape {matrix.shape}, but groups names {n} networks: expected ({n}, {n}).")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} holds NaN or infinite values; jm.similarities makes none.")
    if np.abs(matrix - matrix.T).max() > _ASYMMETRY * np.abs(matrix).max():
        raise ValueError(f"{name} must be symmetric: take the mean with its transpose if both directions count.")
    return matrix


def _labellings(planned: PermutationPlan, in_first: np.ndarray) -> Float[np.ndarray, "labellings N"]:
    """Indicators of the first group under the permutations 0 .. B."""
    codes = jnp.asarray(in_first, jnp.int32)
    return np.asarray(_labels(planned.stream, codes, jnp.arange(planned.n_permutations + 1)), float)


@jax.jit
def _labels(stream: Any, codes: Integer[Array, " N"], indices: Integer[Array, " B"]) -> Integer[Array, "B N"]:
    return jax.vmap(lambda index: stream.labels(codes, index))(indices)


def _scores(
    matrix: Float[np.ndarray, "N N"], labellings: Float[np.ndarray, "labellings N"]
) -> Float[np.ndarray, " labellings"]:
    """Mean within the first group minus mean within the second, under every labelling."""
    off = matrix - np.diag(np.diag(matrix))

    def within(members: Float[np.ndarray, "labellings N"]) -> Float[np.ndarray, " labellings"]:
        sizes = members.sum(axis=1)
        return ((members @ off) * members).sum(axis=1) / (sizes * (sizes - 1))

    return within(labellings) - within(1 - labellings)
