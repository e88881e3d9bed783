"""The notebooks as they are kept: executed from top to bottom, with their outputs and pictures, and of no one machine.

That they still run is checked by executing them (`pytest --nbmake notebooks`).
"""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
COLAB = "https://colab.research.google.com"
BADGE = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({COLAB}/"
MACHINE = r"/(?:home|root|tmp|usr|opt|work|var|Users)/\S*|site-packages\S*|[A-Z]:\\\\\S*"
INSTALL = 'if importlib.util.find_spec("jaxmem") is None:\n    %pip install -q jaxmem'

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def outputs(path):
    return [output for cell in cells(path, "code") for output in cell["outputs"]]


def test_a_notebook_begins_with_a_title_a_badge_and_what_a_fresh_machine_lacks(path):
    title, _, badge, *_ = "".join(cells(path, "markdown")[0]["source"]).split("\n")
    assert title.startswith("# ") and badge.startswith(BADGE)
    first = "".join(cells(path, "code")[0]["source"])
    assert first.endswith(INSTALL)
    assert first == "".join(cells(NOTEBOOKS[0], "code")[0]["source"]), "the same first cell in all of them"


def test_all_cells_were_executed_in_order(path):
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not any("execution" in cell["metadata"] for cell in code), "times of execution make every run a change"


def test_outputs_and_pictures_are_kept_and_nothing_went_wrong(path):
    kept = outputs(path)
    assert any("image/png" in output.get("data", {}) for output in kept)
    assert not [output for output in kept if output["output_type"] == "error" or output.get("name") == "stderr"]


def test_a_notebook_knows_no_machine(path):
    for output in outputs(path):
        written = {kind: text for kind, text in output.get("data", {}).items() if kind != "image/png"}
        assert not re.findall(MACHINE, json.dumps([written, output.get("text", "")]))


def test_the_readme_lists_it(path):
    assert f"(notebooks/{path.name})" in (ROOT / "README.md").read_text()
