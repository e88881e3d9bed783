"""The shape of a measure of similarity: what one network needs, once; what a pair of networks needs, for ONE pair.

Of N networks there are N (N - 1) / 2 pairs, so whatever can be done for a network by itself is done once:

    prepare(X)                  -> state   one network: centre, factorise, measure distances between its rows
    compare(a, b)               -> number  ONE pair of states; the library runs it for tiles of pairs under `vmap`
    permute(state, permutation) -> state   what `prepare` makes of `X[permutation]`, without preparing anew

`X` holds a row per example. A state is a pytree of one or more arrays. All three are pure and trace under `jax.jit`,
`prepare` and `compare` under `vmap` too, for small networks are prepared together. `compare` is symmetric, and returns
one number, of shape (). Networks may differ in width: states whose arrays differ in shape are padded with zeros at the
ends, which must not change what `compare` says.

What does not vary is like nothing: features that are constant over the rows carry nothing, and a network of which
nothing else is left has similarity 0 to every other, itself included. So it is for measures of features and for kappa.
For RSA and unbiased CKA, which compare what varies over pairs of rows, rows that are all equally far apart but for
rounding are such a case too, unit vectors say, and for unbiased CKA a single unit that is active in a single row. But
two networks that predict one and the same class for every row agree fully, and two that get every row wrong overlap
fully in their errors.

A measure is a frozen dataclass of its choices, hence hashable, hence a static argument: one compilation per (measure,
shapes). Adding one takes these three functions, its `facts`, and a line in `MEASURES`.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float, Int

__all__ = ["INVARIANCES", "TAKES", "Facts", "Measure"]

TAKES = ("features", "logits", "predictions", "errors", "gradients")
# What may be done to one of the two networks, each for itself, without a measure noticing.
INVARIANCES = ("translation", "scaling", "rotation", "linear map", "dead units", "increasing map")


class Facts(NamedTuple):
    """What one has to know to read a measure.

    Attributes:
        takes: what it compares, a row per example: "features" (n, d); "logits" (n, C); "predictions", logits or class
            numbers (n,); "errors", whether each row is predicted wrongly, booleans (n,); "gradients", a row each too,
            which `jaxmem.nets` computes from the networks themselves.
        low, high: its range.
        larger_is_similar: True for similarities, False for divergences.
        invariances: which of `INVARIANCES` leave it as it is: adding a constant to a feature; multiplying all features
            by one positive number; an orthogonal map of the features; an invertible linear map; features that are
            constant; for logits, an increasing map of every row.
        more_rows_than_features: whether it is near its end for any two networks whose features fill the n - 1
            dimensions that n centred rows have, and is therefore refused there.
        source: who proposed it.

    Example:
        >>> from jaxmem.similarity import MEASURES
        >>> facts = MEASURES["jensen-shannon"].facts
        >>> facts.takes, facts.larger_is_similar
        ('logits', False)
    """

    takes: str
    low: float
    high: float
    larger_is_similar: bool
    invariances: tuple[str, ...]
    more_rows_than_features: bool
    source: str


@runtime_checkable
class Measure(Protocol):
    """What the library asks of a measure of similarity; see the module's docstring.

    Example:
        >>> from jaxmem.similarity import CKA, Measure
        >>> isinstance(CKA("rbf"), Measure)
        True
    """

    @property
    def facts(self) -> Facts:
        """What one has to know to read it."""
        ...

    def prepare(self, X: Float[Array, "n d"]) -> Any:
        """Do all that needs one network alone."""
        ...

    def compare(self, a: Any, b: Any) -> Float[Array, ""]:
        """Compare one pair of networks."""
        ...

    def permute(self, state: Any, permutation: Int[Array, " n"]) -> Any:
        """The state of the same network with its rows in another order."""
        ...
