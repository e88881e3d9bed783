"""All studies by name."""

from jaxmem.studies import (
    bridge,
    capacity,
    classifiers,
    dissect,
    epochs,
    label_noise,
    layers,
    noise_inputs,
    patterns,
    per_example,
    random_labels,
    regularization,
    retraining,
    sample_size,
    stopping,
    strength,
)

__all__ = ["STUDIES"]

_MODULES = (
    epochs,
    strength,
    layers,
    noise_inputs,
    random_labels,
    label_noise,
    regularization,
    capacity,
    sample_size,
    classifiers,
    retraining,
    stopping,
    dissect,
    bridge,
    patterns,
    per_example,
)
STUDIES = {module.STUDY.name: module.STUDY for module in _MODULES}
