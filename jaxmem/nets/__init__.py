"""Flax networks, their training and their features; knows nothing of the tests built on them."""

from jaxmem.nets.curvature import input_curvature
from jaxmem.nets.ensemble import TrainedEnsemble, ensemble_logits, train_ensemble
from jaxmem.nets.features import features, layer_names, layer_widths, logits
from jaxmem.nets.gradients import gini, gradient_coherence, gradient_cosines, gradient_norms, gradients
from jaxmem.nets.models import ACTIVATIONS, CNN, MLP, NETWORKS, ResNet, ViT, network
from jaxmem.nets.train import History, TrainConfig, Trained, train

__all__ = [
    "ACTIVATIONS",
    "CNN",
    "MLP",
    "NETWORKS",
    "History",
    "ResNet",
    "TrainConfig",
    "Trained",
    "TrainedEnsemble",
    "ViT",
    "ensemble_logits",
    "features",
    "gini",
    "gradient_coherence",
    "gradient_cosines",
    "gradient_norms",
    "gradients",
    "input_curvature",
    "layer_names",
    "layer_widths",
    "logits",
    "network",
    "train",
    "train_ensemble",
]
