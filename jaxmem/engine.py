"""The permutation test: is what the labels have to do with the features more than chance?

The scores of all permutations come from `jaxmem.scoring`; here they become a test.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from jaxmem.classifiers import as_classifier
from jaxmem.devices import mesh_of
from jaxmem.inference import ALTERNATIVES, Course, Rule, pvalue
from jaxmem.inputs import Labels, as_array, as_key, as_labels, as_number, one_of
from jaxmem.metrics import Metric, metric_by_name
from jaxmem.permutations import plan
from jaxmem.results import PermutationTest, as_saved, key_fields
from jaxmem.scoring import rounding_of, score_permutations
from jaxmem.streaming import Features, as_rows
from jaxmem.tally import Done
from jaxmem.validation import Design, KFold, Part, check_design

__all__ = ["permutation_test"]


def permutation_test(
    classifier: Any,
    X: Any,
    y: Any,
    *,
    validation: Design,
    scheme: str = "free",
    blocks: Any = None,
    metric: str | Metric | Callable[[Array, Array], Array] = "accuracy",
    alternative: str = "greater",
    n_permutations: int = 9_999,
    stopping: Any = None,
    key: Any = 0,
    batch_size: int | None = None,
    precision: str = "float32",
    example_scores: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    devices: Sequence[Any] | Mesh | None = None,
    progress: bool = True,
) -> PermutationTest:
    """Test whether the labels have to do with the features, by refitting a shallow classifier on shuffled labels.

    Args:
        classifier: `jm.Ridge()`, `jm.KNeighbors()`, ..., anything of the form that `jaxmem.classifiers.base`
            describes, or
            a scikit-learn classifier or pipeline (the slow path: refitted on the host; `jm.Estimator` sets the jobs).
        X: features of the training rows, shape (n, d): an array of NumPy, JAX or PyTorch. Memory maps (`np.memmap`),
            arrays of HDF5 and Zarr, and `jm.RowBlocks` of anything else are never held in memory: they are read a block
            at a time, a few times at first and then once for every batch of permutations, and so are such rows to
            score. Memory does not grow with n then, but for the labels. `Ridge`, `LDA` (but `shrinkage="auto"`),
            `NearestCentroid` and `GaussianNB` can be fitted like that, for they need but class sums; all classifiers
            can score rows like that, by metrics that are sums over rows. For all else pass `np.asarray(X)`.
        y: their labels, integers or strings, shape (n,).
        validation: which rows are scored and with whose labels: `jm.SharedStructure`, `jm.Holdout`, `jm.KFold`,
            `jm.Resubstitution`.
        scheme: "free"; "within": labels are exchanged within blocks; "whole": blocks of equal size are exchanged whole.
        blocks: the block of each row, integers or strings, shape (n,); for "within" and "whole".
        metric: a name of `jaxmem.metrics.METRICS`, or a function `(scores (m, C), labels (m,)) -> number` that traces.
        alternative: "greater", "less" or "two-sided". Of every metric more is better: "greater" asks whether labels can
            be predicted, "less" whether worse than by chance, as where copies were mixed up.
        n_permutations: B, how many shuffles; the smallest p-value is 1 / (B + 1). Where there are no more distinct
            labellings than this, all of them are taken, once each, and the test is exact without chance.
        stopping: `jm.BesagClifford(10)` or `jm.Betting(alpha)`: stop before B where the test is decided. Only for one
            score, not for a tuple of hyperparameters. An enumeration of all labellings is never stopped.
        key: a seed or a JAX key. Permutation b depends on it and on b, on nothing else.
        batch_size: permutations at once; None: chosen from the shapes. Halved where memory does not hold as many.
        precision: "float32", "tf32" or "bfloat16", of the matrix products that depend on labels, on accelerators that
            have them. The test is exact at any: the observed score comes out of the same kernel as the null.
        example_scores: also count how often each row's shuffled label is recovered; not for `Holdout`.
        checkpoint: a file that what is done goes to now and then, for 1% of the time. Killed or interrupted, the same
            call goes on from there to the same null; so does one for more permutations. The file stays. A function of
            yours (a metric, a step of a pipeline) that was changed is noticed, but not what it calls by a global name,
            nor methods of your own classes: give the file another name when you change those.
        devices: JAX devices that share the permutations out among them; None: all that this process has, or the one
            that `jax.default_device` names. A batch is that of all of them together, as many for each. Or a mesh,
            `jax.make_mesh((2, 4), ("permutations", "rows"))` say, of either axis or both: along "rows" each device has
            a part of the rows of X and of those to score, for classifiers whose fit is class sums, as above, metrics
            that are sums over rows, and designs but `KFold`. X may then be an array that is already sharded like that,
            on devices of several processes, too, or whatever is read in slices, of which every process takes its own.
            Of devices of several processes, all make the same call, with the same y, and get the same result.
        progress: show a bar on a terminal if it takes more than a moment.

    Returns:
        The observed statistic, its p-value, and the whole null distribution.

    Raises:
        ValueError: on any input that cannot be tested as it is, before anything is computed; among them a checkpoint
            of another test, or a damaged one, which is left as it is.

    References: Ojala & Garriga (2010), Permutation tests for studying classifier performance; Phipson & Smyth (2010).

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> test = jm.permutation_test(jm.Ridge(), X, y, validation=jm.KFold(4), n_permutations=99)
        >>> test.statistic > 0.9, test.pvalue, test.null_distribution.shape
        (True, 0.01, (99,))
    """
    one_of(alternative, ALTERNATIVES, "alternative")
    metric = metric_by_name(metric)
    key = as_key(key)
    labels = as_labels(y)
    X = _own(as_rows(X, mesh=mesh_of(devices)), X)
    blocks = None if blocks is None else np.array(blocks)
    classifier = as_classifier(classifier)
    rounding = rounding_of(metric, X.dtype)
    n_permutations = as_number(n_permutations, "n_permutations")
    if stopping is not None and not isinstance(stopping, Rule):
        raise ValueError(f"stopping must be jm.BesagClifford(...), jm.Betting(...) or None, but is {stopping!r}.")
    if stopping is not None and example_scores:
        raise ValueError("example_scores are shares of a fixed number of permutations: leave out stopping for them.")
    check_design(validation)

    # Folds are made of X, and of the labels.
    taken = validation if isinstance(validation, KFold) else _Taken(validation)

    def up_to(total: int, done: Done | None = None) -> PermutationTest:
        """The test with `total` permutations; those that are done are not computed again."""
        planned = plan(key, labels.codes, scheme=scheme, blocks=blocks, n_permutations=total)
        if stopping is not None and not planned.exact:
            (stopping.for_one_tail() if alternative == "two-sided" else stopping).check(total)
        course = None if stopping is None else Course(stopping, alternative, rounding)
        scored = score_permutations(
            classifier,
            X,
            labels,
            {"validation": taken},
            metric=metric,
            scheme=scheme,
            blocks=blocks,
            n_permutations=total,
            key=key,
            batch_size=batch_size,
            precision=precision,
            checkpoint=checkpoint,
            devices=devices,
            examples=example_scores,
            progress=progress,
            enough=None if course is None else lambda scores: course.enough(scores["validation"]),
            done=done,
        )
        view, diagnostics = scored.views["validation"], scored.diagnostics
        scores = view.paired
        if course is None or scored.exact:
            pvalues = np.apply_along_axis(lambda s: pvalue(s[0], s[1:], alternative, rounding=rounding), 0, scores)
        else:
            # What the last batch did beyond the end is not part of the test.
            used, pvalues = course.outcome()
            scores = scores[: used + 1]
            diagnostics = {name: values[: used + 1] for name, values in diagnostics.items()}
        return PermutationTest(
            classifier=repr(classifier),
            y=np.asarray(labels.codes),
            classes=labels.classes,
            **key_fields(key),
            scheme=scheme,
            blocks=as_saved(blocks),
            n_permutations=total,
            exact=scored.exact,
            statistic=_plain(scores[0]),
            pvalue=_plain(pvalues),
            null_distribution=scores[1:],
            alternative=alternative,
            metric=metric.name,
            rounding=rounding,
            stopping=None if scored.exact else stopping,
            example_scores=view.recovered,
            diagnostics=diagnostics,
            up_to=partial(up_to, done=scored.done),
        )

    return up_to(n_permutations)


@dataclass(frozen=True, eq=False)
class _Taken:
    """A design whose rows are taken once, for `extend`, whatever becomes of the arrays that they were given in."""

    design: Any
    _parts: list[Any] = field(default_factory=list)

    def parts(self, X: Features, labels: Labels) -> list[Part]:
        """Those of the design, when it was first asked."""
        if not self._parts:
            given = getattr(self.design, "X_val", X)
            self._parts.extend(part._replace(rows=_own(part.rows, given)) for part in self.design.parts(X, labels))
        return self._parts


def _own(features: Any, given: Any) -> Any:
    """Features that stay as they are, whatever becomes of the array in memory that they were given in."""
    # JAX's own arrays never change.
    if isinstance(given, jax.Array) or not isinstance(features, jax.Array):
        return features
    array = as_array(given)
    if isinstance(array, np.ndarray):
        # JAX may take an aligned array of the same type without copying it, where it computes on the host.
        on_host = all(device.platform == "cpu" for device in features.devices())
        if not on_host or not np.may_share_memory(np.asarray(features), array):
            return features
    return jnp.array(features, copy=True)


def _plain(value: Any) -> Any:
    """A number, where there is but one."""
    return float(value) if np.ndim(value) == 0 else np.asarray(value)
