"""Finding mislabelled digits: jaxmem's scores of single rows beside confident learning, on features of one network.

A tenth of the labels of 4,000 real digits is wrong. An MLP is trained on them, and its last hidden layer is probed.
Figures are areas under the ROC curve of finding the wrong rows: 0.5 is a guess, 1 is perfect.
"""

from typing import Any

import jax
import numpy as np
from flax import nnx
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

import jaxmem as jm
from jaxmem.data import GaussianNoise, load
from jaxmem.nets import MLP, TrainConfig, features, train

_EPOCHS = (1, 5, 40)


def areas(n: int = 4_000, share: float = 0.1, n_permutations: int = 999, seed: int = 0) -> dict[str, Any]:
    """Of every score: on raw pixels, early in training, and when the network has learnt the wrong labels by heart."""
    digits = load("digits")
    images, true = digits.X_train[:n], np.asarray(digits.y_train[:n])
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(n) < share * n
    given = np.where(wrong, (true + rng.integers(1, 10, n)) % 10, true)
    copies = GaussianNoise(0.2)(jax.random.key(seed), images)
    pixels, pixels_of_copies = (np.asarray(part).reshape(n, -1) for part in (images, copies))

    network = MLP(pixels.shape[1], 10, widths=(256, 256), rngs=nnx.Rngs(seed))
    trained = train(network, pixels, given, TrainConfig(epochs=max(_EPOCHS), keep_epochs=_EPOCHS), key=seed)
    found = {"pixels": _areas(pixels, pixels_of_copies, given, wrong, n_permutations)}
    for epoch in _EPOCHS:
        layers = [list(features(trained.at(epoch), part).values())[-1] for part in (pixels, pixels_of_copies)]
        X, X_val = map(np.asarray, layers)
        accuracy = float(trained.history.accuracy[epoch - 1])
        found[f"epoch {epoch}"] = {"training_accuracy": accuracy} | _areas(X, X_val, given, wrong, n_permutations)
    return found


def _areas(X: np.ndarray, X_val: np.ndarray, given: np.ndarray, wrong: np.ndarray, B: int) -> dict[str, float]:
    shared, folds = jm.SharedStructure(X_val), jm.KFold(5)
    scores: dict[str, np.ndarray] = {}
    for name, classifier in {"ridge": jm.Ridge(), "1 nearest neighbour": jm.KNeighbors(1)}.items():
        test = jm.memorization_test(classifier, X, given, shared, n_permutations=B, progress=False)
        scores[f"example_scores, {name}"] = test.example_scores
    for name, classifier in {"ridge": jm.Ridge(), "30 nearest neighbours": jm.KNeighbors(30)}.items():
        scores[f"margins on copies, {name}"] = -jm.example_margins(classifier, X, given, validation=shared)
        scores[f"margins on unseen rows, {name}"] = -jm.example_margins(classifier, X, given, validation=folds)
    scores |= _confident_learning(X, given)
    return {name: float(roc_auc_score(wrong, score)) for name, score in scores.items()}


def _confident_learning(X: np.ndarray, given: np.ndarray) -> dict[str, np.ndarray]:
    """Cleanlab's label quality, where it is installed, of logistic regression's probabilities on unseen rows."""
    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return {}
    scale = np.where(X.std(axis=0) > 0, X.std(axis=0), 1)
    model = LogisticRegression(C=0.01, max_iter=500)
    probabilities = cross_val_predict(
        model, (X - X.mean(axis=0)) / scale, given, cv=5, method="predict_proba", n_jobs=2
    )
    methods = ("self_confidence", "normalized_margin")
    return {f"cleanlab, {m}": -get_label_quality_scores(given, probabilities, method=m) for m in methods}
