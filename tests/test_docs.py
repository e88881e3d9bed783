"""The pages of the documentation: their code runs, they name all that is public, and no link leads nowhere."""

import doctest
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_docstrings import PUBLIC

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
# What is read where it lies, and not only as a page that Sphinx makes.
TEXTS = [*sorted(ROOT.glob("*.md")), *PAGES, *sorted((ROOT / "notebooks").glob("*.ipynb"))]


@pytest.mark.parametrize("page", [page for page in PAGES if "```pycon" in page.read_text()], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs_as_it_stands(page):
    blocks = re.findall(r"```pycon\n(.*?)```", page.read_text(), re.DOTALL)
    shown = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert not runner.run(shown, out=said.append).failed, "".join(said)


def text_of(page):
    """The Markdown of a page, or of the cells of a notebook."""
    if page.suffix != ".ipynb":
        return page.read_text()
    cells = json.loads(page.read_text())["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def anchors(page):
    """The parts of a page as links name them: headings in small letters, without punctuation, words joined."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def nowhere(text, page):
    """The links and paths of a text that lead to no file of the repository, or to no part of it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        address, _, part = link.partition("#")
        other = page.parent / address if address else page
        if not re.match(r"[a-z]+:", address) and not (other.exists() and (not part or part in anchors(other))):
            yield link
    for path in re.findall(r"`(\.?[\w-]+/[\w./-]*)`", text):
        if not any((folder / path).exists() for folder in (ROOT, ROOT / "jaxmem")):
            yield path


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_links_and_paths_of_a_text_lead_somewhere(page):
    assert not list(nowhere(text_of(page), page))


def test_links_and_paths_that_lead_nowhere_are_found():
    text = "[a](README.md#the-law) [b](CONTRIBUTING.md#the-law) [c](#nothing) [d](no.md) `tests/no.py` `tests/` `nets/`"
    assert list(nowhere(text, ROOT / "CONTRIBUTING.md")) == ["README.md#the-law", "#nothing", "no.md", "tests/no.py"]


def test_the_reference_has_every_public_name_once():
    directives = [
        found
        for page in sorted((DOCS / "reference").glob("*.rst"))
        for found in re.findall(r"^\.\. auto(?:class|function):: (\S+)$", page.read_text(), re.MULTILINE)
    ]
    assert len(set(directives)) == len(directives)
    assert set(directives) == set(PUBLIC)


@pytest.mark.nightly
def test_equations_of_docstrings_become_mathematics():
    sys.path.insert(0, str(DOCS))
    try:
        from equations import is_equation, tex
    finally:
        sys.path.remove(str(DOCS))
    assert tex("½ |w|² + C Σ_i max(0, 1 - t_i wᵀx_i)²") == (
        r"\tfrac{1}{2} |w|^{2} + C \sum _{i} \operatorname{max}(0, 1 - t_{i} w^{\top}x_{i})^{2}"
    )
    assert tex("CKA = <K°, L°> / sqrt(<K°, K°>).") == (
        r"\text{CKA} = \langle K^{\circ}, L^{\circ}\rangle  / \sqrt{\langle K^{\circ}, K^{\circ}\rangle }."
    )
    assert all(map(is_equation, ("(1 + C) / (1 + B)", "S_T", "C - 1", "|XᵀY|_*", "Q = ZT")))
    assert not any(
        map(is_equation, ("X_val", "y", "(n, d)", "fold_in(key, i)", "labels(b)", "0 .. C - 1", "source[j]"))
    )


@pytest.mark.nightly
def test_pages_are_made_without_a_warning_and_all_links_lead_somewhere(tmp_path):
    # Links between pages, to names and to parts of pages are resolved where pages are made: a dead one is a warning.
    run = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", str(DOCS), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    # And once more in what came out, where names of other pages are plain addresses.
    targets = {page: set(re.findall(r'\bid="([^"]+)"', page.read_text())) for page in tmp_path.rglob("*.html")}
    for page in targets:
        for link in re.findall(r'\bhref="([^"]*)"', page.read_text()):
            address, _, part = re.sub(r"\?v=\w+$", "", link).partition("#")
            if re.match(r"[a-z]+:", address) or (not address and not part):
                continue
            other = (page.parent / address).resolve() if address else page
            assert other.exists(), f"{page.name} links to {link}"
            assert not part or other.suffix != ".html" or part in targets[other], f"{page.name} links to {link}"
