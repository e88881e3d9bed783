"""Shallow classifiers under permutation, beside scikit-learn refitted on the same permutations in two jobs.

Both sides score the same labels on the same rows; but for softmax, which stops early on either side, the benchmark
stops if an accuracy differs by more than 0.01.
"""

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

import jaxmem as jm
from benchmarks.measure import gaussian, in_turn


class Peer(NamedTuple):
    """A classifier of ours, its twin, and how many permutations each is timed on; ours on so many by default."""

    ours: Any
    twin: Any
    n_refits: int
    n_permutations: int = 9_999


_SOFTMAX = jm.Softmax(tol=1.5e-2)
PEERS = {
    "ridge": Peer(jm.Ridge(), RidgeClassifier(), 20),
    "lda": Peer(jm.LDA(), LinearDiscriminantAnalysis(), 4),
    "lda, shrinkage 0.1": Peer(jm.LDA(shrinkage=0.1), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1), 8),
    "5 nearest neighbours": Peer(jm.KNeighbors(5), KNeighborsClassifier(5), 8),
    "nearest centroid": Peer(jm.NearestCentroid(), NearestCentroid(), 40),
    "naive Bayes": Peer(jm.GaussianNB(), GaussianNB(), 20),
    # Ours as loose as a loss within 1e-4 of the minimum allows, beside scikit-learn as it comes and as loose as that:
    # the figures say how near each of them comes.
    "softmax": Peer(_SOFTMAX, LogisticRegression(max_iter=1_000), 8, 2_000),
    "softmax, both loose": Peer(_SOFTMAX, LogisticRegression(tol=1e-3, max_iter=1_000), 8, 2_000),
}
SHAPES = {"n=m=4000 d=256 C=10": (4_000, 256, 10), "n=m=300 d=64 C=2": (300, 64, 2)}


def against_scikit_learn(rounds: int = 5) -> dict[str, Any]:
    """Seconds per permutation of both, and their ratio."""
    return {shape: {name: _compare(peer, *SHAPES[shape], rounds) for name, peer in PEERS.items()} for shape in SHAPES}


def _compare(peer: Peer, n: int, d: int, n_classes: int, rounds: int) -> dict[str, float]:
    X, y, X_val = gaussian(n, d, n_classes)

    def ours() -> jm.PermutationTest:
        validation = jm.SharedStructure(X_val)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return jm.permutation_test(
                peer.ours, X, y, validation=validation, n_permutations=peer.n_permutations, progress=False
            )

    result = ours()
    labels = [result.labels(b) for b in range(1, peer.n_refits + 1)]
    # As with permutation_test_score: worker processes that live on, large features mapped into them.
    parallel = Parallel(n_jobs=2)

    def theirs() -> list[float]:
        return parallel(delayed(_refit)(peer.twin, X, X_val, one) for one in labels)

    differences = np.abs(result.null_distribution[: peer.n_refits] - np.array(theirs()))
    if differences.max() > 0.01 and not isinstance(peer.ours, jm.Softmax):
        raise AssertionError(f"{peer.ours!r} and scikit-learn differ by {differences.max():.3f} in accuracy.")
    seconds = in_turn({"ours": ours, "theirs": theirs}, rounds)
    mine, its = seconds["ours"] / peer.n_permutations, seconds["theirs"] / peer.n_refits
    figures = {"ours_ms": 1e3 * mine, "scikit_learn_ms": 1e3 * its, "ratio": its / mine}
    return figures | (_excess_losses(peer, X, labels[0]) if isinstance(peer.ours, jm.Softmax) else {})


def _excess_losses(peer: Peer, X: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How far, relatively, both softmax fits of one labelling stop above the smallest loss."""
    wide = np.column_stack([X, np.ones(len(X))]).astype(float)

    def loss(weights: np.ndarray) -> float:
        scores = wide @ weights.T
        rows = np.logaddexp.reduce(scores, axis=1) - scores[np.arange(len(X)), labels]
        return rows.sum() + 0.5 * (weights[:, :-1] ** 2).sum()

    def theirs(model: Any, X: np.ndarray) -> float:
        fit = model.fit(X, labels)
        weights = np.column_stack([fit.coef_, fit.intercept_])
        # One weight vector of two classes is the difference of two; the penalty is on it.
        return loss(weights) if len(weights) > 1 else _binary_loss(wide, weights[0], labels)

    smallest = theirs(LogisticRegression(tol=1e-10, max_iter=10_000), X.astype(float))
    state = peer.ours.prepare(jnp.asarray(X), labels.max() + 1)
    params = jax.jit(peer.ours.fit)(state, jnp.asarray(labels))
    scores = np.asarray(peer.ours.decision(state, params, peer.ours.rows(state, jnp.asarray(X))), float)
    weights = np.linalg.lstsq(wide, scores, rcond=None)[0].T
    ours = loss(weights) if len(weights) > 2 else _binary_loss(wide, weights[1] - weights[0], labels)
    return {
        "ours_excess_loss": ours / smallest - 1,
        "scikit_learn_excess_loss": theirs(clone(peer.twin), X) / smallest - 1,
    }


def _binary_loss(wide: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> float:
    signed = np.where(labels == 1, 1, -1) * (wide @ weights)
    return np.logaddexp(0, -signed).sum() + 0.5 * (weights[:-1] ** 2).sum()


def _refit(twin: Any, X: np.ndarray, X_val: np.ndarray, labels: np.ndarray) -> float:
    return clone(twin).fit(X, labels).score(X_val, labels)
