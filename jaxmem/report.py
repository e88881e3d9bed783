"""A results folder as one page: `index.html`, with its question, claims, table, figures and configuration."""

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

from jaxmem.studies import Record
from jaxmem.studies.summary import table

__all__ = ["write_report"]

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>jaxmem: {study}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
pre {{ overflow-x: auto; font-size: 0.8rem; line-height: 1.3; }}
img {{ max-width: 100%; background: white; border-radius: 4px; }}
.no {{ font-weight: bold; }}
</style>
</head>
<body>
<h1>{question}</h1>
<h2>What came out</h2>
<ul>
{claims}
</ul>
<p>Intervals are over networks of other seeds, at 95% each, on these test rows; statements that rest on them stand
Holm's correction for there being several, and so does the opposite of those that are marked so.
They hold for these rows, networks, perturbations and shallow classifiers; learning is not generalization, and an
untrained network has a memorization index above zero.</p>
{figures}
<h2>Numbers</h2>
<pre>{table}</pre>
<h2>Configuration</h2>
<pre>{config}</pre>
</body>
</html>
"""


def write_report(record: Record, folder: Path, figures: Iterable[str]) -> Path:
    """Write the page of a results folder, beside its figures, named here, and return its path."""
    claims = "\n".join(
        f"<li>{escape(claim.text)}: {escape(claim.seen)} "
        f"({claim.outcome if claim.holds else f'<span class=no>{claim.outcome}</span>'})</li>"
        for claim in record.claims
    )
    images = "\n".join(f'<p><img src="{name}" alt="{name.removesuffix(".png")}"></p>' for name in figures)
    title, *numbers = table(record.data)
    page = _PAGE.format(
        study=escape(record.study),
        question=escape(record.data.attrs["question"]),
        claims=claims or "<li>This study makes no claims.</li>",
        figures=images,
        table=escape("\n".join([title, *numbers])),
        config=escape(json.dumps(record.config, indent=2)),
    )
    path = folder / "index.html"
    path.write_text(page, encoding="utf-8")
    return path
