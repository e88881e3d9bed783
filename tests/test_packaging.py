"""What is built installs in a clean environment of every Python, with the oldest and the newest of what it needs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
FIRST_TEST = """
import numpy as np, jaxmem as jm
y = np.repeat([0, 1], 20)
X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
test = jm.permutation_test(jm.Ridge(), X, y, validation=jm.KFold(4), n_permutations=99)
assert test.pvalue == 0.01, test
print(jm.__file__)
"""
# What depends most on the versions of others: files, keys, networks, optimisers, labelled arrays, devices.
EXAMPLES = "load or permutation_tests or memorization_tests or ensemble or gradients or similarity_test or Record"


def run(*command, **keywords):
    # The flags are for the XLA that runs these tests, and another one may not know them.
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "XLA_FLAGS")}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=clean, **keywords)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def works(python):
    return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


def uv(*command, **keywords):
    return run(sys.executable, "-m", "uv", "--quiet", *command, **keywords)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the source distribution, so that this is whole, too."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--out-dir", folder, ROOT)
    assert len(list(folder.glob("*.tar.gz"))) == 1
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture
def environment(tmp_path):
    """Makes a clean environment, and says which Python is its own; skips where the machine has no such Python."""

    def make(version):
        # On the path or among those of pyenv, whose shims are on the path and may lead nowhere.
        installed = [f"python{version}", *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
        found = next((each for each in installed if shutil.which(each) and works(each)), None)
        if found is None:
            pytest.skip(f"there is no Python {version} here")
        uv("venv", "--python", found, tmp_path / "venv")
        return tmp_path / "venv" / "bin" / "python"

    return make


def first_test(python, folder):
    """Where a test ran, with every warning an error, and no source of jaxmem within reach."""
    return run(python, "-W", "error", "-c", FIRST_TEST, cwd=folder)


def examples(python, folder):
    (folder / "tests").symlink_to(ROOT / "tests")
    (folder / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    run(python, "-m", "pytest", "-q", "-n", "0", "tests/test_docstrings.py", "-k", EXAMPLES, cwd=folder)


@pytest.mark.nightly
@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_works_in_a_clean_environment(wheel, environment, version, tmp_path):
    python = environment(version)
    uv("pip", "install", "--python", python, wheel)
    assert str(tmp_path) in first_test(python, tmp_path)
    assert "study" in run(python, "-m", "jaxmem", "--help", cwd=tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("version, resolution", [("3.11", "lowest-direct"), ("3.13", "highest")])
def test_the_oldest_and_the_newest_of_what_it_needs_will_do(wheel, environment, version, resolution, tmp_path):
    python = environment(version)
    needed = ["--requirements", ROOT / "pyproject.toml", "--extra", "test", "--resolution", resolution]
    uv("pip", "install", "--python", python, *needed)
    uv("pip", "install", "--python", python, "--no-deps", wheel)
    assert str(tmp_path) in first_test(python, tmp_path)
    examples(python, tmp_path)
