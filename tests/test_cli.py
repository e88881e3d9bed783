"""The command line as a user meets it: real processes, real files."""

import os
import signal
import subprocess
import sys
import time

import pytest
import xarray

from jaxmem.cli import main
from jaxmem.data import load

QUICK = ["run", "--widths", "16", "--epochs", "1", "--n-permutations", "9", "--perturbations", "shift:1", "--quiet"]


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "widths", "dropout", "epochs", "learning-rate", "weight-decay", "labels {true,random}", "input",
        "perturbations", "classifiers", "n-permutations", "seed", "output", "force",
    ):  # fmt: skip
        assert f"--{option}" in text, option


def test_run_writes_the_results_and_prints_the_table(tmp_path, capsys):
    output = tmp_path / "deep" / "out"
    assert main([*QUICK[:-1], "--output", str(output)]) == 0
    assert sorted(path.name for path in output.iterdir()) == ["config.json", "epochs.png", "results.nc"]
    assert "shift:1" in capsys.readouterr().out
    with xarray.open_dataset(output / "results.nc") as data:
        assert data.paired_null.sizes["permutation"] == 9


def test_an_existing_folder_is_not_overwritten_without_force(tmp_path, capsys):
    assert main([*QUICK, "--output", str(tmp_path)]) == 1
    assert "--force" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main([*QUICK, "--output", str(tmp_path), "--force"]) == 0
    assert (tmp_path / "results.nc").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--perturbations", "shfit:2"], "nearest: shift"),
        (["--classifiers", "knm"], "mean 'knn'"),
        (["--input", "digts"], "digits"),
        (["--n-permutations", "0"], "n_permutations"),
        (["--output", "/dev/null/out"], "/dev/null/out"),
        (["--epocks", "3"], "--epochs"),
    ],
)
def test_a_mistake_is_said_clearly_and_leaves_nothing(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["run", *arguments])
    except SystemExit as ended:  # How tyro ends on arguments that it cannot read.
        code = ended.code
    error = capsys.readouterr().err
    assert code in (1, 2) and words in error and "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seconds", [4, 9])
def test_an_interrupted_run_leaves_nothing_behind(seconds, tmp_path):
    load("digits")  # Prepared beforehand: third parties make errors of their own of an interrupt.
    output = tmp_path / "out"
    # `python -m jaxmem`, but for Ctrl-C, which a shell's background job, `pytest &`, ignores and hands down.
    module = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('jaxmem', run_name='__main__')"
    )
    command = [sys.executable, "-c", module, "run", "--n-permutations", "100000", "--output", str(output)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ))
    try:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, errors.decode()
    assert b"interrupted" in errors
    assert list(tmp_path.iterdir()) == []
