"""Docstrings as they stand in the source, as reStructuredText: names become links, and equations equations."""

import importlib
import inspect
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from equations import is_equation, tex
from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring

_ROOMS = (
    "jaxmem",
    "jaxmem.data",
    "jaxmem.inference",
    "jaxmem.metrics",
    "jaxmem.nets",
    "jaxmem.similarity",
    "jaxmem.studies",
)
_PUBLIC = {name: room for room in reversed(_ROOMS) for name in importlib.import_module(room).__all__}
_IN_FULL = {f"{room}.{name}" for name, room in _PUBLIC.items()}
_QUOTED = re.compile(r"(?<![`:\w])`([^`]+)`(?!`)")


def _linked(match: re.Match[str]) -> str:
    """What stands between backticks: a public name, an equation, or code."""
    text = match[1]
    if text in _IN_FULL:
        return f":py:obj:`{text}`"
    name = text.removeprefix("jm.")
    # Small words are arguments and attributes more often than functions.
    if name in _PUBLIC and (text != name or "_" in name or name[0].isupper()):
        return f":py:obj:`{text} <{_PUBLIC[name]}.{name}>`"
    if is_equation(text) and '"' not in text:
        return f":math:`{tex(text)}`"
    return f"``{text}``"


def _rendered(lines: list[str]) -> Iterator[str]:
    """Indented blocks that follow a paragraph are equations, or tables and code that stay as they are."""
    margin, inside = 0, False
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        before = lines[number - 1] if number else ""
        if line.strip() and not before.strip() and number and not inside:
            above = next((one for one in reversed(lines[:number]) if one.strip()), "")
            margin = len(above) - len(above.lstrip())
            starts = indent >= margin + 4 and not line.lstrip().startswith(("-", "*", ">>>"))
            if starts:
                block = _block(lines, number, indent)
                bare = " " * (indent - 4)
                equation = len(block) == 1 and is_equation(line)
                yield from (f"{bare}.. math:: {tex(line)}",) if equation else (f"{bare}.. code-block:: text", "")
                if equation:
                    continue
                inside = True
        if inside and line.strip() and indent <= margin:
            inside = False
        code = inside or line.lstrip().startswith((">>>", "..."))
        yield line if code else _QUOTED.sub(_linked, line)


def _block(lines: list[str], start: int, indent: int) -> list[str]:
    block = []
    for line in lines[start:]:
        if line.strip() and len(line) - len(line.lstrip()) < indent:
            break
        block.append(line)
    return [line for line in block if line.strip()]


def _process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = list(_rendered(lines))


def _process_property(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Napoleon takes what stands before a colon in a property's first line for its type; in a method's it does not."""
    if what == "property":
        text = _rendered(inspect.cleandoc(thing.__doc__).splitlines())
        lines[:] = GoogleDocstring(list(text), app.config, app, "method", name, thing, options).lines()


def _skip(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Fields of a record are described in its docstring, and nowhere else."""
    return None if isinstance(thing, FunctionType | property) else True


def setup(app: Sphinx) -> dict[str, bool]:
    """Take docstrings before anything else reads them."""
    app.connect("autodoc-process-docstring", _process, priority=100)
    app.connect("autodoc-process-docstring", _process_property, priority=900)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
