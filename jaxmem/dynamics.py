"""How single examples are learnt: when first, how often forgotten, with what margin, and how deep in the network.

From the logits of all examples after each of E epochs,

    first learnt   = the first epoch at which the example is predicted as its label,
    forgetting     = the number of epochs e with "right at e - 1, wrong at e",
    area           = mean over epochs of "right", the area under the example's learning curve,
    margin         = own logit minus the best other, in the end.

Prediction depth is the first layer from which on probes agree with what the network says in the end: the probes are
k nearest neighbours in the features of every layer.

References: Toneva et al. (2019), An empirical study of example forgetting; Baldock, Maennel & Neyshabur (2021), Deep
learning through the lens of example difficulty, for prediction depth.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxmem.classifiers import KNeighbors
from jaxmem.inputs import as_array, as_features, as_labels, as_number, float_type
from jaxmem.metrics import margins

__all__ = ["LearningDynamics", "epochs_to_accuracy", "learning_dynamics", "prediction_depth"]


class LearningDynamics(NamedTuple):
    """Of every example, over the epochs that were looked at; more axes in front (networks) where the logits have them.

    Attributes:
        correct: whether the example is predicted as its label after each epoch, (..., epochs, n).
        loss: its cross entropy in nats, (..., epochs, n).
        margin: logit of its label minus the largest other, (..., epochs, n).
        first_learned: the first epoch at which it is right; inf where it never is, (..., n).
        forgetting_events: how often it was right at one epoch and wrong at the next; inf where it never was right, as
            Toneva et al. count, (..., n).
        area: share of the epochs at which it is right, from 0 to 1, (..., n).

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> seen = jm.learning_dynamics(np.array([[[0.0, 1.0]], [[0.0, 3.0]]]), np.array([1]))  # Two epochs of one row.
        >>> seen.margin.ravel()
        array([1., 3.], dtype=float32)
    """

    correct: Bool[np.ndarray, "*members epochs n"]
    loss: Float[np.ndarray, "*members epochs n"]
    margin: Float[np.ndarray, "*members epochs n"]
    first_learned: Float[np.ndarray, "*members n"]
    forgetting_events: Float[np.ndarray, "*members n"]
    area: Float[np.ndarray, "*members n"]


def learning_dynamics(logits: Any, y: Any, epochs: Sequence[int] | None = None) -> LearningDynamics:
    """Follow every example over epochs.

    Events between two epochs that were looked at are not seen: look at every epoch to count forgetting.

    Args:
        logits: (..., epochs, n, C), of all examples after each epoch; an axis in front may be that of networks. Read in
            double precision where they have it and JAX allows it, else in single: what does not differ there is tied.
            Of tied logits the first class is the prediction.
        y: labels, integers from 0 to C - 1: (n,), or (..., n) where those of the networks differ.
        epochs: the numbers of the epochs, (epochs,), increasing; None: 1, 2, ...

    Raises:
        ValueError: shapes that do not fit each other, labels out of range, logits that are not finite, or epochs that
            do not increase.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> logits = np.array([[[0, 1], [1, 0]], [[1, 0], [1, 0]], [[0, 1], [0, 1]]], float)  # Three epochs, two rows.
        >>> seen = jm.learning_dynamics(logits, np.array([1, 1]))
        >>> seen.first_learned
        array([1., 3.])
        >>> seen.forgetting_events
        array([1., 0.])
    """
    logits, y = as_array(logits), np.asarray(y)
    with np.errstate(over="ignore"):  # What overflows is refused below, as infinite.
        logits = np.asarray(logits).astype(float_type(logits.dtype, "logits"))
    if logits.ndim < 3 or 0 in logits.shape or logits.shape[-1] < 2:
        raise ValueError(f"logits has shape {logits.shape}; expected (epochs, n, C) with C >= 2, or axes before those.")
    n_epochs, n, n_classes = logits.shape[-3:]
    if not np.isfinite(logits).all():
        raise ValueError(
            f"logits hold NaN or infinite values, read as {logits.dtype}: the training blew up, or a row of X was not "
            "finite."
        )
    if y.shape not in ((n,), (*logits.shape[:-3], n)) or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"y is {y.dtype} of shape {y.shape}; expected integer labels of {n} rows, as logits have.")
    if y.min() < 0 or y.max() >= n_classes:
        raise ValueError(
            f"y runs from {y.min()} to {y.max()}; expected labels from 0 to {n_classes - 1}, as logits have."
        )
    numbers = _numbers_of(epochs, n_epochs)
    labels = np.broadcast_to(y[..., None, :], logits.shape[:-1])
    flat, own = jnp.asarray(logits.reshape(-1, n_classes)), jnp.asarray(labels.ravel())
    margin, loss = (np.asarray(of_all).reshape(labels.shape) for of_all in _margins_and_losses(flat, own))
    correct = logits.argmax(axis=-1) == labels
    ever = correct.any(axis=-2)
    forgotten = (correct[..., :-1, :] & ~correct[..., 1:, :]).sum(axis=-2)
    return LearningDynamics(
        correct,
        loss,
        margin,
        np.where(ever, numbers[correct.argmax(axis=-2)], np.inf),
        np.where(ever, forgotten, np.inf),
        correct.mean(axis=-2),
    )


def epochs_to_accuracy(accuracy: Any, level: float = 0.99, epochs: Sequence[int] | None = None) -> Any:
    """The first epoch at which an accuracy is at least `level`; inf where it never is.

    Args:
        accuracy: (..., epochs), such as `trained.history.accuracy`.
        level: from above 0 to 1.
        epochs: the numbers of the epochs, increasing; None: 1, 2, ...

    Returns:
        (...,), in epochs.

    Raises:
        ValueError: a level out of range, NaN accuracies, or epochs of another number or that do not increase.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> jm.epochs_to_accuracy(np.array([[0.5, 0.9, 1.0], [0.3, 0.4, 0.5]]), level=0.9)
        array([ 2., inf])
    """
    accuracy = np.asarray(accuracy, float)
    if not 0 < level <= 1:
        raise ValueError(f"level is {level!r}; expected a share of rows above 0, at most 1.")
    if accuracy.ndim < 1 or not accuracy.shape[-1] or np.isnan(accuracy).any():
        raise ValueError(f"accuracy of shape {accuracy.shape} must hold one number for every epoch, none of them NaN.")
    numbers = _numbers_of(epochs, accuracy.shape[-1])
    there = accuracy >= level
    return np.where(there.any(axis=-1), numbers[there.argmax(axis=-1)], np.inf)[()]


def _numbers_of(epochs: Sequence[int] | None, n_epochs: int) -> np.ndarray:
    """The numbers of the epochs, finite and increasing."""
    numbers = np.arange(1, n_epochs + 1) if epochs is None else np.asarray(epochs)
    counts = numbers.shape == (n_epochs,) and numbers.dtype.kind in "iuf" and np.isfinite(numbers).all()
    if not counts or (numbers[1:] <= numbers[:-1]).any():
        raise ValueError(f"epochs is {epochs!r}; expected the increasing numbers of {n_epochs} epochs.")
    return numbers


def prediction_depth(
    features: Mapping[str, Any],
    y: Any,
    predictions: Any,
    *,
    new_features: Mapping[str, Any] | None = None,
    n_neighbors: int = 30,
) -> Int[np.ndarray, " m"]:
    """Number of layers until the labels of a row's neighbours say for good what the network says in the end.

    A depth of 0: neighbours in every layer say so, from the first that is given on. A depth of 2: those in the third
    layer and in all after it do, but those in the second do not. As deep as there are layers: those in the last layer
    do not. Neighbours are training rows at the smallest Euclidean distance, the row itself left out; ties between their
    votes go to the first class.

    Args:
        features: of the training rows by layer, from the input side to the output side, (n, d) each; the raw inputs may
            be the first.
        y: labels of the training rows, as the network was trained on, (n,).
        predictions: classes that the network predicts in the end for the rows in question, (m,).
        new_features: of other rows, by the same layers, (m, d) each; None: the training rows themselves.
        n_neighbors: how many vote; Baldock et al. take 30.

    Raises:
        ValueError: layers or numbers of rows that do not fit each other, or too few training rows.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> layers = {"input": np.zeros((40, 1)), "layer1": X}  # The network separates what the input does not.
        >>> jm.prediction_depth(layers, y, predictions=y, n_neighbors=5)[-1].item()
        1
    """
    labels = as_labels(y)
    predicted = as_labels(predictions, "predictions", labels.classes).codes
    asked = features if new_features is None else new_features
    for given, name in ((features, "features"), (asked, "new_features")):
        if not isinstance(given, Mapping):
            raise ValueError(
                f"{name} is a {type(given).__name__}; expected a mapping of layers' names to arrays, such as "
                '{"layer1": X}.'
            )
    if not features or list(asked) != list(features):
        raise ValueError(
            f"features are of the layers {list(features)} and new_features of {list(asked)}; expected the same, in the "
            "same order, and at least one."
        )
    n, k = len(labels.codes), as_number(n_neighbors, "n_neighbors")
    if k >= n:
        raise ValueError(f"n_neighbors is {k} and there are {n} training rows; choose at most {n - 1}.")
    agree = []
    for name in features:
        X, X_new = as_features(features[name], name), as_features(asked[name], name)
        if len(X) != n or len(X_new) != len(predicted) or X.shape[1] != X_new.shape[1]:
            raise ValueError(
                f"features of {name} have shape {X.shape}, those of the rows in question {X_new.shape}, for {n} labels "
                f"and {len(predicted)} predictions; expected one row each, with as many columns."
            )
        voted = _voted(X, X_new, labels.codes.astype(jnp.int32), len(labels.classes), k, new_features is None)
        agree.append(np.asarray(voted == predicted))
    # From the back: how many layers at the end agree without a break.
    trailing = np.cumprod(np.stack(agree[::-1]), axis=0).sum(axis=0)
    return len(agree) - trailing


@jax.jit
def _margins_and_losses(logits, y):
    own = jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]
    return margins(logits, y), jax.scipy.special.logsumexp(logits, axis=1) - own


@partial(jax.jit, static_argnums=(3, 4, 5))
def _voted(X, X_new, codes, n_classes: int, k: int, leave_out: bool):
    """The class that most of the nearest training rows have; a training row has no vote on itself."""
    searched = KNeighbors(k + leave_out)
    neighbors = searched.rows(searched.prepare(X, n_classes), X_new).neighbors
    votes = codes[neighbors][:, :, None] == jnp.arange(n_classes)[None, None, :]
    if leave_out:
        itself = neighbors == jnp.arange(len(X_new))[:, None]
        # A row with many twins may not be among its own neighbours: then the farthest one goes.
        last = jnp.arange(k + 1)[None, :] == k
        votes = votes & ~jnp.where(itself.any(axis=1, keepdims=True), itself, last)[:, :, None]
    return votes.sum(axis=1).argmax(axis=1)
