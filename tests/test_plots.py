"""Figures show the numbers they are given."""

import numpy as np
import pytest
import xarray

from jaxmem.plots import epochs_figure


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    dims = {
        "classifier": ["ridge", "knn"],
        "epoch": [0, 1, 5],
        "layer": ["input", "layer1"],
        "perturbation": ["shift:2"],
    }
    shape = tuple(map(len, dims.values()))

    def variable(*more):
        return ((*dims, *more), rng.uniform(size=(*shape, *(30 for _ in more))))

    return xarray.Dataset(
        {
            "observed": variable(), "test_observed": variable(),
            "paired_null": variable("permutation"), "broken_null": variable("permutation"),
        },
        dims,
    )  # fmt: skip


def test_one_panel_per_perturbation_and_classifier(data, tmp_path):
    figure = epochs_figure(data)
    assert len(figure.axes) == 2
    assert figure.axes[0].get_title() == "shift:2"
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[1].get_lines()}
    own = data.sel(classifier="knn", layer="layer1", perturbation="shift:2")
    np.testing.assert_array_equal(lines["observed"], own.observed)
    np.testing.assert_allclose(lines["paired null (memorization)"], own.paired_null.mean("permutation"))
    np.testing.assert_allclose(lines["chance (broken null)"], own.broken_null.mean("permutation"))
    figure.savefig(tmp_path / "figure.png")


def test_the_layer_can_be_chosen(data):
    lines = epochs_figure(data, layer="input").axes[0].get_lines()
    np.testing.assert_array_equal(lines[0].get_ydata(), data.observed.sel(classifier="ridge", layer="input").squeeze())
