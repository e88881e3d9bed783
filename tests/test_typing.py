"""A user's file under the strictest checks can use every public name: none is of a type that is unknown in part."""

import json
import subprocess
import sys

import pytest
from test_docstrings import PUBLIC, ROOMS


@pytest.mark.nightly
def test_strict_users_know_the_type_of_every_public_name(tmp_path):
    lines = [*(f"import {room}" for room in ROOMS), "print(", *(f"    {name}," for name in PUBLIC), ")"]
    (tmp_path / "user.py").write_text("\n".join(lines))
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict", "include": ["user.py"]}))
    run = subprocess.run(
        [sys.executable, "-m", "pyright", "-p", str(tmp_path), "--pythonpath", sys.executable, "--outputjson"],
        capture_output=True,
        text=True,
    )
    report = json.loads(run.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    unknown = {lines[found["range"]["start"]["line"]].strip(" ,"): found for found in report["generalDiagnostics"]}
    assert not unknown, f"partly unknown: {', '.join(unknown)}; first: {next(iter(unknown.values()))['message']}"
