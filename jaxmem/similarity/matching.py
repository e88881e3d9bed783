"""Are two networks more alike than chance has it? The rows of one of them are matched with other rows at random.

Two networks of nothing but noise have some similarity: few rows, many features, or a common skew of predicted classes
are enough, and how much depends on the measure. Under the hypothesis that the one network's rows have nothing to do
with the other's, the right matching of rows is one among equals, and the share of matchings that make the networks as
alike is an exact p-value. The null's mean is the similarity that chance gives; taken off, it leaves what
measures of different bias can be compared by.

Rows must be exchangeable under the hypothesis, as independent examples are. Any two networks that see the same inputs
have something in common, and for enough rows they are found to, trained or not: read the excess over the null's mean,
not the p-value, for how much.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from jaxmem.inference import check_reachable, family_pvalues, pvalue
from jaxmem.inputs import as_key, as_number
from jaxmem.permutations import Stream, plan
from jaxmem.results import SimilarityTest, SimilarityTests, key_fields
from jaxmem.similarity.base import Measure
from jaxmem.similarity.measures import as_networks, measure_by_name
from jaxmem.similarity.pairs import compared, prepared

__all__ = ["similarity_test", "similarity_tests"]

_ROUNDING = 100 * float(np.finfo(np.float32).eps)


def similarity_test(
    X: Any, Y: Any, measure: str | Measure = "cka", *, n_permutations: int = 999, key: Any = 0
) -> SimilarityTest:
    """Test whether two networks are more alike than with their rows matched at random.

    Args:
        X: what the first network makes of some rows; as for `pair_similarity`.
        Y: what the second network makes of the same rows.
        measure: a name of `jaxmem.similarity.MEASURES`, or a measure.
        n_permutations: B; all orders of the rows once, where there are no more than that.
        key: a seed or a JAX key; permutation b depends on it and on b alone.

    Returns:
        The similarity, its null, its p-value (one-sided: more alike), and the similarity without the null's mean.

    Raises:
        ValueError: as `pair_similarity` does, or a number of permutations below one.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> X, Z = np.random.default_rng(0).normal(size=(2, 40, 3))
        >>> jm.similarity_test(X, X + Z, "cka", n_permutations=99).pvalue
        0.01
    """
    measure, key = measure_by_name(measure), as_key(key)
    n_permutations = as_number(n_permutations, "n_permutations")
    arrays = as_networks(measure, (X, Y), ("X", "Y"))
    n, alternative = len(arrays[0]), _more_alike(measure)
    states = prepared(measure, arrays, ("X", "Y"))
    planned = plan(key, np.arange(n), n_permutations=n_permutations)
    scores = _scores(measure, states, planned.stream, planned.n_permutations)
    scaled = _scaled(scores)
    return SimilarityTest(
        measure=repr(measure),
        n_rows=n,
        statistic=float(scores[0]),
        pvalue=pvalue(float(scaled[0]), scaled[1:], alternative, rounding=_ROUNDING),
        null_distribution=scores[1:],
        alternative=alternative,
        **key_fields(key),
        n_permutations=n_permutations,
        exact=planned.exact,
    )


def similarity_tests(
    pairs: Mapping[str, tuple[Any, Any]],
    measure: str | Measure = "cka",
    *,
    correction: str = "maxT",
    alpha: float = 0.05,
    n_permutations: int = 999,
    key: Any = 0,
) -> SimilarityTests:
    """`similarity_test` of several pairs on the same rows, layers and epochs say, with adjusted p-values.

    Args:
        pairs: by name, what two networks make of the rows; all of the same rows.
        measure, n_permutations, key: as for `similarity_test`.
        correction: as in `jm.permutation_tests`; maxT is studentised.
        alpha: the level that `rejected` is about. A family in which nothing could be rejected at it is refused.

    Raises:
        ValueError: as `similarity_test` does; pairs of different rows; too few permutations for the correction.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> X, Y, Z = np.random.default_rng(0).normal(size=(3, 40, 3))
        >>> jm.similarity_tests({"layer1": (X, X + Z), "layer2": (Y, Y + Z)}, n_permutations=99).pvalue_adjusted
        array([0.01, 0.01])
    """
    measure, key = measure_by_name(measure), as_key(key)
    n_permutations = as_number(n_permutations, "n_permutations")
    if not isinstance(pairs, Mapping) or not pairs:
        raise ValueError(f"pairs must map one or more names to pairs, (X, Y), but is {str(pairs)[:40]}.")
    names = [f"pairs[{name!r}][{side}]" for name in pairs for side in (0, 1)]
    # Checked together, so that all of them have the same rows.
    arrays = as_networks(measure, [X for name, pair in pairs.items() for X in _two(name, pair)], names)

    def states(at: int) -> list[Any]:
        return prepared(measure, arrays[at : at + 2], names[at : at + 2])

    firsts = range(0, len(arrays), 2)
    for at in firsts:  # Before anything is permuted, what the last pair cannot do.
        states(at)
    alternative = _more_alike(measure)
    planned = plan(key, np.arange(len(arrays[0])), n_permutations=n_permutations)
    check_reachable(correction, len(pairs), planned.n_permutations, alternative, alpha)
    scores = np.stack([_scores(measure, states(at), planned.stream, planned.n_permutations) for at in firsts])
    separate, adjusted = family_pvalues(_scaled(scores), alternative, correction, rounding=_ROUNDING)
    return SimilarityTests(
        names=np.array(list(pairs), str),
        statistic=scores[:, 0],
        pvalue=separate,
        pvalue_adjusted=adjusted,
        null_distribution=scores[:, 1:].T,
        what=repr(measure),
        correction=correction,
        alternative=alternative,
        alpha=float(alpha),
        exact=planned.exact,
    )


def _two(name: str, pair: Any) -> tuple[Any, Any]:
    try:
        X, Y = pair
    except (TypeError, ValueError) as error:
        raise ValueError(f"pairs[{name!r}] must be two arrays, (X, Y), but is {str(pair)[:40]}.") from error
    return X, Y


def _more_alike(measure: Measure) -> str:
    return "greater" if measure.facts.larger_is_similar else "less"


def _scaled(scores: Float[np.ndarray, "*tests labellings"]) -> Float[np.ndarray, "*tests labellings"]:
    """Similarities as shares of the largest of their test: divergences of nearly equal networks are no ties."""
    largest = np.abs(scores).max(axis=-1, keepdims=True)
    return scores / np.where(largest > 0, largest, 1)


def _scores(
    measure: Measure, states: list[Any], stream: Stream, n_permutations: int
) -> Float[np.ndarray, " labellings"]:
    """The similarity of two networks under the permutations 0 .. B."""
    return np.asarray(_under(measure, *states, stream, jnp.arange(n_permutations + 1)), float)


@partial(jax.jit, static_argnums=0)
def _under(measure: Measure, a: Any, b: Any, stream: Stream, indices: Integer[Array, " B"]) -> Float[Array, " B"]:
    # One after the other: the observed order and all others then take the very same path, to the last digit.
    return jax.lax.map(lambda index: compared(measure, a, measure.permute(b, stream.permutation(index))), indices)
