"""All measures by name, and what enters them, checked."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxmem.inputs import Several, all_as_features, one_of
from jaxmem.similarity.base import TAKES, Facts, Measure
from jaxmem.similarity.cca import CCA, PWCCA, SVCCA
from jaxmem.similarity.cka import CKA
from jaxmem.similarity.functions import Agreement, ErrorOverlap, JensenShannon, Kappa
from jaxmem.similarity.neighbors import NeighborOverlap
from jaxmem.similarity.predictivity import LinearPredictivity
from jaxmem.similarity.procrustes import Procrustes
from jaxmem.similarity.rsa import RSA

__all__ = ["GRADIENT_FACTS", "MEASURES", "as_networks", "check_directions", "fewest_rows", "measure_by_name"]

MEASURES: Mapping[str, Measure] = {
    "cka": CKA(),
    "cka-biased": CKA(unbiased=False),
    "rbf-cka": CKA("rbf"),
    "rbf-cka-biased": CKA("rbf", unbiased=False),
    "rsa": RSA(),
    "rsa-spearman": RSA("spearman"),
    "neighbors": NeighborOverlap(),
    "procrustes": Procrustes(),
    "predictivity": LinearPredictivity(),
    "cca": CCA(),
    "svcca": SVCCA(),
    "pwcca": PWCCA(),
    "agreement": Agreement(),
    "kappa": Kappa(),
    "jensen-shannon": JensenShannon(),
    "error-overlap": ErrorOverlap(),
}
# Of gradients, by the function of `jaxmem.nets` that computes them from networks: no `Measure`, but read as one. The
# changes are of a network's gradients: all of them times a positive number; an orthogonal map of them.
GRADIENT_FACTS: Mapping[str, Facts] = {
    "gradient_cosines": Facts("gradients", -1.0, 1.0, True, ("scaling",), False, "Gu & Tresp (2019)"),
    "gradient_coherence": Facts("gradients", -1.0, 1.0, True, ("scaling", "rotation"), False, "Fort et al. (2019)"),
}
_FEWEST_ROWS = 4  # With three, the unbiased estimate of HSIC is zero over zero.
_CANONICAL = (CCA, PWCCA, SVCCA)
_REMEDY = 'fewer features (pool them over places, say), or measure="cka", "rsa" or "neighbors".'


def measure_by_name(measure: str | Measure) -> Measure:
    """Take a measure by its name in `MEASURES`, or as it is.

    Raises:
        ValueError: neither a name nor a measure; one that takes what no measure is given.

    Example:
        >>> from jaxmem.similarity import measure_by_name
        >>> measure_by_name("rbf-cka")
        CKA(kernel='rbf', unbiased=True, bandwidth=1.0)
    """
    if isinstance(measure, str):
        return MEASURES[one_of(measure, MEASURES, "measure")]
    if isinstance(measure, type) or not isinstance(measure, Measure):
        raise ValueError(f'measure must be a name, "cka" say, or an instance of a measure, but is {measure!r}.')
    if measure.facts.takes == "gradients":
        raise ValueError(
            f"{measure!r} takes gradients, which come from the networks themselves and have no measure here: compare "
            "them by jaxmem.nets.gradient_cosines."
        )
    one_of(measure.facts.takes, [takes for takes in TAKES if takes != "gradients"], f"facts.takes of {measure!r}")
    return measure


def fewest_rows(measure: Measure, width: int, other_width: int) -> int:
    """Rows below which two networks of so many linearly independent features look alike whatever they compute.

    Centred features of n rows lie in n - 1 dimensions. Features that fill them predict anything; and two subspaces
    whose dimensions add up to more than n - 1 meet, so that some canonical correlations are 1. Where the k neighbours
    of a row are all the other rows that there are, they are the same in every network.

    Example:
        >>> from jaxmem.similarity import CCA, CKA, NeighborOverlap, fewest_rows
        >>> fewest_rows(CCA(), 64, 64), fewest_rows(CKA(), 64, 64), fewest_rows(NeighborOverlap(10), 64, 64)
        (129, 4, 12)
    """
    if isinstance(measure, NeighborOverlap):
        return max(_FEWEST_ROWS, measure.n_neighbors + 2)
    if isinstance(measure, _CANONICAL):
        return max(_FEWEST_ROWS, width + other_width + 1)
    return max(_FEWEST_ROWS, max(width, other_width) + 2) if measure.facts.more_rows_than_features else _FEWEST_ROWS


def as_networks(measure: Measure, networks: Sequence[Any], names: Sequence[str]) -> Several:
    """Take what each network makes of the same rows, in the form that the measure takes.

    Args:
        measure: says what it takes.
        networks: one array a network.
        names: how the caller knows them, for the messages.

    Returns:
        A list, or one array with a leading axis of networks, as `jaxmem.inputs.all_as_features`.

    Raises:
        ValueError: an array that is not what the measure takes; different numbers of rows, or of classes where logits
            are compared; too few rows.
    """
    taken: Any = [_taken(measure, X, name) for X, name in zip(networks, names, strict=True)]
    wide = [place for place, X in enumerate(networks) if np.ndim(X) != 1]
    features = all_as_features([taken[place] for place in wide], [names[place] for place in wide])
    if len(wide) == len(taken):
        taken = features
    else:
        for place, X in zip(wide, features, strict=True):
            taken[place] = X
    shapes = [X.shape for X in taken] if isinstance(taken, list) else [taken.shape[1:]] * len(taken)
    n = shapes[0][0]
    for (own, *_), name in zip(shapes, names, strict=True):
        if own != n:
            raise ValueError(
                f"{name} has {own} rows, but {names[0]} has {n}: networks are compared on the same rows in the same "
                "order."
            )
    if measure.facts.takes == "logits" and len(widths := {width for _, width in shapes}) > 1:
        raise ValueError(
            f"{measure!r} compares probabilities of the same classes, but {names[0]} to {names[-1]} have "
            f"{' and '.join(map(str, sorted(widths)))} of them: give logits of all classes, in one order."
        )
    if measure.facts.takes == "predictions" and len(wide) < len(taken):
        taken = _indicators(taken)
    if n < _FEWEST_ROWS:
        raise ValueError(f"networks are compared on at least {_FEWEST_ROWS} rows, but there are {n}.")
    if measure.facts.more_rows_than_features and not isinstance(measure, _CANONICAL):
        varying = _varying(taken) if isinstance(taken, jax.Array) else [_varying(X) for X in taken]
        for width, name in zip(np.asarray(jax.device_get(varying)).tolist(), names, strict=True):
            if n < (needed := fewest_rows(measure, width, width)):
                raise ValueError(
                    f"{name} has {width} features that vary and {n} rows, of at most {n - 1} dimensions: features that "
                    f"fill them make {measure!r} find any two networks alike. Use {needed} rows or more, {_REMEDY}"
                )
    return taken


@jax.jit
def _varying(X: Float[Array, "*networks n d"]) -> Int[Array, "*networks"]:
    """How many features are not the same in all rows."""
    return (X.max(axis=-2) > X.min(axis=-2)).sum(axis=-1)


def check_directions(measure: Measure, n: int, states: Iterable[Any], names: Sequence[str]) -> None:
    """Refuse canonical correlations of networks any two of which together have more directions than the rows allow.

    Args:
        measure: any; those without canonical correlations pass.
        n: number of rows.
        states: what `prepare` made of each network, or of several at a time, stacked.
        names: how the caller knows the networks, for the message.

    Raises:
        ValueError: two networks whose ranks (for SVCCA: of what it keeps) add up to more than n - 1.
    """
    if not isinstance(measure, _CANONICAL):
        return
    ranks = np.concatenate([np.atleast_1d(state.rank) for state in states]).astype(int)
    first, second = sorted(np.argsort(ranks, kind="stable")[-2:].tolist())
    if n < (needed := fewest_rows(measure, int(ranks[first]), int(ranks[second]))):
        raise ValueError(
            f"{names[first]} and {names[second]} have {ranks[first]} and {ranks[second]} linearly independent "
            f"directions, but centred, {n} rows have {n - 1}: {needed - n} of the canonical correlations of "
            f"{measure!r} are 1 for any two networks. Use {needed} rows or more, {_REMEDY}"
        )


def _indicators(networks: Sequence[Any]) -> list[Float[Array, "n C"]]:
    """Indicators of the predicted classes, a column for every class that any of the networks predicts."""
    codes = [np.asarray(X) if np.ndim(X) == 1 else np.asarray(X).argmax(axis=1) for X in networks]
    codes = [one.astype(np.uint64) for one in codes]  # Signed and unsigned ones together would become floats.
    occurring, places = np.unique(np.concatenate(codes), return_inverse=True)
    classes = np.arange(len(occurring))
    return [
        jnp.asarray(own[:, None] == classes[None, :], float)
        for own in np.split(places, np.cumsum([len(one) for one in codes])[:-1])
    ]


def _taken(measure: Measure, X: Any, name: str) -> Any:
    """What the measure takes: vectors as arrays, features and logits as they came."""
    takes = measure.facts.takes
    vector = np.ndim(X) == 1
    if takes in ("features", "logits", "predictions") and not vector:
        return X
    if takes == "predictions":
        codes = np.asarray(X)
        if codes.dtype.kind in "iu" and codes.size and codes.min() >= 0:
            return codes
    if takes == "errors" and vector:
        wrong = np.asarray(X)
        if wrong.dtype == bool and wrong.size:
            return jnp.asarray(wrong[:, None], float)
    expected = {
        "features": "features, shape (n, d)",
        "logits": "logits, shape (n, C)",
        "predictions": "logits, shape (n, C), or classes as integers from 0, shape (n,)",
        "errors": "whether each row is predicted wrongly, booleans (n,), such as predictions != y",
    }[takes]
    kind = f"{np.asarray(X).dtype} of shape {np.shape(X)}"
    raise ValueError(f"{measure!r} takes {expected}, but {name} is {kind}.")
