"""From null distributions to statements: p-values, how sure a number is, and many tests at once."""

from jaxmem.inference.intervals import (
    Estimate,
    confidence_interval,
    difference_of_pairs,
    hierarchical_interval,
    of_means,
    of_pairs,
    quantile_interval,
)
from jaxmem.inference.multiple import (
    CORRECTIONS,
    JOINT,
    SEPARATE,
    adjusted,
    check_reachable,
    family_pvalues,
    family_statistics,
    single_step,
    step_down,
)
from jaxmem.inference.pvalues import ALTERNATIVES, binomial_pvalue, check_level, mid_pvalue, pvalue
from jaxmem.inference.stopping import BesagClifford, Betting, Course, Rule
from jaxmem.inference.tails import TailFit, tail_pvalue

__all__ = [
    "ALTERNATIVES",
    "CORRECTIONS",
    "JOINT",
    "SEPARATE",
    "BesagClifford",
    "Betting",
    "Course",
    "Estimate",
    "Rule",
    "TailFit",
    "adjusted",
    "binomial_pvalue",
    "check_level",
    "check_reachable",
    "confidence_interval",
    "difference_of_pairs",
    "family_pvalues",
    "family_statistics",
    "hierarchical_interval",
    "mid_pvalue",
    "of_means",
    "of_pairs",
    "pvalue",
    "quantile_interval",
    "single_step",
    "step_down",
    "tail_pvalue",
]
