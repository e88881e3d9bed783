"""Memorization beside dissimilarity, by hand."""

from dataclasses import replace

import numpy as np
import pytest
import xarray
from scipy import stats

from jaxmem.similarity import similarities
from jaxmem.studies import Data, bridge, run


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    models, n, n_epochs = ["plain", "random 0.5", "random 1", "width 8"], 4, 5
    cell = ("model", "seed", "epoch", "layer", "classifier", "perturbation")
    networks = rng.normal(size=(len(models), n_epochs, n, 50, 3))
    tables = [[[similarities(group, "cka-biased")] for group in of_model] for of_model in networks]
    return xarray.Dataset(
        {
            "memorization": (cell, rng.uniform(size=(len(models), n, n_epochs, 2, 1, 2))),
            "pair_similarity": (("model", "epoch", "measure", "seed", "other_seed"), np.array(tables)),
        },
        {
            "model": models,
            "seed": range(n),
            "other_seed": range(n),
            "epoch": range(n_epochs),
            "layer": ["input", "last"],
            "classifier": ["ridge"],
            "measure": ["cka-biased"],
        },
    )


def by_hand(data, kept, models, epochs):
    x, y = [], []
    for model in models:
        for epoch in epochs:
            own = data.sel(model=model, epoch=epoch, classifier="ridge", measure="cka-biased")
            table = own.pair_similarity.transpose("seed", "other_seed").values[np.ix_(kept, kept)]
            y.append((1 - table)[~np.eye(len(kept), dtype=bool)].mean())
            x.append(own.memorization.sel(layer="last", seed=kept).mean())
    return stats.spearmanr(x, y).statistic


def test_correlations_are_spearmans_with_the_jackknifes_errors(data):
    found, errors = bridge._jackknifed(data.assign(dissimilarity=bridge._dissimilarity(data)))
    points = {
        "all models and epochs": (data.model.values, range(1, 5)),
        "models at the last epoch": (data.model.values, [4]),
        "random": (["plain", "random 0.5", "random 1"], [4]),
        "epoch": (["plain"], range(1, 5)),
    }
    assert found.along.values.tolist() == list(points)
    for along, (models, epochs) in points.items():
        where = {"along": along, "classifier": "ridge", "measure": "cka-biased"}
        np.testing.assert_allclose(found.sel(where), by_hand(data, [0, 1, 2, 3], models, epochs), atol=1e-9)
        each = [by_hand(data, [s for s in range(4) if s != out], models, epochs) for out in range(4)]
        expected = np.sqrt(3 / 4 * np.sum((np.array(each) - np.mean(each)) ** 2))
        np.testing.assert_allclose(errors.sel(where), expected, rtol=1e-6, atol=1e-9)


def test_divergences_are_dissimilarities_as_they_are(data):
    divergences = data.assign_coords(measure=["jensen-shannon"])
    pairs = divergences.pair_similarity.where(divergences.seed != divergences.other_seed)
    expected = pairs.mean(["seed", "other_seed"])
    np.testing.assert_allclose(bridge._dissimilarity(divergences).transpose(*expected.dims), expected)


def test_an_order_that_no_network_changes_is_left_open():
    assert bridge._claim("", 1.0, 0.0, 5).outcome == "not shown"
    assert bridge._claim("", 0.9, 0.1, 5).outcome == "holds" and "1.000]" in bridge._claim("", 0.9, 0.1, 5).seen
    assert (
        bridge._claim("", -0.9, 0.1, 5).outcome == "opposite" and bridge._claim("", 0.2, 0.1, 5).outcome == "not shown"
    )


def test_networks_too_wide_for_the_test_rows_are_refused_before_training(monkeypatch):
    monkeypatch.setattr(bridge, "pieces", None)
    data = Data(n_train=100, n_validation=900)
    config = bridge.Config(data=data, sizes=(8, 128), measures=("cka", "procrustes"))
    words = r"'width 128' have 128 features .* 'procrustes' takes 130 test rows, .* are 100"
    with pytest.raises(ValueError, match=words):
        run(bridge.STUDY, config, progress=False)
    bridge._check_widths(replace(config, measures=("cka", "agreement")))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": 2}, "seeds is 2"),
        ({"measures": ("ckq",)}, "cka"),
        ({"measures": ()}, "at least one"),
        ({"measures": ("error-overlap",)}, "errors"),
        ({"measures": ("cka", "cka")}, "once"),
        ({"dropouts": (0.5, 0.5000001)}, "once"),
    ],
)
def test_bad_choices_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        bridge.Config(**changes)
