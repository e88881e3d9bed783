"""Label permutations addressed by index: permutation `b` is a pure function of `(key, b)`.

Nothing else enters: not the batch it is drawn in, not the device, not what was drawn before. A null can
therefore be split, resumed, extended and looked up again. Index 0 is the identity, so the observed labels take the
same path through the same kernels as the shuffled ones.

`plan` chooses the stream for a test: free shuffles (`free`), shuffles within blocks or of whole blocks (`blocks`), or,
where there are few enough, every distinct labelling once (`enumeration`).
"""

from jaxmem.permutations.blocks import Whole, Within
from jaxmem.permutations.enumeration import Enumeration
from jaxmem.permutations.free import EXACT_ROWS, ROUNDS, Shuffles, shuffles
from jaxmem.permutations.schemes import (
    CHOSEN_ROWS,
    REMATCHINGS,
    SCHEMES,
    SECOND_STREAM,
    PermutationPlan,
    Stream,
    n_labelings,
    plan,
    random_stream,
)

__all__ = [
    "CHOSEN_ROWS",
    "EXACT_ROWS",
    "REMATCHINGS",
    "ROUNDS",
    "SCHEMES",
    "SECOND_STREAM",
    "Enumeration",
    "PermutationPlan",
    "Shuffles",
    "Stream",
    "Whole",
    "Within",
    "n_labelings",
    "plan",
    "random_stream",
    "shuffles",
]
