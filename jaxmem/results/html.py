"""Results as HTML for notebooks: a small table and the null as a histogram, in whatever colours the page has.

No style sheet, no script, no colour but that of the page's own text: it reads on light and on dark alike. All words are
escaped, for names of tests are the user's.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["facts", "histogram", "listing"]

# A notebook is no place for thousands of rows; `to_dataframe` has them all.
_MOST_ROWS = 30

_CELL = "padding:0.15em 0.8em 0.15em 0;border:0"


def facts(title: str, rows: Sequence[tuple[str, str]], picture: str = "") -> str:
    """A title, and names with their values below each other; a picture beside them.

    Args:
        title: plain text, as all others.
        rows: names and values.
        picture: SVG, as it is.
    """
    body = "".join(
        f'<tr><th scope="row" style="{_CELL};text-align:left;font-weight:normal;opacity:0.7">{escape(name)}</th>'
        f'<td style="{_CELL};text-align:left">{escape(value)}</td></tr>'
        for name, value in rows
    )
    table = f'<table style="border-collapse:collapse;margin:0"><tbody>{body}</tbody></table>'
    return _block(title, f'<div style="display:flex;align-items:center;gap:1em">{table}{picture}</div>')


def listing(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], rejected: Sequence[bool], alpha: float
) -> str:
    """A title and a table of several tests, a line each.

    Args:
        title: plain text, as all others.
        columns: their names; the first column is that of names, all others of numbers.
        rows: the cells, line by line.
        rejected: which hypotheses fall; they stand out.
        alpha: at which level.
    """

    def line(cells: Sequence[str], tag: str, weight: str) -> str:
        aligned = ["left", *["right"] * (len(cells) - 1)]
        styles = [f"{_CELL};text-align:{side};font-weight:{weight}" for side in aligned]
        inner = "".join(f'<{tag} style="{s}">{escape(cell)}</{tag}>' for s, cell in zip(styles, cells, strict=True))
        return f"<tr>{inner}</tr>"

    shown = list(zip(rows, rejected, strict=True))[:_MOST_ROWS]
    body = "".join(line(cells, "td", "bold" if bold else "normal") for cells, bold in shown)
    head = f'<thead style="border-bottom:1px solid currentColor">{line(columns, "th", "normal")}</thead>'
    table = f'<table style="border-collapse:collapse;margin:0">{head}<tbody>{body}</tbody></table>'
    rest = len(rows) - len(shown)
    below = f"Bold: rejected at level {alpha:g}." + (f" {rest} more are in to_dataframe()." if rest else "")
    return _block(title, f'{table}<div style="opacity:0.7">{below}</div>')


def histogram(null: Float[np.ndarray, " B"], statistic: float, n_bins: int = 24) -> str:
    """The null as bars and the observed statistic as a line, 240 x 56 pixels; nothing without finite values.

    Args:
        null: the permuted statistics.
        statistic: the observed one.
        n_bins: how many bars at most.
    """
    values = null[np.isfinite(null)]
    if values.size == 0 or not np.isfinite(statistic):
        return ""
    low, high = min(values.min(), statistic), max(values.max(), statistic)
    reach = (high - low) or 1.0
    counts, edges = np.histogram(values, bins=n_bins, range=(low, low + reach))

    def x(value: Any) -> float:
        return 4 + 232 * float((value - low) / reach)

    bars = "".join(
        f'<rect x="{x(edge):.1f}" y="{50 - height:.1f}" width="{232 / n_bins - 1:.1f}" height="{height:.1f}"/>'
        for edge, height in zip(edges, 44 * counts / counts.max(), strict=False)
        if height
    )
    line = f'<line x1="{x(statistic):.1f}" y1="2" x2="{x(statistic):.1f}" y2="50"/>'
    return (
        '<svg role="img" aria-label="null distribution and observed statistic" width="240" height="56" '
        f'viewBox="0 0 240 56"><g fill="currentColor" opacity="0.4">{bars}</g>'
        f'<g stroke="currentColor" stroke-width="2">{line}</g>'
        '<g stroke="currentColor" opacity="0.6"><line x1="4" y1="50.5" x2="236" y2="50.5"/></g></svg>'
    )


def _block(title: str, inner: str) -> str:
    return f'<div style="font-size:0.9em;line-height:1.4"><div><strong>{escape(title)}</strong></div>{inner}</div>'
