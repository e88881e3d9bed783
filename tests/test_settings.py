"""Choices go to TOML and come back as they were; what is no choice is refused."""

import tomllib
from dataclasses import asdict, dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmem.settings import as_toml, read_toml, with_values

SCALARS = st.integers() | st.booleans() | st.floats(allow_nan=False) | st.text()
TREES = st.dictionaries(
    st.text(), SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(), SCALARS, max_size=3), max_size=4
)


@dataclass(frozen=True)
class Inner:
    widths: tuple[int, ...] | None = None
    rate: float = 0.5


@dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    kind: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ("x",)
    many: bool = False
    n: int | None = 3

    def __post_init__(self):
        if self.n == 0:
            raise ValueError("n must not be 0.")


@given(TREES)
def test_whatever_is_written_is_read_by_pythons_reader(values):
    assert tomllib.loads(as_toml(values)) == values


@pytest.mark.parametrize(
    "choices", [Outer(), Outer(Inner((1, 2), 1e-300), "b", (), True, None), Outer(names=('"\\\n', "é\x7f"), n=-1)]
)
def test_choices_come_back_as_they_were(choices, tmp_path):
    path = tmp_path / "choices.toml"
    path.write_text(as_toml(asdict(choices)), encoding="utf-8")
    assert with_values(Outer(), read_toml(path), "choices.toml") == choices


def test_what_a_file_does_not_name_stays():
    assert with_values(Outer(n=9), {"inner": {"rate": 1}}, "file") == Outer(Inner(rate=1.0), n=9)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"nmaes": []}, "file: a name must be one of .* Did you mean 'names'"),
        ({"inner": {"width": [1]}}, "file: inner: a name must be one of .*'widths'"),
        ({"inner": 3}, "inner cannot be 3: it takes a table"),
        ({"kind": "c"}, "kind cannot be 'c': it takes one of 'a', 'b'"),
        ({"names": "x"}, "names cannot be 'x': it takes a list, each a string"),
        ({"many": 1}, "many cannot be 1: it takes true or false"),
        ({"n": True}, 'n cannot be True: it takes a whole number, or "None"'),
        ({"n": 0}, "file: n must not be 0"),
    ],
)
def test_what_is_no_choice_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        with_values(Outer(), values, "file")
