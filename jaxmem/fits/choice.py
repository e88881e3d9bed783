"""The fits that designs ask for: of which kind they are, and which rows to score share one."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import Array

from jaxmem.classifiers._linear import Shift
from jaxmem.classifiers.base import Classifier, ClassSums, HostClassifier
from jaxmem.classifiers.moments import Moments
from jaxmem.fits.base import Fit
from jaxmem.fits.host import HostFit, HostRefoldedFit
from jaxmem.fits.prepared import PreparedFit
from jaxmem.fits.refolded import RefoldedFit
from jaxmem.fits.streamed import StreamedFit
from jaxmem.metrics import Metric
from jaxmem.streaming import Features, RowBlocks
from jaxmem.validation import KFold, Part

__all__ = ["check_blocks", "fits_of"]


def check_blocks(
    classifier: Classifier | HostClassifier,
    metric: Metric,
    X: Features,
    n_classes: int,
    parts: Mapping[Any, list[Part] | KFold],
) -> None:
    """Refuse what cannot be done a block of rows at a time, before anything is computed.

    Raises:
        ValueError: training rows are read by blocks, but the fit is more than class sums, or a design fits only some
            of them; rows to score are, but the metric compares all of them, or the classifier is refitted on the host.
    """
    name = type(classifier).__name__
    all_parts = [part for each in parts.values() if isinstance(each, list) for part in each]
    if isinstance(X, RowBlocks):
        if any(part.train is not None for part in all_parts):
            raise ValueError(
                "A design fits some rows of X by their numbers, but X is read a block at a time: all its rows are "
                "fitted, or it has to be read into memory, np.asarray(X)."
            )
        if not isinstance(classifier, ClassSums):
            raise ValueError(
                f"{name} needs all training rows at once, but X is read a block at a time. Read it into memory, "
                "np.asarray(X), or take a classifier whose fit is class sums: Ridge, LDA, NearestCentroid, GaussianNB."
            )

        def condense(shift: Shift, spread: Array, condensed: Array) -> None:
            classifier.condense(Moments(len(X), shift, spread, condensed), n_classes)

        d = X.shape[1]
        features: Any = jax.ShapeDtypeStruct((d,), X.dtype)
        varies: Any = jax.ShapeDtypeStruct((d,), bool)
        jax.eval_shape(condense, Shift(features, features, varies), features, jax.ShapeDtypeStruct((d, d), X.dtype))
    if any(isinstance(part.rows, RowBlocks) for part in all_parts):
        if not isinstance(classifier, Classifier):
            raise ValueError(
                f"{name} needs all rows to score at once, but X_val is read a block at a time. Read it into memory, "
                "np.asarray(X_val)."
            )
        if not metric.additive:
            raise ValueError(
                f"metric {metric.name!r} compares all rows that are scored, but X_val is read a block at a time. Read "
                "it into memory, np.asarray(X_val), or take a metric that is a sum over rows: accuracy, margin, ..."
            )


def fits_of(
    classifier: Classifier | HostClassifier,
    metric: Metric,
    X: Features,
    n_classes: int,
    parts: Mapping[Any, list[Part] | KFold],
    examples: bool,
    mesh: Mesh | None,
) -> list[Fit]:
    """The fits that the designs ask for; parts with the same rows to fit share one."""
    on_host = not isinstance(classifier, Classifier)
    refolded: Any = HostRefoldedFit if on_host else partial(RefoldedFit, mesh=mesh)
    fits, shared = [], {}
    for name, design in parts.items():
        if isinstance(design, KFold):
            fits.append(refolded(classifier, metric, X, n_classes, name, design))
            continue
        for number, part in enumerate(design):
            rows = None if part.train is None else part.train.tobytes()
            shared.setdefault(rows, {})[name, number] = part
    for views in shared.values():
        streamed = any(isinstance(rows, RowBlocks) for rows in (X, *(part.rows for part in views.values())))
        fit: Any = HostFit if on_host else partial(StreamedFit if streamed else PreparedFit, mesh=mesh)
        fits.append(fit(classifier, metric, X, n_classes, views, examples=examples))
    return fits
