"""Similarity measures as their sources write them, for one pair of networks, in plain NumPy.

Tests hold `jaxmem.similarity` to these in double precision; the benchmark `similarity` takes the time of a loop over
pairs.
"""

from collections.abc import Callable, Mapping

import numpy as np


def centred(X: np.ndarray) -> np.ndarray:
    return X - X.mean(axis=0)


def distances(X: np.ndarray) -> np.ndarray:
    squares = (X**2).sum(axis=1)
    found = squares[:, None] + squares[None, :] - 2 * X @ X.T
    np.fill_diagonal(found, 0)
    return np.sqrt(np.maximum(found, 0))


def linear_gram(X: np.ndarray) -> np.ndarray:
    return X @ X.T


def rbf_gram(X: np.ndarray) -> np.ndarray:
    found = distances(centred(X))
    return np.exp(-(found**2) / (2 * np.median(found[np.triu_indices(len(X), 1)]) ** 2))


def hsic_biased(K: np.ndarray, L: np.ndarray) -> float:
    """tr(KHLH), Gretton et al. (2005), but for a factor that cancels in CKA."""
    K, L = ((G - G.mean(axis=0)) - (G - G.mean(axis=0)).mean(axis=1)[:, None] for G in (K, L))
    return float((K * L).sum())


def hsic_unbiased(K: np.ndarray, L: np.ndarray) -> float:
    """Equation 5 of Song et al. (2012)."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    last = 2 / (n - 2) * (K.sum(axis=0) @ L.sum(axis=0))
    return float(((K * L).sum() + K.sum() * L.sum() / ((n - 1) * (n - 2)) - last) / (n * (n - 3)))


def cka(X: np.ndarray, Y: np.ndarray, gram: Callable = linear_gram, hsic: Callable = hsic_unbiased) -> float:
    K, L = gram(X), gram(Y)
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


def rsa(X: np.ndarray, Y: np.ndarray, ranks: Callable = lambda values: values) -> float:
    pairs = np.triu_indices(len(X), 1)
    return float(np.corrcoef(ranks(distances(centred(X))[pairs]), ranks(distances(centred(Y))[pairs]))[0, 1])


def rsa_spearman(X: np.ndarray, Y: np.ndarray) -> float:
    from scipy.stats import rankdata

    return rsa(X, Y, rankdata)


def neighbors(X: np.ndarray, Y: np.ndarray, k: int = 10) -> float:
    def nearest(Z: np.ndarray) -> np.ndarray:
        found = distances(centred(Z))
        np.fill_diagonal(found, np.inf)
        return np.argpartition(found, k, axis=1)[:, :k]

    common = [len(np.intersect1d(a, b)) for a, b in zip(nearest(X), nearest(Y), strict=True)]
    return float(np.mean(common)) / k


def procrustes(X: np.ndarray, Y: np.ndarray) -> float:
    X, Y = centred(X), centred(Y)
    return float(np.linalg.norm(X.T @ Y, "nuc") / (np.linalg.norm(X) * np.linalg.norm(Y)))


def predictivity(X: np.ndarray, Y: np.ndarray, alpha: float = 1e-4) -> float:
    def explained(X: np.ndarray, Y: np.ndarray) -> float:
        penalty = alpha * (X**2).sum() * np.eye(X.shape[1], dtype=X.dtype)
        residual = Y - X @ np.linalg.solve(X.T @ X + penalty, X.T @ Y)
        return 1 - (residual**2).sum() / (Y**2).sum()

    X, Y = centred(X), centred(Y)
    return float(explained(X, Y) + explained(Y, X)) / 2


def _varying(X: np.ndarray) -> np.ndarray:
    X = centred(X)
    return X[:, np.abs(X).max(axis=0) > 0]


def correlations(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    (basis_x, _), (basis_y, _) = np.linalg.qr(X), np.linalg.qr(Y)
    return np.linalg.svd(basis_x.T @ basis_y, compute_uv=False)


def cca(X: np.ndarray, Y: np.ndarray) -> float:
    return float(correlations(_varying(X), _varying(Y)).mean())


def svcca(X: np.ndarray, Y: np.ndarray, variance: float = 0.99) -> float:
    def reduced(Z: np.ndarray) -> np.ndarray:
        left, values, _ = np.linalg.svd(centred(Z), full_matrices=False)
        share = np.cumsum(values**2) / (values**2).sum()
        return (left * values)[:, : np.searchsorted(share, variance) + 1]

    return float(correlations(reduced(X), reduced(Y)).mean())


def pwcca(X: np.ndarray, Y: np.ndarray) -> float:
    """Morcos et al. (2018), section 2.2, with the weights of X and with those of Y, and their mean."""
    X, Y = _varying(X), _varying(Y)
    (basis_x, _), (basis_y, _) = np.linalg.qr(X), np.linalg.qr(Y)
    left, found, right = np.linalg.svd(basis_x.T @ basis_y, full_matrices=False)
    weights_x = np.abs((basis_x @ left).T @ X).sum(axis=1)
    weights_y = np.abs((basis_y @ right.T).T @ Y).sum(axis=1)
    return float((weights_x @ found / weights_x.sum() + weights_y @ found / weights_y.sum()) / 2)


def agreement(X: np.ndarray, Y: np.ndarray) -> float:
    return float((X.argmax(axis=1) == Y.argmax(axis=1)).mean())


def kappa(X: np.ndarray, Y: np.ndarray) -> float:
    a, b = X.argmax(axis=1), Y.argmax(axis=1)
    table = np.zeros((max(X.shape[1], Y.shape[1]),) * 2)
    np.add.at(table, (a, b), 1 / len(a))
    by_chance = table.sum(axis=0) @ table.sum(axis=1)
    return float((np.trace(table) - by_chance) / (1 - by_chance))


def jensen_shannon(X: np.ndarray, Y: np.ndarray) -> float:
    def softmax(Z: np.ndarray) -> np.ndarray:
        powers = np.exp(Z - Z.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def entropy(p: np.ndarray) -> np.ndarray:
        return -(p * np.log2(np.where(p > 0, p, 1))).sum(axis=1)

    p, q = softmax(X), softmax(Y)
    return float((entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2).mean())


def error_overlap(wrong_x: np.ndarray, wrong_y: np.ndarray) -> float:
    return float((wrong_x & wrong_y).sum() / (wrong_x | wrong_y).sum())


TEXTBOOK: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "cka": cka,
    "cka-biased": lambda X, Y: cka(X, Y, hsic=hsic_biased),
    "rbf-cka": lambda X, Y: cka(X, Y, rbf_gram),
    "rbf-cka-biased": lambda X, Y: cka(X, Y, rbf_gram, hsic_biased),
    "rsa": rsa,
    "rsa-spearman": rsa_spearman,
    "neighbors": neighbors,
    "procrustes": procrustes,
    "predictivity": predictivity,
    "cca": cca,
    "svcca": svcca,
    "pwcca": pwcca,
    "agreement": agreement,
    "kappa": kappa,
    "jensen-shannon": jensen_shannon,
    "error-overlap": error_overlap,
}
