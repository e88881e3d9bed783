"""Experiments on real digits: every null is kept and labelled, nothing is computed twice, a killed one goes on."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import jaxmem as jm
from jaxmem.nets import features
from jaxmem.studies import Data, Experiment, Network, Tests, Training, conduct
from jaxmem.studies.networks import train_networks
from jaxmem.studies.rows import COPIES, NETWORK, PERMUTATIONS, draw_rows, key_for
from jaxmem.studies.shards import complete
from jaxmem.studies.store import Store
from jaxmem.studies.study import comparison

SMALL = Experiment(
    data=Data(n_train=200),
    network=Network(widths=(16, 8)),
    training=Training(epochs=2, keep_epochs=(0, 2)),
    tests=Tests(n_permutations=19),
    seeds=2,
)


def conducted(models, store=None):
    measure, store = comparison(lambda _: models), store or Store()
    complete(lambda: measure.pieces(SMALL, store, False), store, progress=False)
    return measure.label(SMALL, store)


@pytest.fixture(scope="module")
def data():
    return conducted({"mlp": SMALL})


def test_every_null_is_kept_and_labelled(data):
    assert dict(data.sizes) == {
        "model": 1, "seed": 2, "epoch": 2, "layer": 2, "classifier": 2, "perturbation": 2, "permutation": 19,
        "example": 200, "training_epoch": 2,
    }  # fmt: skip
    assert data.layer.values.tolist() == ["input", "last"] and data.epoch.values.tolist() == [0, 2]
    assert data.kind.values.tolist() == ["gaussian-noise", "shift"] and data.strength.values.tolist() == [0.2, 2.0]
    for name in ("observed", "paired_null", "broken_null", "test_null", "example_scores", "training_loss"):
        assert np.isfinite(data[name]).all(), name


def test_kinds_and_strengths_become_dimensions_where_they_are_wanted(data):
    grid = data.set_index(perturbation=("kind", "strength")).unstack("perturbation")
    assert grid.sizes["kind"] == grid.sizes["strength"] == 2
    cell = data.observed.sel(perturbation="shift:2").drop_vars(["perturbation", "kind", "strength"])
    xarray.testing.assert_equal(grid.observed.sel(kind="shift", strength=2.0, drop=True), cell)
    assert grid.observed.sel(kind="shift", strength=0.2).isnull().all()


def test_a_cell_is_the_memorization_test_of_the_networks_features(data):
    """Put together by hand from the public functions."""
    rows = draw_rows(SMALL, 1)
    X, y = (np.stack([getattr(draw_rows(SMALL, seed), name) for seed in range(2)]) for name in ("X", "y"))
    keys = jnp.stack([key_for(SMALL, NETWORK, seed) for seed in range(2)])
    model = train_networks(SMALL, X, y, keys).member(1).at(2)
    by_hand = jm.memorization_test(
        jm.KNeighbors(1),
        features(model, rows.X)["layer2"],
        rows.y,
        jm.SharedStructure(features(model, rows.copies["shift:2"])["layer2"]),
        test=jm.Holdout(features(model, rows.X_test)["layer2"], rows.y_test),
        n_permutations=19,
        key=key_for(SMALL, PERMUTATIONS),
    )
    cell = data.sel(model="mlp", seed=1, epoch=2, layer="last", classifier="knn", perturbation="shift:2")
    np.testing.assert_array_equal(cell.paired_null, by_hand.null_distribution)
    np.testing.assert_array_equal(cell.test_null, by_hand.test_null_distribution)
    assert cell.observed == by_hand.statistic and cell.memorization_pvalue == by_hand.memorization_pvalue


def test_gains_are_measured_from_the_untrained_network_and_from_the_raw_input(data):
    memorization = data.memorization
    gain = (memorization - memorization.sel(epoch=0, drop=True)).transpose(*data.memorization_gain.dims)
    np.testing.assert_array_equal(data.memorization_gain, gain)
    assert (data.memorization_gain_over_input.sel(layer="input") == 0).all()
    pixels = data.paired_null.sel(layer="input")
    assert (pixels == pixels.sel(epoch=0)).all() and not pixels.sel(seed=0).equals(pixels.sel(seed=1))


@pytest.mark.nightly
def test_the_raw_inputs_of_all_seeds_share_one_fit_where_the_rows_are_the_same():
    """And the copies of each seed get the scores that they would get on their own."""
    whole = replace(SMALL, data=Data(), tests=replace(SMALL.tests, classifiers=("knn",), n_permutations=3))
    rows = [draw_rows(whole, seed) for seed in range(2)]
    assert np.shares_memory(rows[0].X, rows[1].X)
    together = conduct._of_inputs(whole, rows)
    alone = conduct._of_inputs(whole, rows[1:])
    for name in together:
        np.testing.assert_array_equal(together[name][1], alone[name][0], err_msg=name)


def test_what_experiments_share_is_computed_once(monkeypatch):
    tested = []
    original = conduct._tested
    monkeypatch.setattr(conduct, "_tested", lambda *args: tested.append(1) or original(*args))
    decayed = replace(SMALL, training=replace(SMALL.training, weight_decay=0.1))
    dropped = replace(SMALL, network=replace(SMALL.network, dropout=0.5))
    together = conducted({"a": SMALL, "b": decayed, "c": dropped})
    # Raw inputs of two seeds (whose rows differ), untrained networks of two seeds, and trained ones of each model.
    assert len(tested) == 2 + 2 + 3 * 2
    differs = (together.observed != together.observed.sel(model="a")).any(
        ["model", "seed", "classifier", "perturbation"]
    )
    assert not differs.sel(epoch=0).any() and not differs.sel(layer="input").any()
    assert differs.sel(epoch=2, layer="last")


def test_a_study_that_is_killed_goes_on_and_ends_with_the_same_numbers(tmp_path, data, monkeypatch):
    original, calls = conduct._of_network, []

    def dies(*args):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(1)
        return original(*args)

    monkeypatch.setattr(conduct, "_of_network", dies)
    with pytest.raises(KeyboardInterrupt):
        conducted({"mlp": SMALL}, Store(tmp_path))
    calls.clear()
    monkeypatch.setattr(conduct, "_of_network", lambda *args: calls.append(1) or original(*args))
    xarray.testing.assert_identical(conducted({"mlp": SMALL}, Store(tmp_path)), data)
    assert len(calls) == 1


def test_another_seed_gives_other_numbers(data):
    other = conducted({"mlp": replace(SMALL, seed=1)})
    assert not other.observed.equals(data.observed)


@pytest.mark.parametrize("inputs", ["standard-noise", "matched-noise", "shuffled-pixels", "shuffled-each"])
def test_other_inputs_take_the_place_of_images(inputs):
    images = draw_rows(SMALL, 0)
    rows = draw_rows(replace(SMALL, data=replace(SMALL.data, inputs=inputs)), 0)
    assert rows.X.shape == images.X.shape and not np.array_equal(rows.X, images.X)
    np.testing.assert_array_equal(rows.y, images.y)
    if inputs.startswith("shuffled"):
        for own, other in ((rows.X, images.X), (rows.X_test, images.X_test)):
            np.testing.assert_array_equal(*(np.sort(x.reshape(len(x), -1), axis=1) for x in (own, other)))
    if inputs == "shuffled-pixels":  # One shuffle for training and test rows.
        columns = [np.concatenate([each.X, each.X_test]).reshape(1_200, -1) for each in (rows, images)]
        np.testing.assert_array_equal(*(np.unique(x, axis=1, return_counts=True)[1] for x in columns))
        np.testing.assert_array_equal(*(np.unique(x, axis=1) for x in columns))
    if inputs == "standard-noise":
        assert abs(rows.X.mean()) < 0.02 and abs(rows.X.std() - 1) < 0.02
    if inputs == "matched-noise":
        assert abs(rows.X.mean() - images.X.mean()) < 0.01 and abs(rows.X_test.std() - images.X_test.std()) < 0.01


def test_labels_are_made_wrong_by_the_share_that_is_asked_for():
    shuffled = draw_rows(replace(SMALL, data=replace(SMALL.data, random_labels=0.5)), 0)
    assert 0.35 < (shuffled.y != shuffled.y_true).mean() <= 0.5
    np.testing.assert_array_equal(np.bincount(shuffled.y), np.bincount(shuffled.y_true))
    confused = draw_rows(replace(SMALL, data=replace(SMALL.data, confused_labels=0.3)), 0)
    wrong = confused.y != confused.y_true
    assert 0.2 < wrong.mean() < 0.4
    np.testing.assert_array_equal(confused.y[wrong], (confused.y_true[wrong] + 1) % 10)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": Data(n_train=19)}, "choose 20 to 4000"),
        ({"data": Data(n_train=4_001)}, "choose 20 to 4000"),
        ({"data": Data(n_validation=1_000)}, "some must remain"),
        ({"data": Data(n_validation=5)}, "n_validation is 5 .* of every one of the 10 classes"),
        ({"tests": replace(SMALL.tests, layers=("layer9",))}, "layer9"),
        ({"tests": replace(SMALL.tests, perturbations=("shift:40",))}, "40"),
        ({"network": Network("vit", widths=(16, 8))}, "widths"),
    ],
)
def test_what_the_last_of_several_models_cannot_do_is_said_before_the_first_is_trained(changes, words, monkeypatch):
    monkeypatch.setattr(conduct, "train_networks", lambda *_: pytest.fail("trained"))
    with pytest.raises(ValueError, match=words):
        conducted({"good": SMALL, "bad": replace(SMALL, **changes)})


def test_validation_rows_are_test_rows_set_apart_with_the_classes_proportions():
    whole = draw_rows(replace(SMALL, data=Data()), 0)
    rows = draw_rows(replace(SMALL, data=Data(n_validation=300)), 0)
    both = np.concatenate([rows.X_validation, rows.X_test]).reshape(1_000, -1)
    everything = whole.X_test.reshape(1_000, -1)
    np.testing.assert_array_equal(both[np.lexsort(both.T)], everything[np.lexsort(everything.T)])
    shares = np.bincount(whole.y_test) * 0.3
    assert (abs(np.bincount(rows.y_validation) - shares) < 1).all() and len(rows.y_validation) == 300
    # The same ones for every network, and what remains in its order.
    np.testing.assert_array_equal(rows.X_test, draw_rows(replace(SMALL, data=Data(n_validation=300)), 1).X_test)


def test_training_that_blows_up_is_said_with_its_epoch():
    wild = replace(SMALL, training=Training(epochs=2, keep_epochs=(0, 2), learning_rate=1e30))
    with pytest.raises(ValueError, match="epoch 1"):
        conducted({"mlp": wild})


def test_copies_of_a_seed_are_its_own():
    first, second = draw_rows(SMALL, 0), draw_rows(replace(SMALL, data=Data()), 1)
    assert not np.array_equal(first.copies["gaussian-noise:0.2"][:5], second.copies["gaussian-noise:0.2"][:5])
    assert key_for(SMALL, COPIES, 0) != key_for(SMALL, COPIES, 1)
