"""One fit of the features under many labellings: a batch of labels in, totals of a metric out.

All kinds are alike from outside: `fit(labels, others, counted) -> Totals`.

* `PreparedFit`: the features are prepared once; a batch of labellings is one compiled program that fits them all and
  scores every view of rows a block at a time.
* `RefoldedFit`: cross-validation whose folds follow the labels, so that every labelling prepares features of its own.
* `HostFit` and `HostRefoldedFit`: a classifier that JAX knows nothing of, refitted on the host; its scores are
  totalled here.
"""

from jaxmem.fits.base import Fit, Totals, worst
from jaxmem.fits.host import HostFit, HostRefoldedFit
from jaxmem.fits.prepared import PreparedFit
from jaxmem.fits.refolded import RefoldedFit

__all__ = ["Fit", "HostFit", "HostRefoldedFit", "PreparedFit", "RefoldedFit", "Totals", "worst"]
