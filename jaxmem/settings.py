"""Choices as TOML: dataclasses of plain values, written to a file that people read, and taken from one again.

TOML has no null. None is written as the command line spells it, "None", and read as None where a choice may be None.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from jaxmem.inputs import as_path, one_of

__all__ = ["as_toml", "read_toml", "with_values"]

ChoicesT = TypeVar("ChoicesT")


def as_toml(values: Mapping[str, Any]) -> str:
    """Plain values by name, and tables of such, as TOML."""
    lines: list[str] = []
    _write(values, "", lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _write(values: Mapping[str, Any], table: str, lines: list[str]) -> None:
    # What stands behind the head of a table belongs to it: plain values come first.
    tables = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    lines += [f"{_key(name)} = {_value(value)}" for name, value in values.items() if name not in tables]
    for name, value in tables.items():
        lines += ["", f"[{table}{_key(name)}]"]
        _write(value, f"{table}{_key(name)}.", lines)


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if bare else _value(name)


def _value(value: Any) -> str:
    if value is None:
        return _value("None")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):  # JSON's escapes are TOML's, but for this one.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"[{', '.join(map(_value, value))}]"


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
    """Read a file of TOML.

    Raises:
        ValueError: it cannot be read, or is no TOML.
    """
    path = as_path(path, "config")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ValueError(f"{path} is no TOML: {error}.") from error


def with_values(choices: ChoicesT, values: Mapping[str, Any], where: str) -> ChoicesT:
    """A dataclass of choices with those replaced that a file names; the others stay as they are.

    Args:
        choices: the dataclass; fields that are dataclasses themselves are tables of the file.
        values: what `read_toml` read.
        where: the file, for the messages.

    Raises:
        ValueError: no such choice, or a value of another type than it takes; also what the dataclass itself refuses.
    """
    names = [field.name for field in fields(choices)]  # pyright: ignore[reportArgumentType]
    hints = get_type_hints(type(choices))
    given = {}
    for name, value in values.items():
        one_of(name, names, f"{where}: a name")
        present = getattr(choices, name)
        if is_dataclass(present) and isinstance(value, Mapping):
            given[name] = with_values(present, value, f"{where}: {name}")
        else:
            try:
                given[name] = _as(value, hints[name])
            except TypeError:
                raise ValueError(f"{where}: {name} cannot be {value!r}: it takes {_in_words(hints[name])}.") from None
    try:
        return replace(choices, **given)  # pyright: ignore[reportArgumentType]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _as(value: Any, kind: Any) -> Any:
    """A value of TOML as one of Python's of some type; TypeError if it is none."""
    kind, optional = _without_none(kind)
    if optional and value in (None, "None"):  # JSON has a null.
        return None
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_as(one, get_args(kind)[0]) for one in value)
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind is float and type(value) is int:
        return float(value)
    if kind in (int, float, bool, str) and type(value) is kind:
        return value
    raise TypeError


def _in_words(kind: Any) -> str:
    kind, optional = _without_none(kind)
    if get_origin(kind) is tuple:
        words = f"a list, each {_in_words(get_args(kind)[0])}"
    elif get_origin(kind) is Literal:
        words = f"one of {', '.join(map(repr, get_args(kind)))}"
    else:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}.get(kind, "a table")
    return f'{words}, or "None"' if optional else words


def _without_none(kind: Any) -> tuple[Any, bool]:
    """A type, and whether None may stand for it: of `int | None` the first is `int`."""
    if not (isinstance(kind, UnionType) or get_origin(kind) is Union):
        return kind, False
    return next(one for one in get_args(kind) if one is not NoneType), True
