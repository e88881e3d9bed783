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
from jaxmem.devices import by_all
from jaxmem.fits.base import Fit
from jaxmem.fits.blockwise import BlockwiseFit
from jaxmem.fits.host import HostFit, HostRefoldedFit
from jaxmem.fits.prepared import PreparedFit
from jaxmem.fits.refolded import RefoldedFit
from jaxmem.inputs import Labels
from jaxmem.metrics import Metric
from jaxmem.sharding import ShardedRows
from jaxmem.streaming import Features, RowBlocks
from jaxmem.validation import Design, KFold, Part, check_design

__all__ = ["check_blocks", "fits_of", "parts_of"]


def parts_of(design: Design, X: Features, labels: Labels, examples: bool, mesh: Mesh | None) -> list[Part] | KFold:
    """The parts of a design, checked; of folds that follow the labels, how they are folded.

    Raises:
        ValueError: no design, or one that does not fit the rows; of several processes, in any of them.
    """
    check_design(design)
    if not (isinstance(design, KFold) and design.stratified):
        # Where devices share rows out, reading them is what all processes do together already.
        together = None if isinstance(X, ShardedRows) else mesh
        return by_all(lambda: design.parts(X, labels), together)
    if examples:
        raise ValueError("example_scores needs folds that stay: use jm.KFold(stratified=False).")
    design.check(X, labels)
    return design


def check_blocks(
    classifier: Classifier | HostClassifier,
    metric: Metric,
    X: Features,
    n_classes: int,
    parts: Mapping[Any, list[Part] | KFold],
) -> None:
    """Refuse what cannot be done by blocks of rows, before anything is computed.

    Raises:
        ValueError: training rows come by blocks, but the fit is more than class sums, or a design fits only some of
            them; rows to score do, but the metric compares all of them, or the classifier is refitted on the host.
    """
    name = type(classifier).__name__
    all_parts = [part for each in parts.values() if isinstance(each, list) for part in each]
    if _by_blocks(X):
        come, remedy = _how(X, "X")
        if any(part.train is not None for part in all_parts):
            raise ValueError(
                f"A design fits some rows of X by their numbers, but {come}: all its rows are fitted, or {remedy}."
            )
        if not isinstance(classifier, ClassSums):
            raise ValueError(
                f"{name} needs all training rows at once, but {come}. Take a classifier whose fit is class sums, "
                f"Ridge, LDA, NearestCentroid or GaussianNB, or {remedy}."
            )

        def condense(shift: Shift, spread: Array, condensed: Array) -> None:
            classifier.condense(Moments(len(X), shift, spread, condensed), n_classes)

        d = X.shape[1]
        features: Any = jax.ShapeDtypeStruct((d,), X.dtype)
        varies: Any = jax.ShapeDtypeStruct((d,), bool)
        jax.eval_shape(condense, Shift(features, features, varies), features, jax.ShapeDtypeStruct((d, d), X.dtype))
    for rows in (part.rows for part in all_parts if _by_blocks(part.rows)):
        come, remedy = _how(rows, "X_val")
        if not isinstance(classifier, Classifier):
            raise ValueError(f"{name} needs all rows to score at once, but {come}: {remedy}.")
        if not metric.additive:
            raise ValueError(
                f"metric {metric.name!r} compares all rows that are scored, but {come}. Take a metric that is a sum "
                f"over rows, accuracy or margin say, or {remedy}."
            )


def _by_blocks(rows: Any) -> bool:
    return isinstance(rows, RowBlocks | ShardedRows)


def _how(rows: Any, name: str) -> tuple[str, str]:
    """How rows come, and what to do for all of them to be there at once."""
    if isinstance(rows, RowBlocks):
        return f"{name} is read a block at a time", f"read it into memory, np.asarray({name})"
    return f"devices share out the rows of {name}", "share out permutations alone, devices=jax.devices()"


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
        whole = not any(_by_blocks(rows) for rows in (X, *(part.rows for part in views.values())))
        fit: Any = HostFit if on_host else partial(PreparedFit if whole else BlockwiseFit, mesh=mesh)
        fits.append(fit(classifier, metric, X, n_classes, views, examples=examples))
    return fits
