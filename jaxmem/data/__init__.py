"""Data sets, label noise and shared-structure perturbations; knows nothing of the tests built on them."""

from jaxmem.data.arrays import Dataset, stratified_split
from jaxmem.data.noise import class_noise, gaussian_noise_inputs, random_labels, shuffled_pixels
from jaxmem.data.patterns import PATTERNS, Patch, Pattern, Pixel, Prototype, Wave, in_conflict, noise_canvas, stamped
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
    "PATTERNS",
    "PERTURBATIONS",
    "PREPARABLE",
    "Blur",
    "Contrast",
    "Cutout",
    "Dataset",
    "Elastic",
    "GaussianNoise",
    "Patch",
    "PatchShuffle",
    "Pattern",
    "Perturbation",
    "Pixel",
    "PixelDropout",
    "Prototype",
    "Rotation",
    "SaltAndPepper",
    "Shift",
    "UniformNoise",
    "Wave",
    "Zoom",
    "class_noise",
    "gaussian_noise_inputs",
    "in_conflict",
    "load",
    "names",
    "noise_canvas",
    "noisy_features",
    "parse",
    "prepare",
    "random_labels",
    "shuffled_pixels",
    "stamped",
    "stratified_split",
]
