"""Learning told apart from memorization: exact label-permutation tests of features, in JAX."""

from jaxmem.classifiers import LDA, Estimator, GaussianNB, KNeighbors, LinearSVM, NearestCentroid, Ridge, Softmax
from jaxmem.compilation import enable_compilation_cache
from jaxmem.dynamics import LearningDynamics, epochs_to_accuracy, learning_dynamics, prediction_depth
from jaxmem.effects import Comparison, compare_memorization, perturbation_area
from jaxmem.engine import permutation_test
from jaxmem.examples import example_margins
from jaxmem.family import permutation_tests
from jaxmem.inference import BesagClifford, Betting, Estimate, TailFit, hierarchical_interval
from jaxmem.memorization import memorization_test, memorization_tests
from jaxmem.monitor import MemorizationMonitor
from jaxmem.results import (
    GroupSimilarityTest,
    MemorizationTest,
    PermutationTest,
    PermutationTests,
    SimilarityTest,
    SimilarityTests,
    Verdict,
    load,
)
from jaxmem.similarity import (
    group_similarity_test,
    group_similarity_tests,
    pair_similarity,
    similarities,
    similarity_test,
    similarity_tests,
)
from jaxmem.streaming import RowBlocks
from jaxmem.subsets import (
    consistency_scores,
    influence_scores,
    mean_square_influence,
    memorization_scores,
    random_subsets,
)
from jaxmem.validation import Holdout, KFold, Resubstitution, SharedStructure

__version__ = "0.1.0.dev0"

__all__ = [
    "LDA",
    "BesagClifford",
    "Betting",
    "Comparison",
    "Estimate",
    "Estimator",
    "GaussianNB",
    "GroupSimilarityTest",
    "Holdout",
    "KFold",
    "KNeighbors",
    "LearningDynamics",
    "LinearSVM",
    "MemorizationMonitor",
    "MemorizationTest",
    "NearestCentroid",
    "PermutationTest",
    "PermutationTests",
    "Resubstitution",
    "Ridge",
    "RowBlocks",
    "SharedStructure",
    "SimilarityTest",
    "SimilarityTests",
    "Softmax",
    "TailFit",
    "Verdict",
    "compare_memorization",
    "consistency_scores",
    "enable_compilation_cache",
    "epochs_to_accuracy",
    "example_margins",
    "group_similarity_test",
    "group_similarity_tests",
    "hierarchical_interval",
    "influence_scores",
    "learning_dynamics",
    "load",
    "mean_square_influence",
    "memorization_scores",
    "memorization_test",
    "memorization_tests",
    "pair_similarity",
    "permutation_test",
    "permutation_tests",
    "perturbation_area",
    "prediction_depth",
    "random_subsets",
    "similarities",
    "similarity_test",
    "similarity_tests",
]
