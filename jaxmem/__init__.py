"""Learning told apart from memorization: exact label-permutation tests of features, in JAX."""

from jaxmem.classifiers import KNeighbors, Ridge
from jaxmem.engine import permutation_test
from jaxmem.memorization import memorization_test, memorization_tests
from jaxmem.results import MemorizationTest, PermutationTest, load
from jaxmem.validation import Holdout, SharedStructure

__version__ = "0.1.0.dev0"

__all__ = [
    "Holdout",
    "KNeighbors",
    "MemorizationTest",
    "PermutationTest",
    "Ridge",
    "SharedStructure",
    "load",
    "memorization_test",
    "memorization_tests",
    "permutation_test",
]
