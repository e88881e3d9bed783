"""All measures by name, and what enters them, checked."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmem.inputs import as_features, one_of
from jaxmem.similarity.base import Measure
from jaxmem.similarity.cca import CCA, PWCCA, SVCCA
from jaxmem.similarity.cka import CKA
from jaxmem.similarity.functions import Agreement, ErrorOverlap, JensenShannon, Kappa
from jaxmem.similarity.neighbors import NeighborOverlap
from jaxmem.similarity.predictivity import LinearPredictivity
from jaxmem.similarity.procrustes import Procrustes
from jaxmem.similarity.rsa import RSA

__all__ = ["MEASURES", "as_networks", "measure_by_name"]

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
_FEWEST_ROWS = 4  # With three, the unbiased estimate of HSIC is zero over zero.


def measure_by_name(measure: str | Measure) -> Measure:
    """Take a measure by its name in `MEASURES`, or as it is.

    Raises:
        ValueError: neither a name nor a measure.
    """
    if isinstance(measure, str):
        return MEASURES[one_of(measure, MEASURES, "measure")]
    if isinstance(measure, type) or not isinstance(measure, Measure):
        raise ValueError(f'measure must be a name, "cka" say, or an instance of a measure, but is {measure!r}.')
    return measure


def as_networks(measure: Measure, networks: Sequence[Any], names: Sequence[str]) -> list[Float[Array, "n _"]]:
    """Take what each network makes of the same rows, in the form that the measure takes.

    Args:
        measure: says what it takes.
        networks: one array a network.
        names: how the caller knows them, for the messages.

    Raises:
        ValueError: an array that is not what the measure takes; different numbers of rows; too few of them.
    """
    taken = [_taken(measure, X, name) for X, name in zip(networks, names, strict=True)]
    n = len(taken[0])
    for X, name in zip(taken, names, strict=True):
        if len(X) != n:
            raise ValueError(
                f"{name} has {len(X)} rows, but {names[0]} has {n}: networks are compared on the same rows in the same "
                "order."
            )
    if n < _FEWEST_ROWS:
        raise ValueError(f"networks are compared on at least {_FEWEST_ROWS} rows, but there are {n}.")
    if measure.facts.more_rows_than_features:
        for X, name in zip(taken, names, strict=True):
            width = int((X.max(axis=0) > X.min(axis=0)).sum())
            if width >= n:
                raise ValueError(
                    f"{name} has {width} features that vary and {n} rows: with no more rows than features {measure!r} "
                    'finds any two networks alike. Use more rows, fewer features, or measure="cka", "rsa" or '
                    '"neighbors".'
                )
    return taken


def _taken(measure: Measure, X: Any, name: str) -> Float[Array, "n _"]:
    takes = measure.facts.takes
    vector = np.ndim(X) == 1
    if takes in ("features", "logits") and not vector:
        return as_features(X, name)
    if takes == "predictions":
        if not vector:
            return as_features(X, name)
        codes = np.asarray(X)
        if codes.dtype.kind in "iu" and codes.size and codes.min() >= 0:
            return jnp.asarray(np.eye(int(codes.max()) + 1)[codes], float)
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
