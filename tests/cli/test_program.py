"""The command line as a user meets it: real processes, real files."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
import xarray

from jaxmem.cli import main, program
from jaxmem.cli.commands import COMMANDS
from jaxmem.data import load
from jaxmem.studies import STUDIES, Record

QUICK = [
    "run", "--n-train", "100", "--seeds", "2", "--widths", "16", "--epochs", "1", "--n-permutations", "9",
    "--perturbations", "shift:1", "--quiet",
]  # fmt: skip
OUTCOMES = {"holds", "opposite", "not shown"}


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "widths", "dropout", "epochs", "learning-rate", "weight-decay", "random-labels", "inputs {images,",
        "perturbations", "classifiers", "n-permutations", "seed", "seeds", "output", "force", "architecture {mlp,cnn,",
    ):  # fmt: skip
        assert f"--{option}" in text, option


@pytest.mark.parametrize("command", [*COMMANDS, *(f"study {name}" for name in STUDIES)])
def test_help_is_in_words_that_can_be_typed(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0 and "{None}" not in text and "─ setting" not in text
    assert not re.findall(r"`[a-z]+_[a-z_]+`", text)


def test_without_a_command_all_are_named(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2 and "Expected one of {run, test, study," in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["datasets"], ["study", "epochs", "--help"]])
def test_a_reader_that_has_ended_is_no_mistake(arguments, monkeypatch, capfd):
    """`jaxmem datasets | head -0`: nothing is said of it, not even as Python ends."""
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "argv", ["jaxmem", *arguments])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with open(writer, "w") as out, monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "stdout", out)
        program()
    assert ended.value.code == 141 and capfd.readouterr().err == ""


def test_run_writes_the_results_and_prints_the_table(tmp_path, capsys):
    output = tmp_path / "deep" / "out"
    assert main([*QUICK[:-1], "--output", str(output)]) == 0
    files = ["config.toml", "epochs.png", "index.html", "indices.png", "results.nc"]
    assert sorted(path.name for path in output.iterdir()) == files
    assert sorted(path.name for path in output.parent.iterdir()) == ["out"]
    text = capsys.readouterr().out
    assert "ridge" in text and "±" in text and "holds] on independent test rows" in text
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
        (["--dataset", "digts"], "digits"),
        (["--seed", "-1"], "seed"),
        (["--n-train", "60", "--seeds", "1", "--epochs", "1", "--layers", "bogus"], "layer1"),
        (["--n-permutations", "0"], "--n-permutations must be"),
        (["--n-train", "19"], "--n-train is 19"),
        (["--output", "/dev/null/out"], "/dev/null/out"),
        (["--epocks", "3"], "--epochs"),
        (["--epochs", "x"], "--epochs"),
        (
            ["--random-labels", "0.1", "--confused-labels", "0.1"],
            "--random-labels and --confused-labels are both given",
        ),
        (["--config", "nothing.toml"], "nothing.toml cannot be read"),
    ],
)
def test_a_mistake_is_said_clearly_and_leaves_nothing(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["run", *arguments])
    except SystemExit as ended:  # How tyro ends on arguments that it cannot read.
        code = ended.code
    error = capsys.readouterr().err
    assert code in (1, 2) and words in error and "Traceback" not in error and "dummy" not in error
    assert list(tmp_path.iterdir()) == []


def test_shards_are_merged_to_the_whole_study(tmp_path, capsys):
    study, whole = ["study", "epochs", *QUICK[1:]], tmp_path / "whole"
    assert main([*study, "--output", str(whole)]) == 0
    assert main([*study, "--shard", "1/2", "--output", str(tmp_path / "part")]) == 0
    shards = [tmp_path / f"part-{number}-of-2" for number in (1, 2)]
    assert main(["merge", str(shards[0]), "--output", str(tmp_path / "merged")]) == 1
    assert "shards 2/2 are missing" in capsys.readouterr().err
    assert main([*study, "--shard", "2/2", "--output", str(tmp_path / "part")]) == 0
    assert main(["merge", *map(str, shards), "--output", str(tmp_path / "merged"), "--quiet"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "merged", *(shard.name for shard in shards)}
    assert (tmp_path / "merged/config.toml").read_text() == (whole / "config.toml").read_text()
    with xarray.open_dataset(whole / "results.nc") as one, xarray.open_dataset(tmp_path / "merged/results.nc") as two:
        xarray.testing.assert_identical(one, two)
    again = [*study, "--shard", "2/2", "--output", str(tmp_path / "part"), "--quiet"]
    assert main(again) == 1
    assert main([*again, "--force"]) == 0
    (shards[1] / "about.json").unlink()
    assert main([*again, "--force"]) == 1
    assert "is no shard of a study" in capsys.readouterr().err
    assert main([*study, "--shard", "3/2"]) == 1
    assert "shard must be a number and how many there are" in capsys.readouterr().err


def test_an_option_that_a_study_varies_is_refused(capsys, tmp_path):
    output = tmp_path / "out"
    assert main(["study", "regularization", "--weight-decay", "0.1", "--output", str(output)]) == 1
    assert "varies --weight-decay itself: leave it out, and see --weight-decays" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("sent", "seconds", "code"), [(signal.SIGINT, 1, 130), (signal.SIGTERM, 5, 143)])
def test_an_interrupted_run_can_go_on(sent, seconds, code, tmp_path):
    load("digits")  # Prepared beforehand: third parties make errors of their own of an interrupt.
    output, unfinished = tmp_path / "out", tmp_path / ".out-unfinished"
    # `python -m jaxmem`, but for Ctrl-C, which a shell's background job, `pytest &`, ignores and hands down.
    module = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('jaxmem', run_name='__main__')"
    )
    command = [sys.executable, "-c", module, "run", "--n-permutations", "100000", "--output", str(output)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ))
    try:
        deadline = time.monotonic() + 120
        while not unfinished.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)  # Until then the program is still being loaded.
        time.sleep(seconds)
        # Python drops what a signal raises while it collects garbage, where JAX has a callback: who sees nothing
        # happen presses Ctrl-C again.
        errors = b""
        for patience in (30, 30, 120):
            process.send_signal(sent)
            with suppress(subprocess.TimeoutExpired):
                _, errors = process.communicate(timeout=patience)
                break
    finally:
        process.kill()
    assert process.returncode == code, errors.decode()
    assert b"the same command goes on" in errors
    assert not output.exists()
    assert {path.name for path in tmp_path.iterdir()} <= {".out-unfinished"}


@pytest.mark.nightly
def test_a_study_is_chosen_by_name_and_reported_again(tmp_path, capsys):
    output = tmp_path / "out"
    assert main(["study", "sample-size", "--sizes", "60", "100", *QUICK[3:], "--output", str(output)]) == 0
    (output / "indices.png").unlink()
    (output / "index.html").unlink()
    assert main(["report", str(output)]) == 0
    assert capsys.readouterr().out.strip() == str(output / "index.html")
    assert (output / "indices.png").exists() and "60 rows" in (output / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [(["study", "stregnth"], "'strength'"), (["studdy"], "'study'"), (["reports"], "'report'")],
)
def test_what_is_unknown_is_told_the_nearest(arguments, nearest, capsys):
    assert main(arguments) == 1
    assert f"Did you mean {nearest}?" in capsys.readouterr().err


def test_a_run_is_repeated_by_its_configuration_and_told_as_json(tmp_path, capsys):
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    assert main([*QUICK, "--seed", "3", "--output", str(first)]) == 0
    capsys.readouterr()
    config = ["--config", str(first / "config.toml")]
    assert main(["study", "epochs", *config, "--json", "--output", str(again)]) == 0
    assert (again / "config.toml").read_text() == (first / "config.toml").read_text()
    with xarray.open_dataset(first / "results.nc") as one, xarray.open_dataset(again / "results.nc") as two:
        xarray.testing.assert_equal(one, two)
    said = json.loads(capsys.readouterr().out)
    assert said["study"] == "epochs" and said["folder"] == str(again) and "results.nc" in said["files"]
    assert {"epoch", "classifier", "observed", "learning", "p"} <= said["numbers"][0].keys()
    assert len(said["numbers"]) == 2 * 2 and {claim["outcome"] for claim in said["claims"]} <= OUTCOMES
    # Report tells the same, from the file alone; an option beside the file counts.
    assert main(["report", str(again), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["numbers"] == said["numbers"] and report["page"] == str(again / "index.html")
    assert main([*QUICK, *config, "--seed", "4", "--output", str(other)]) == 0
    assert "seed = 4" in (other / "config.toml").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("command = 'study layers'", "is a configuration of `jaxmem study layers`, not of `jaxmem study epochs`"),
        ("sede = 1", "Did you mean 'seed'"),
        ("seeds = 'two'", "seeds cannot be 'two': it takes a whole number"),
        ("[tests]\nclassifiers = ['knm']", "config.toml: tests: classifiers must be one of"),
        ("[tests]\nn_permutations = 0", "config.toml: tests: n_permutations must be an integer"),
        ("[data]\nn_trian = 100", "Did you mean 'n_train'"),
        ("[data]\nn_train = 19", "jaxmem: n_train is 19"),
        ("seeds == 1", "is no TOML"),
        ("versions = 'new'", "versions cannot be 'new': leave them out"),
    ],
)
def test_a_configuration_that_cannot_be_run_is_refused(text, words, tmp_path, capsys):
    (tmp_path / "config.toml").write_text(text)
    assert main(["run", "--config", str(tmp_path / "config.toml"), "--output", str(tmp_path / "run")]) == 1
    assert words in capsys.readouterr().err


def test_what_was_typed_beside_a_configuration_is_told_as_typed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("[data]\nn_train = 100")
    assert main(["run", "--config=config.toml", "--n-train", "19"]) == 1
    assert "jaxmem: --n-train is 19" in capsys.readouterr().err
    assert main(["study", "--config", "config.toml", "epochs", "--n-train", "19"]) == 1
    assert "jaxmem: --n-train is 19" in capsys.readouterr().err
    (tmp_path / "config.toml").write_text("[data]\nn_train = 'x'")
    assert main(["run", "--config=config.toml", "--n-train", "19"]) == 1
    assert "config.toml: data: n_train cannot be 'x'" in capsys.readouterr().err


def test_other_versions_than_a_configuration_was_written_with_are_told(tmp_path, capsys):
    (tmp_path / "config.toml").write_text("seed = -1\n[versions]\njax = '0.0.1'")
    assert main(["run", "--config", str(tmp_path / "config.toml")]) == 1  # For the seed: nothing is run here.
    assert "was written with jax 0.0.1 (here" in capsys.readouterr().err


def test_results_of_a_newer_version_are_refused(tmp_path, capsys):
    data = xarray.Dataset(attrs={"study": '"epochs"', "config": "{}", "versions": "{}", "format": "2"})
    data.to_netcdf(tmp_path / "results.nc", engine="h5netcdf")
    assert main(["report", str(tmp_path)]) == 1
    assert "has format 2, but this jaxmem reads up to 1: upgrade" in capsys.readouterr().err


def test_results_of_a_study_that_is_unknown_here_are_refused(tmp_path, capsys):
    folder = Record("mine", config={}, data=xarray.Dataset()).save(tmp_path / "mine")
    assert main(["report", str(folder)]) == 1
    assert "the study of the record must be one of 'epochs'" in capsys.readouterr().err
    assert not (folder / "index.html").exists()


@pytest.mark.nightly
def test_a_run_that_was_killed_goes_on(tmp_path):
    """A real process, killed without warning; the second one finds what the first has done and ends with the same."""
    command = [sys.executable, "-m", "jaxmem", *QUICK, "--epochs", "4", "--keep-epochs", "0", "1", "2", "3", "4"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, "--output", str(whole)], check=True)
    process = subprocess.Popen([*command, "--output", str(killed)])
    unfinished = tmp_path / ".killed-unfinished"
    deadline = time.monotonic() + 120
    while not list(unfinished.glob("*.npz")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    pieces = len(list(unfinished.glob("*.npz")))
    assert pieces and not killed.exists()
    subprocess.run([*command, "--output", str(killed)], check=True)
    assert not unfinished.exists()
    with xarray.open_dataset(whole / "results.nc") as one, xarray.open_dataset(killed / "results.nc") as other:
        xarray.testing.assert_equal(one, other)


def test_unfinished_work_of_another_command_is_not_mixed_in(tmp_path, capsys):
    (tmp_path / ".out-unfinished").mkdir()
    (tmp_path / ".out-unfinished" / "about.json").write_text('{"study": "layers"}')
    assert main([*QUICK, "--output", str(tmp_path / "out")]) == 1
    assert "unfinished work" in capsys.readouterr().err


def test_data_sets_are_listed(capsys, tmp_path):
    assert main(["datasets", "--data-dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "ready: digits" in text and "fashion_mnist" in text
    assert main(["datasets", "--data-dir", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ready"] == ["digits"]
    assert main(["prepare", "nothing", "--data-dir", str(tmp_path)]) == 1
    assert "cannot be prepared" in capsys.readouterr().err


@pytest.mark.nightly
def test_dissect_writes_what_report_draws_again(tmp_path, capsys):
    output = tmp_path / "out"
    options = ["--n-train", "120", "--widths", "16", "8", "--epochs", "1", "--n-rows", "60", "--seeds", "3"]
    assert main(["dissect", *options, "--measures", "cka", "agreement", "--output", str(output)]) == 0
    assert "true > shared random on test rows (cka, layer2)" in capsys.readouterr().out
    (output / "map.png").unlink()
    assert main(["report", str(output)]) == 0
    assert (output / "map.png").exists() and "one way to learn" in (output / "index.html").read_text()
