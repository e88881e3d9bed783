"""Whole experiments: what is compared, on which rows, and what came out.

Reconstructed from the abstracts and summaries of Chaibub Neto (2018), arXiv:1802.07714, and of Gu & Tresp (2019),
arXiv:1911.09537: every setting here is ours.
"""

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
from jaxmem.studies.experiment import Data, Experiment, Network, Setting, Tests, Training
from jaxmem.studies.records import Record, load_record
from jaxmem.studies.study import Study, run
from jaxmem.studies.summary import Claim, over_seeds

__all__ = [
    "STUDIES",
    "Claim",
    "Data",
    "Experiment",
    "Network",
    "Record",
    "Setting",
    "Study",
    "Tests",
    "Training",
    "load_record",
    "over_seeds",
    "run",
]

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
