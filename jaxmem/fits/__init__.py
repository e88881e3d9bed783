"""One fit of the features under many labellings: a batch of labels in, totals of a metric out.

All kinds are alike from outside: `fit(labels, others, counted) -> Totals`.

* `PreparedFit`: the features are prepared once; a batch of labellings is one compiled program that fits them all and
  scores every view of rows a block at a time.
* `BlockwiseFit`: rows are read a block at a time, in two passes for every batch, or devices share them out; the same
  programs on blocks of them.
* `RefoldedFit`: cross-validation whose folds follow the labels, so that every labelling prepares features of its own.
* `HostFit` and `HostRefoldedFit`: a classifier that JAX knows nothing of, refitted on the host; its scores are
  totalled here.
"""

from jaxmem.fits.base import Fit, Totals, worst
from jaxmem.fits.blockwise import BlockwiseFit
from jaxmem.fits.choice import check_blocks, fits_of, parts_of
from jaxmem.fits.host import HostFit
from jaxmem.fits.prepared import PreparedFit
from jaxmem.fits.refolded import RefoldedFit

__all__ = [
    "BlockwiseFit",
    "Fit",
    "HostFit",
    "PreparedFit",
    "RefoldedFit",
    "Totals",
    "check_blocks",
    "fits_of",
    "parts_of",
    "worst",
]
