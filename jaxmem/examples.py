"""Scores of single rows: which ones a fit of the observed labels finds doubtful.

The permutation tests say how often a row's *shuffled* label is recovered (`example_scores`): how much the features
give the row away, whatever its label. The margins here belong to the *observed* labels: a row whose own label scores
far below another is wrongly labelled, or hard. On rows that the fit has not seen (`jm.KFold`) a wrong label is least
able to defend itself.

References: Crammer & Singer (2001) for the margin; Northcutt, Jiang & Chuang (2021), Confident learning, for finding
wrong labels by scores on unseen rows.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from jaxmem.classifiers import Classifier, as_classifier
from jaxmem.inputs import as_features, as_labels
from jaxmem.metrics import margins
from jaxmem.validation import Design, check_design

__all__ = ["example_margins"]


def example_margins(classifier: Any, X: Any, y: Any, *, validation: Design) -> Float[np.ndarray, " m"]:
    """Score of every row's own label minus the best score of another label, by fits of the observed labels.

    Args:
        classifier: as in `jm.permutation_test`.
        X: features of the training rows, shape (n, d).
        y: their labels, shape (n,).
        validation: which rows to score. Copies have the labels of their sources.

    Returns:
        Margins in the units of the classifier's scores, shape (m,), negative where another label is preferred, and
        infinite where a class has no row to fit. In the order of the copies or independent rows; for `jm.KFold` in the
        order of the training rows.

    Raises:
        ValueError: on any input that cannot be fitted as it is.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> y[0] = 1  # A wrong label.
        >>> margins = jm.example_margins(jm.Ridge(), X, y, validation=jm.KFold(4))
        >>> margins.argmin().item()
        0
    """
    labels, X, classifier = as_labels(y), as_features(X), as_classifier(classifier)
    if len(X) != len(labels.codes):
        raise ValueError(f"X has {len(X)} rows, but y has {len(labels.codes)} labels: give one label per row.")
    check_design(validation)
    n_classes = len(labels.classes)
    parts = validation.parts(X, labels)
    values = []
    for part in parts:
        asked = jnp.asarray(part.rows)  # All of them at once, wherever they are.
        rows, codes = (X, labels.codes) if part.train is None else (X[part.train], labels.codes[part.train])
        if isinstance(classifier, Classifier):
            scores = _scores(classifier, n_classes, rows, codes, asked)
        else:
            fit = np.asarray(rows), np.asarray(codes), [np.asarray(asked)]
            ((scores,),) = classifier.refit([fit], n_classes, "decision")
        if np.ndim(scores) > 2:
            raise ValueError("margins are those of one classifier: give one value per hyperparameter.")
        own = part.own if part.own is not None else labels.codes if part.source is None else labels.codes[part.source]
        values.append(np.asarray(margins(jnp.asarray(scores), own)))
    joined = np.concatenate(values)
    if len(parts) == 1:
        return joined
    # Folds have every training row once: back in the order of the rows.
    sources = np.concatenate([np.asarray(part.source) for part in parts])
    if not np.array_equal(np.sort(sources), np.arange(len(X))):
        raise ValueError("margins of several parts need every training row to be scored once, as by jm.KFold.")
    return joined[np.argsort(sources)]


@partial(jax.jit, static_argnums=(0, 1))
def _scores(
    classifier: Classifier, n_classes: int, X: Float[Array, "n d"], y: Integer[Array, " n"], X_val: Float[Array, "m d"]
) -> Float[Array, "... m C"]:
    state = classifier.prepare(X, n_classes)
    return classifier.decision(state, classifier.fit(state, y), classifier.rows(state, X_val))
