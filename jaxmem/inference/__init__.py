"""From null distributions to statements: p-values, how sure a number is, and many tests at once."""

from jaxmem.inference.intervals import confidence_interval
from jaxmem.inference.multiple import (
    CORRECTIONS,
    JOINT,
    SEPARATE,
    adjusted,
    check_reachable,
    family_statistics,
    jointly_adjusted,
)
from jaxmem.inference.pvalues import ALTERNATIVES, mid_pvalue, pvalue
from jaxmem.inference.stopping import BesagClifford, Betting, Course, Rule

__all__ = [
    "ALTERNATIVES",
    "CORRECTIONS",
    "JOINT",
    "SEPARATE",
    "BesagClifford",
    "Betting",
    "Course",
    "Rule",
    "adjusted",
    "check_reachable",
    "confidence_interval",
    "family_statistics",
    "jointly_adjusted",
    "mid_pvalue",
    "pvalue",
]
