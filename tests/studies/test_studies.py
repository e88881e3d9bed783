"""Every study runs, tells, draws, saves and is drawn again from its file; on real digits, small."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import xarray

from jaxmem.plots import study_figures
from jaxmem.report import write_report
from jaxmem.studies import STUDIES, Data, Network, Tests, Training, load_record, run
from jaxmem.studies.store import forget
from jaxmem.studies.summary import table

_CHANGES = {
    "strength": {"tests": Tests(perturbations=("shift:1", "shift:3"), n_permutations=19)},
    "layers": {"tests": Tests(layers=(), n_permutations=19), "architectures": ("mlp",)},
    "regularization": {"data": Data(n_train=120, n_validation=100), "dropouts": (0.5,)},
    "capacity": {"network": Network(), "sizes": (4, 8), "depths": (1, 2)},
    "sample-size": {"data": Data(), "sizes": (60, 120)},
    "bridge": {"network": Network(), "seeds": 3, "shares": (1.0,), "dropouts": (0.5,), "sizes": (8,)},
    "classifiers": {"tests": Tests(classifiers=("ridge", "centroid", "knn"), n_permutations=19)},
    "retraining": {"n_retrained": 19},
    "stopping": {"data": Data(n_train=120, n_validation=100), "shares": (0.2, 0.4)},
    "random-labels": {"shares": (0.0, 1.0)},
    "patterns": {"patterns": ("pixel", "patch"), "n_neighbors": 5},
    "per-example": {
        "data": Data(n_train=120, random_labels=0.2),
        "tests": Tests(perturbations=("shift:1",), n_permutations=19),
        "n_members": 20,
        "share": 0.5,
        "n_neighbors": 5,
        "n_probes": 2,
    },
    "dissect": {
        "n_rows": 60,
        "measures": ("cka", "agreement", "error-overlap", "input-gradient"),
        "shares": (),
        "seeds": 3,
    },
    "label-noise": {"random_shares": (0.0, 0.5), "training": Training(epochs=2, keep_epochs=(0, 1, 2))},
}


def small(name):
    config = STUDIES[name].config()
    common = {
        "data": Data(n_train=120),
        "network": replace(config.network, widths=(16, 8)),
        "training": Training(epochs=2, keep_epochs=(0, 2)),
        "tests": Tests(n_permutations=19),
        "seeds": 2,
    }
    changes = common | _CHANGES.get(name, {})
    return replace(config, **{option: value for option, value in changes.items() if hasattr(config, option)})


# By day, `epochs` is run by the tests of the command line.
@pytest.mark.nightly
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_tells_draws_saves_and_is_read_back(name, tmp_path):
    record = run(STUDIES[name], small(name), progress=False, unfinished=tmp_path / "unfinished")
    assert record.claims and all(claim.seen for claim in record.claims)
    lines = record.table().splitlines()
    assert lines[0].startswith(STUDIES[name].question) and any("±" in line for line in lines)
    folder = record.save(tmp_path / "out", figures=study_figures(record))
    forget(tmp_path / "unfinished")
    again = load_record(folder)
    assert again.study == name and again.claims == record.claims
    assert again.config == json.loads(json.dumps(record.config))
    xarray.testing.assert_equal(again.data, record.data)
    assert table(again.data) == table(record.data)
    # Figures and page from the file alone.
    for file, figure in study_figures(again).items():
        assert (folder / file).exists() and figure.axes
    page = write_report(again, folder, study_figures(again)).read_text(encoding="utf-8")
    assert STUDIES[name].question in page and page.count("<li>") == len(record.claims)
    assert page.count("<img") == len(list(folder.glob("*.png")))
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_early_stopping_shows_the_epoch_of_the_lowest_validation_loss():
    from jaxmem.studies.regularization import _with_early_stopping

    rng = np.random.default_rng(0)
    data = xarray.Dataset(
        {
            "observed": (("model", "seed", "epoch"), rng.random((1, 2, 3))),
            "validation_loss": (("model", "seed", "epoch"), [[[0.0, 2.0, 1.0], [0.0, 1.0, 2.0]]]),
        },
        {"model": ["none"], "seed": [0, 1], "epoch": [0, 5, 9]},
    )
    stopped = _with_early_stopping(data)
    own, plain = stopped.observed.sel(model="early stopping"), data.observed.sel(model="none")
    assert stopped.stopped_epoch.values.tolist() == [9, 5]
    for epoch in (5, 9):
        assert own.sel(epoch=epoch, seed=0) == plain.sel(epoch=9, seed=0)
        assert own.sel(epoch=epoch, seed=1) == plain.sel(epoch=5, seed=1)
    np.testing.assert_array_equal(own.sel(epoch=0), plain.sel(epoch=0))


def test_areas_are_those_of_trapezoids_over_the_width():
    from jaxmem.studies.strength import _areas

    heights = [3.0, 1.0, 7.0]
    coordinates = {"kind": ("perturbation", ["a", "a", "b"]), "strength": ("perturbation", [4.0, 2.0, 1.0])}
    data = xarray.Dataset({"memorization": (("seed", "perturbation"), [heights])}, coordinates)
    area = _areas(data).memorization_area
    assert area.area_kind.values.tolist() == ["a"] and area.item() == 2.0


def test_a_folder_without_results_is_said_to_be_one(tmp_path):
    with pytest.raises(ValueError, match="there is no"):
        load_record(tmp_path)
    (tmp_path / "results.nc").write_text("nonsense")
    with pytest.raises(ValueError, match="not the result of a study"):
        load_record(tmp_path)


@pytest.mark.parametrize("name", [name for name in STUDIES if STUDIES[name].varies])
def test_what_a_study_varies_is_not_set_beside_it(name):
    config = STUDIES[name].config()
    others = {str: "cnn", float: 0.25, type(None): 100, tuple: (5,)}
    for choice, instead in STUDIES[name].varies.items():
        part, option = choice.split(".")
        own = getattr(getattr(config, part), option)
        named = {"inputs": "standard-noise", "augment": "shift:1", "layers": ("layer1",), "widths": (5,)}
        other = named.get(option, others[type(own)])
        asked = replace(config, **{part: replace(getattr(config, part), **{option: other})})
        with pytest.raises(ValueError, match=f"varies {option} itself.*see {instead}"):
            run(STUDIES[name], asked, progress=False)
        word = instead.split()[-1]
        assert hasattr(config, word) or word in STUDIES, "it names what there is"


# --- Devices ----------------------------------------------------------------------------------------------------

_CONDUCTED = """
import logging, sys
import jax, numpy as np
from jaxmem.studies import STUDIES, Data, Network, Tests, Training, run

taken = set()
class Noting(logging.Handler):
    def emit(self, record):
        taken.add(getattr(record, "devices", None))

logging.getLogger("jaxmem").setLevel("INFO")
logging.getLogger("jaxmem").addHandler(Noting())
study = STUDIES["epochs"]
config = study.config(
    data=Data(n_train=120),
    network=Network(widths=(16, 8)),
    training=Training(epochs=2, keep_epochs=(0, 2)),
    tests=Tests(perturbations=("shift:1",), n_permutations=19),
    seeds=2,
)
data = run(study, config, progress=False).data
numbers = {name: values.values for name, values in data.items() if values.dtype.kind in "iuf"}
np.savez(sys.argv[1], **numbers, devices=sorted(taken - {None}))
"""


@pytest.mark.nightly
def test_a_study_on_eight_devices_is_that_of_one(tmp_path):
    """Of all that the process has, without being asked."""
    found = {}
    for n_devices in (1, 8):
        file = tmp_path / f"{n_devices}.npz"
        flags = f"--xla_force_host_platform_device_count={n_devices} --xla_backend_optimization_level=0"
        command = [sys.executable, "-c", _CONDUCTED, str(file)]
        ended = subprocess.run(
            command, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        found[n_devices] = dict(np.load(file))
        assert found[n_devices].pop("devices").tolist() == [n_devices]
    assert {"paired_null", "broken_null", "test_null", "learning_pvalue", "memorization_pvalue", "example_scores"} <= (
        found[1].keys()
    )
    for name, values in found[1].items():
        np.testing.assert_array_equal(found[8][name], values, err_msg=name)
