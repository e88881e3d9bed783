"""Flax networks, their training and their features; knows nothing of the tests built on them."""

from jaxmem.nets.ensemble import TrainedEnsemble, train_ensemble
from jaxmem.nets.features import features, logits
from jaxmem.nets.models import MLP
from jaxmem.nets.train import History, TrainConfig, Trained, train

__all__ = [
    "MLP",
    "History",
    "TrainConfig",
    "Trained",
    "TrainedEnsemble",
    "features",
    "logits",
    "train",
    "train_ensemble",
]
