"""Data sets, label noise and shared-structure perturbations; knows nothing of the tests built on them."""

from jaxmem.data.arrays import Dataset, stratified_split
from jaxmem.data.noise import gaussian_noise_inputs, random_labels
from jaxmem.data.perturb import GaussianNoise, Perturbation, Shift, parse
from jaxmem.data.sources import load, names

__all__ = [
    "Dataset",
    "GaussianNoise",
    "Perturbation",
    "Shift",
    "gaussian_noise_inputs",
    "load",
    "names",
    "parse",
    "random_labels",
    "stratified_split",
]
