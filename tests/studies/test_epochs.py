"""The study behind `jaxmem run`, small, on the real digits: what METHOD says must hold, holds."""

import json

import numpy as np
import pytest
import xarray

from jaxmem.studies import epochs
from jaxmem.studies.epochs import Config

SMALL = Config(
    widths=(64, 32),
    epochs=5,
    keep_epochs=(0, 1, 5),
    n_permutations=49,
    perturbations=("gaussian-noise:0.1", "gaussian-noise:0.4"),
)


@pytest.fixture(scope="module")
def record():
    return epochs.run(SMALL, progress=False)


def test_every_null_is_kept_and_labelled(record):
    data = record.data
    assert dict(data.sizes) == {
        "epoch": 3, "layer": 3, "classifier": 2, "perturbation": 2, "permutation": 49, "example": 4_000,
        "training_epoch": 5,
    }  # fmt: skip
    assert data.epoch.values.tolist() == [0, 1, 5]
    assert data.layer.values.tolist() == ["input", "layer1", "layer2"]
    assert data.perturbation.values.tolist() == list(SMALL.perturbations)
    assert all(np.isfinite(data[name]).all() for name in ("observed", "paired_null", "broken_null", "test_null"))


def test_the_independent_test_null_and_the_broken_null_are_centred_on_chance(record):
    assert abs(record.data.test_null.mean("permutation") - 0.1).max() < 0.015
    assert abs(record.data.broken_null.mean("permutation") - 0.1).max() < 0.005


def test_the_paired_null_is_above_chance_after_training_and_falls_with_the_perturbation(record):
    trained = record.data.paired_null.sel(epoch=5, layer="layer2").mean("permutation")
    assert (trained > 0.11).all()
    assert (trained.sel(perturbation="gaussian-noise:0.1") > trained.sel(perturbation="gaussian-noise:0.4")).all()


def test_the_observed_score_stands_far_above_the_null(record):
    trained = record.data.sel(epoch=5, layer="layer2")
    assert (trained.learning_pvalue == 1 / 50).all()
    assert (trained.learning.sel(perturbation="gaussian-noise:0.4") > 0.5).all()


def test_gains_are_measured_from_the_untrained_network_and_from_the_raw_input(record):
    memorization = record.data.memorization
    expected = memorization.values - memorization.sel(epoch=[0]).transpose(*memorization.dims).values
    np.testing.assert_array_equal(record.data.memorization_gain.transpose(*memorization.dims), expected)
    assert (record.data.memorization_gain_over_input.sel(layer="input") == 0).all()


def test_the_raw_input_is_the_same_at_every_epoch(record):
    pixels = record.data.paired_null.sel(layer="input")
    assert (pixels == pixels.sel(epoch=0)).all()


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(record):
    xarray.testing.assert_identical(epochs.run(SMALL, progress=False).data, record.data)
    other = epochs.run(Config(**{**record.config, "seed": 1}), progress=False)
    assert not other.data.observed.equals(record.data.observed)


def test_random_labels_are_recovered_on_copies_but_not_on_test_rows():
    config = Config(labels="random", widths=(256,), epochs=40, keep_epochs=(0, 40), n_permutations=49,
                    perturbations=("gaussian-noise:0.1",), classifiers=("ridge",))  # fmt: skip
    trained = epochs.run(config, progress=False).data.sel(epoch=40, layer="layer1").squeeze()
    assert trained.observed > trained.paired_null.max() + 0.1
    assert abs(trained.test_observed - 0.1) < 0.05


def test_gaussian_noise_inputs_are_learned_all_the_same():
    config = Config(input="gaussian-noise", widths=(128,), epochs=10, keep_epochs=(0, 10), n_permutations=49,
                    perturbations=("gaussian-noise:0.1",), classifiers=("ridge",))  # fmt: skip
    trained = epochs.run(config, progress=False).data.sel(epoch=10, layer="layer1").squeeze()
    assert trained.observed > trained.paired_null.max() + 0.2
    assert abs(trained.test_observed - 0.1) < 0.05


def test_a_saved_record_opens_in_xarray_alone(record, tmp_path):
    folder = record.save(tmp_path / "out")
    with xarray.open_dataset(folder / "results.nc") as opened:
        xarray.testing.assert_equal(opened.load(), record.data)
        assert json.loads(opened.config)["n_permutations"] == 49
    about = json.loads((folder / "config.json").read_text())
    assert about["config"]["widths"] == [64, 32] and "jax" in about["versions"]
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "results.nc"]


def test_a_failing_save_leaves_nothing(record, tmp_path):
    class Broken:
        def savefig(self, *args, **kwargs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record.save(tmp_path / "out", figures={"figure.png": Broken()})
    assert list(tmp_path.iterdir()) == []


def test_force_replaces_the_results_and_nothing_else(record, tmp_path):
    folder = record.save(tmp_path / "out")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"exists.*--force"):
        record.save(folder)
    (folder / "config.json").write_text("old")
    record.save(folder, force=True)
    assert json.loads((folder / "config.json").read_text())["study"] == "epochs"
    assert (folder / "notes.txt").read_text() == "mine"


def test_the_table_has_a_line_for_every_epoch_perturbation_and_classifier(record):
    lines = record.table().splitlines()
    assert len(lines) == 3 + (1 + 3) * 2 * 2
    one = next(line for line in lines if line.startswith("epoch 5") and "knn" in line and "0.4" in line)
    row = record.data.sel(epoch=5, layer="layer2", classifier="knn", perturbation="gaussian-noise:0.4")
    assert f"{row.observed.item():.3f}" in one and f"{row.memorization_gain.item():+.3f}" in one


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"perturbations": ("gausian-noise:0.1",)}, "gaussian-noise"),
        ({"perturbations": ("shift:-1",)}, "pixels is -1"),
        ({"classifiers": ("rigde",)}, "Did you mean 'ridge'"),
        ({"labels": "false"}, "labels must be one of"),
        ({"n_permutations": 0}, "n_permutations"),
        ({"keep_epochs": (1, 2)}, "untrained"),
        ({"widths": ()}, "widths"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_mistaken_configuration_is_refused_at_once(choice, message):
    with pytest.raises(ValueError, match=message):
        Config(**choice)


def test_an_unknown_data_set_is_refused_with_the_nearest_names():
    with pytest.raises(ValueError, match="digits"):
        epochs.run(Config(input="digit"), progress=False)
