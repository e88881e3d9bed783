"""Whole experiments: what is compared, on which rows, and what came out.

Reconstructed from the abstracts and summaries of Chaibub Neto (2018), arXiv:1802.07714, and of Gu & Tresp (2019),
arXiv:1911.09537: every setting here is ours.
"""

from jaxmem.studies.catalogue import STUDIES
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
