"""Equations of docstrings, written in plain text there, as mathematics on the pages.

The docstrings say `½ |w|² + C Σ_i max(0, 1 - t_i wᵀx_i)²`, which reads well in an editor. Here that becomes TeX, and
TeX becomes MathML, which browsers draw by themselves: no script is loaded, from nowhere.
"""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

__all__ = ["is_equation", "setup", "tex"]

_RAISED = {"ᵀ": r"\top", "⁻": "-", "¹": "1", "²": "2", "³": "3", "⁴": "4", "°": r"\circ"}
_FUNCTIONS = {"exp", "log", "max", "min", "tr", "diag", "artanh", "P", "KL", "JS"}
# What no code has; and what is made of single letters, numbers and signs alone.
_SIGNS = re.compile("[ᵀ⁻¹²³⁴°½Σαλμπρσδ∩≠⊗·]")
_LETTERS = re.compile(r"(?:[A-Za-z]{1,2}(?:_[A-Za-z]{1,2}|')?(?!\w)|\d+|tr\b|log\b|[-+/=()|,<> ])+")
_TOKENS = re.compile(
    r"""(?P<sqrt>sqrt\()
      | (?P<word>[A-Za-z]{2,}(?:[ ][a-z]{2,})*)
      | _(?P<below>\{[^}]*\}|[A-Za-z0-9]+)
      | (?P<raised>[ᵀ⁻¹²³⁴°]+)
      | (?P<inner><(?=\S)[^<>]+(?<=\S)>)
      | (?P<relation><=|>=|!=)
      | (?P<other>.)""",
    re.VERBOSE,
)
_OTHERS = {
    "Σ": r"\sum ",
    "½": r"\tfrac{1}{2}",
    "·": r"\cdot ",
    "Ŷ": r"\hat{Y}",
    "{": r"\{",
    "}": r"\}",
    "*": r"\ast ",
    "'": r"^{\prime}",
}
_RELATIONS = {"<=": r"\le ", ">=": r"\ge ", "!=": r"\ne "}


def is_equation(text: str) -> bool:
    """Whether what stands between backticks, or alone on a line, is mathematics rather than code or words."""
    letters = _LETTERS.fullmatch(text) and (re.search(r" [-+/=<>]+ ", text) or re.fullmatch(r"\w_\w+", text))
    return bool(_SIGNS.search(text) or letters) and "(m, C)" not in text


def tex(text: str) -> str:
    """An equation of a docstring as TeX."""
    text = text.strip().replace(",   ", r",\qquad ").replace(",  ", r",\quad ")
    return _translated(text).strip()


def _translated(text: str) -> str:
    done, place = [], 0
    while place < len(text):
        if text.startswith((r"\qquad ", r"\quad "), place):
            end = text.index(" ", place) + 1
            done.append(text[place:end])
            place = end
            continue
        token = _TOKENS.match(text, place)
        assert token is not None
        place = token.end()
        kind, found = token.lastgroup, token.group(token.lastgroup or 0)
        if kind == "sqrt":
            end = _closing(text, place)
            done.append(r"\sqrt{" + _translated(text[place:end]) + "}")
            place = end + 1
        elif kind == "word":
            done.append(_words(found, text[: token.start()], text[place:]))
        elif kind == "below":
            done.append("_{" + _translated(found.strip("{}")) + "}")
        elif kind == "raised":
            done.append("^{" + "".join(_RAISED[sign] for sign in found) + "}")
        elif kind == "inner":
            done.append(r"\langle " + _translated(found[1:-1]) + r"\rangle ")
        elif kind == "relation":
            done.append(_RELATIONS[found])
        else:
            done.append(found if found == "Σ" and text[place : place + 1] != "_" else _OTHERS.get(found, found))
    return "".join(done)


def _words(words: str, before: str, after: str) -> str:
    if words in _FUNCTIONS:
        return rf"\operatorname{{{words}}}" + ("" if after.startswith("(") else r"\,")
    if words == "in":
        return r"\in "
    # Letters side by side are a product of matrices, or of numbers below an index.
    if len(words) == 2 and words not in {"AP", "of", "is"}:
        return words
    apart = [re.search(r"\w $", before), re.match(r" [\w|Σ]", after)]
    return (r"\ " if apart[0] else "") + rf"\text{{{words}}}" + (r"\ " if apart[1] else "")


def _closing(text: str, place: int) -> int:
    """Where the parenthesis closes that opened just before."""
    depth = 1
    for end in range(place, len(text)):
        depth += (text[end] == "(") - (text[end] == ")")
        if depth == 0:
            return end
    raise ValueError(f"{text!r} does not close its parentheses.")


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _display(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Let browsers draw mathematics by themselves."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
