"""Shallow classifiers, each cut in two: what needs no labels, once; what does, for one label vector."""

from jaxmem.classifiers.base import Classifier
from jaxmem.classifiers.knn import KNeighbors
from jaxmem.classifiers.ridge import Ridge

__all__ = ["Classifier", "KNeighbors", "Ridge"]
