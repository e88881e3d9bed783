"""Memorization beside dissimilarity, by hand."""

import numpy as np
import pytest
import xarray
from scipy import stats

from jaxmem.similarity import similarities
from jaxmem.studies import bridge


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


def test_correlations_are_spearmans_of_networks_left_out_in_turn(data):
    found = bridge._jackknifed(data.assign(dissimilarity=bridge._mean_over_pairs(1 - data.pair_similarity)))
    points = {
        "all models and epochs": (data.model.values, range(1, 5)),
        "models at the last epoch": (data.model.values, [4]),
        "random": (["plain", "random 0.5", "random 1"], [4]),
        "epoch": (["plain"], range(1, 5)),
    }
    assert found.along.values.tolist() == list(points)
    for along, (models, epochs) in points.items():
        whole = by_hand(data, [0, 1, 2, 3], models, epochs)
        for left_out in range(4):
            kept = [seed for seed in range(4) if seed != left_out]
            expected = 4 * whole - 3 * by_hand(data, kept, models, epochs)
            seen = found.sel(along=along, seed=left_out, classifier="ridge", measure="cka-biased")
            np.testing.assert_allclose(seen, expected, rtol=1e-6, atol=1e-9)


def test_pairs_of_networks_need_three_of_them():
    with pytest.raises(ValueError, match="seeds is 2"):
        bridge.Config(seeds=2)
    with pytest.raises(ValueError, match="cka"):
        bridge.Config(measures=("ckq",))
