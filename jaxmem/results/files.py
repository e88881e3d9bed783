"""Results read back from their files, without running any code in them."""

import os
from typing import Any

from jaxmem.archives import read_archive
from jaxmem.inference import BesagClifford, Betting
from jaxmem.results.base import DIAGNOSTIC, FORMAT
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


def load(path: str | os.PathLike) -> Any:
    """Read a result that `save` wrote; no code in the file is run.

    Raises:
        ValueError: not such a file, or one of a newer version of jaxmem.
    """
    types = {kind.__name__: kind for kind in _TYPES}
    what = "result that jaxmem saved"
    arrays, header = read_archive(path, what)
    try:
        version = header.pop("jaxmem")
        if version <= FORMAT:
            kind = types[header.pop("type")]
            if (rule := header.get("stopping")) is not None:
                rules = {rule.__name__: rule for rule in (BesagClifford, Betting)}
                header["stopping"] = rules[rule.pop("rule")](**rule)
            names = [name for name in arrays if name.startswith(DIAGNOSTIC)]
            values: dict[str, Any] = arrays | header
            if names:
                values["diagnostics"] = {name.removeprefix(DIAGNOSTIC): values.pop(name) for name in names}
            return kind(**values)
    except Exception as error:
        raise ValueError(f"{path} is no {what}: {error!r}.") from error
    raise ValueError(f"{path} has format {version}, but this jaxmem reads up to {FORMAT}: upgrade jaxmem.")
