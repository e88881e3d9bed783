"""A study on the workers of a Dask cluster: the numbers of the study at home."""

import pytest
import xarray

from jaxmem.cli import main
from jaxmem.studies import Data, Network, Tests, Training, epochs, run
from jaxmem.studies.cluster import run_on_dask

SMALL = epochs.Config(
    data=Data(n_train=100),
    network=Network(widths=(8,)),
    training=Training(epochs=1, keep_epochs=(0, 1)),
    tests=Tests(perturbations=("shift:1",), classifiers=("ridge",), n_permutations=9),
    seeds=2,
)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:::distributed")
def test_workers_share_a_study_out_and_its_numbers_are_the_same(tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        unfinished = tmp_path / "unfinished"
        record = run_on_dask(epochs.STUDY, SMALL, address=cluster, progress=False, unfinished=unfinished)
        pieces = {path: path.stat().st_mtime_ns for path in unfinished.glob("*.npz")}
        run_on_dask(epochs.STUDY, SMALL, address=cluster.scheduler_address, progress=False, unfinished=unfinished)
    assert {path: path.stat().st_mtime_ns for path in unfinished.glob("*.npz")} == pieces
    xarray.testing.assert_identical(record.data, run(epochs.STUDY, SMALL, progress=False).data)


def test_a_missing_scheduler_or_package_is_said(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "epochs", "--shard", "1/2", "--dask", "tcp://127.0.0.1:1"]) == 1
    assert "shard and dask are both given" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ValueError, match=r"pip install 'jaxmem\[cluster\]'"):
        run_on_dask(epochs.STUDY, SMALL, address="tcp://127.0.0.1:1")
