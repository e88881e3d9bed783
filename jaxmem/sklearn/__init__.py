"""scikit-learn's `permutation_test_score`, with jaxmem's engine beneath: the same call, the same numbers."""

try:
    import sklearn  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'jaxmem.sklearn needs scikit-learn 1.7 or newer: pip install "jaxmem[sklearn]", or pip install scikit-learn.'
    ) from error

from jaxmem.sklearn.permutation import permutation_test_score

__all__ = ["permutation_test_score"]
