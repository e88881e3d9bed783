"""Data sets, label noise and shared-structure perturbations; knows nothing of the tests built on them."""

from jaxmem.data.arrays import Dataset, stratified_split
from jaxmem.data.noise import class_noise, gaussian_noise_inputs, random_labels, shuffled_pixels
from jaxmem.data.perturbations import (
    PERTURBATIONS,
    Blur,
    Contrast,
    Cutout,
    Elastic,
    GaussianNoise,
    PatchShuffle,
    Perturbation,
    PixelDropout,
    Rotation,
    SaltAndPepper,
    Shift,
    UniformNoise,
    Zoom,
    noisy_features,
    parse,
)
from jaxmem.data.preparing import PREPARABLE, prepare
from jaxmem.data.sources import load, names

__all__ = [
    "PERTURBATIONS",
    "PREPARABLE",
    "Blur",
    "Contrast",
    "Cutout",
    "Dataset",
    "Elastic",
    "GaussianNoise",
    "PatchShuffle",
    "Perturbation",
    "PixelDropout",
    "Rotation",
    "SaltAndPepper",
    "Shift",
    "UniformNoise",
    "Zoom",
    "class_noise",
    "gaussian_noise_inputs",
    "load",
    "names",
    "noisy_features",
    "parse",
    "prepare",
    "random_labels",
    "shuffled_pixels",
    "stratified_split",
]
