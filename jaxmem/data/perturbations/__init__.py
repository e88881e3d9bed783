"""Perturbed copies of images: what turns a training set into a shared structure validation set."""

import difflib

from jaxmem.data.perturbations.base import Perturbation
from jaxmem.data.perturbations.geometry import Elastic, Rotation, Shift, Zoom
from jaxmem.data.perturbations.pixels import (
    Contrast,
    GaussianNoise,
    PixelDropout,
    SaltAndPepper,
    UniformNoise,
    noisy_features,
)
from jaxmem.data.perturbations.regions import Blur, Cutout, PatchShuffle

__all__ = [
    "PERTURBATIONS",
    "Blur",
    "Contrast",
    "Cutout",
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
    "noisy_features",
    "parse",
]

PERTURBATIONS: dict[str, type[Perturbation]] = {
    kind.name: kind
    for kind in (
        GaussianNoise,
        UniformNoise,
        SaltAndPepper,
        PixelDropout,
        Contrast,
        Shift,
        Rotation,
        Zoom,
        Elastic,
        Blur,
        Cutout,
        PatchShuffle,
    )
}


def parse(label: str) -> Perturbation:
    """The perturbation of a label such as "gaussian-noise:0.1" or "shift:2"; `str` gives the label back.

    Args:
        label: "name:amount", the name one of `PERTURBATIONS`.

    Raises:
        ValueError: for an unknown name, a missing or unreadable amount, or one out of range.

    Example:
        >>> from jaxmem.data import parse
        >>> parse("shift:2")
        Shift(pixels=2)
        >>> str(parse("gaussian-noise:0.1"))
        'gaussian-noise:0.1'
    """
    name, _, amount = label.partition(":")
    if name not in PERTURBATIONS:
        near = difflib.get_close_matches(name, PERTURBATIONS, cutoff=0.5) or list(PERTURBATIONS)
        raise ValueError(
            f"no perturbation is called {name!r}; nearest: {', '.join(near)}, with an amount after a colon."
        )
    kind = PERTURBATIONS[name]
    try:
        value = kind.unit(amount)
    except ValueError:
        kinds = {int: "a whole number", float: "a number"}[kind.unit]
        raise ValueError(
            f"{label!r} has the amount {amount!r}; expected {kinds} after the colon, as in '{name}:1'."
        ) from None
    return kind(value)  # pyright: ignore[reportCallIssue]  every subclass takes its amount
