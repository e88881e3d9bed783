"""Results read back from their files, without running any code in them."""

import os
from dataclasses import fields
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from jaxtyping import jaxtyped

from jaxmem.archives import read_archive, why
from jaxmem.inference import BesagClifford, Betting
from jaxmem.inputs import one_of
from jaxmem.results.base import DIAGNOSTIC, FORMAT, Saved
from jaxmem.results.memorization import MemorizationTest
from jaxmem.results.permutation import PermutationTest, PermutationTests
from jaxmem.results.similarity import GroupSimilarityTest, SimilarityTest, SimilarityTests

__all__ = ["load"]

_TYPES = (
    PermutationTest,
    PermutationTests,
    MemorizationTest,
    SimilarityTest,
    GroupSimilarityTest,
    SimilarityTests,
)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a result that `save` wrote; no code in the file is run.

    Raises:
        ValueError: not such a file, a damaged one, or one of a newer version of jaxmem.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> test = jm.permutation_test(jm.Ridge(), X, y, validation=jm.KFold(4), n_permutations=99)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     test.save(f"{folder}/test.npz")
        ...     again = jm.load(f"{folder}/test.npz")
        >>> np.array_equal(again.null_distribution, test.null_distribution)
        True
    """
    types = {kind.__name__: kind for kind in _TYPES}
    what = "result that jaxmem saved"
    arrays, header = read_archive(path, what)
    try:
        if "jaxmem" not in header:
            raise ValueError("it holds something else, the checkpoint of a test say")
        version = header.pop("jaxmem")
        if version <= FORMAT:
            kind = types[one_of(header.pop("type"), types, "its type")]
            if (rule := header.get("stopping")) is not None:
                rules = {rule.__name__: rule for rule in (BesagClifford, Betting)}
                header["stopping"] = rules[rule.pop("rule")](**rule)
            names = [name for name in arrays if name.startswith(DIAGNOSTIC)]
            values: dict[str, Any] = arrays | header
            if names:
                values["diagnostics"] = {name.removeprefix(DIAGNOSTIC): values.pop(name) for name in names}
            return _checked(kind(**values))
    except Exception as error:
        raise ValueError(f"{path} is no {what}: {why(error)}.") from error
    raise ValueError(f"{path} has format {version}, but this jaxmem reads up to {FORMAT}: upgrade jaxmem.")


def _checked(result: Saved) -> Saved:
    """A result whose fields are of the types, and the shapes, that its class declares: anything may stand in a file."""
    hints = get_type_hints(type(result))
    with jaxtyped("context"):  # One size for each letter.
        for field in fields(result):
            value = getattr(result, field.name)
            if not _is(value, hints[field.name]):
                raise ValueError(f"{field.name} is {str(value)[:80]}")
    return result


def _is(value: Any, hint: Any) -> bool:
    if isinstance(hint, UnionType) or get_origin(hint) is Union:
        return any(_is(value, one) for one in get_args(hint))
    # NumPy's and jaxtyping's types, or what dict[str, ...] is of; True is no number.
    return isinstance(value, get_origin(hint) or hint) and not (isinstance(value, bool) and hint is int)
