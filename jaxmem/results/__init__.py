"""What the tests return: plain frozen records of arrays, which save to one file and load without running any code."""

from jaxmem.results.base import as_saved, key_fields
from jaxmem.results.files import load
from jaxmem.results.memorization import MATCHINGS, MemorizationTest, Verdict, learning_index, memorization_index
from jaxmem.results.permutation import PermutationTest, PermutationTests
from jaxmem.results.similarity import GroupSimilarityTest, SimilarityTest, SimilarityTests

__all__ = [
    "MATCHINGS",
    "GroupSimilarityTest",
    "MemorizationTest",
    "PermutationTest",
    "PermutationTests",
    "SimilarityTest",
    "SimilarityTests",
    "Verdict",
    "as_saved",
    "key_fields",
    "learning_index",
    "load",
    "memorization_index",
]
