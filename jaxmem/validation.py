"""Validation designs: which rows are scored, and with whose labels."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Holdout", "SharedStructure"]


@dataclass(frozen=True, eq=False)
class SharedStructure:
    """Perturbed copies of the training rows, which inherit the labels of their sources, shuffled or not.

    A permutation of the training labels thereby permutes the labels of the copies: permuting the training side
    alone would break the test (Chaibub Neto 2018).

    Args:
        X_val: features of the copies, shape (m, d).
        source: row `j` of `X_val` was made from training row `source[j]`; shape (m,). None: the same rows in the same
            order.
            Several copies of a row are fine.
    """

    X_val: Any
    source: Any = None


@dataclass(frozen=True, eq=False)
class Holdout:
    """Independent rows with labels of their own, which no permutation touches.

    Args:
        X_val: features, shape (m, d).
        y_val: their labels, shape (m,), of classes that the training labels have.
    """

    X_val: Any
    y_val: Any
