"""Comparisons between networks: of their representations, and of what they compute in the end.

Reconstructed from the abstract of Gu & Tresp (2019), "Neural Network Memorization Dissection", arXiv:1911.09537, who
compare what networks have learned with what they have memorized. Which similarity they take is not known: here are
several, each with its source, and tests of them, which are ours.
"""

from jaxmem.similarity.base import INVARIANCES, Facts, Measure
from jaxmem.similarity.cca import CCA, PWCCA, SVCCA
from jaxmem.similarity.cka import CKA
from jaxmem.similarity.functions import Agreement, ErrorOverlap, JensenShannon, Kappa
from jaxmem.similarity.groups import group_similarity_test, group_similarity_tests
from jaxmem.similarity.matching import similarity_test, similarity_tests
from jaxmem.similarity.measures import GRADIENT_FACTS, MEASURES, fewest_rows, measure_by_name
from jaxmem.similarity.neighbors import NeighborOverlap
from jaxmem.similarity.pairs import pair_similarity, similarities
from jaxmem.similarity.predictivity import LinearPredictivity
from jaxmem.similarity.procrustes import Procrustes
from jaxmem.similarity.rsa import RSA
from jaxmem.similarity.scaling import classical_scaling, square_distance

__all__ = [
    "CCA",
    "CKA",
    "GRADIENT_FACTS",
    "INVARIANCES",
    "MEASURES",
    "PWCCA",
    "RSA",
    "SVCCA",
    "Agreement",
    "ErrorOverlap",
    "Facts",
    "JensenShannon",
    "Kappa",
    "LinearPredictivity",
    "Measure",
    "NeighborOverlap",
    "Procrustes",
    "classical_scaling",
    "fewest_rows",
    "group_similarity_test",
    "group_similarity_tests",
    "measure_by_name",
    "pair_similarity",
    "similarities",
    "similarity_test",
    "similarity_tests",
    "square_distance",
]
