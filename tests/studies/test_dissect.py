"""Groups of networks: what they are trained on, how they are compared, and what must hold of them on real digits."""

from dataclasses import replace

import numpy as np
import pytest

import jaxmem as jm
from jaxmem.plots import study_figures
from jaxmem.studies import Data, Network, Training, dissect, dissection, run
from jaxmem.studies.rows import draw_rows

SMALL = dissect.Config(
    data=Data(n_train=120),
    network=Network(widths=(16, 8)),
    training=Training(epochs=2, keep_epochs=(0, 2)),
    measures=("cka", "jensen-shannon", "error-overlap", "input-gradient"),
    shares=(0.5,),
    n_rows=60,
    seeds=3,
)


@pytest.fixture(scope="module")
def record():
    return run(dissect.STUDY, SMALL, progress=False)


@pytest.fixture(scope="module")
def data(record):
    return record.data


def test_groups_are_trained_on_what_their_names_say():
    y = draw_rows(SMALL, 0).y
    labels = dissect._labellings(SMALL, y)
    assert list(labels) == ["true", "shared random", "different random", "share 0.5"]
    assert all(found.shape == (3, 120) for found in labels.values())
    assert (labels["true"] == y).all()
    assert (labels["shared random"] == labels["shared random"][0]).all()
    assert (labels["shared random"][0] == y).mean() < 0.3
    assert len(np.unique(labels["different random"], axis=0)) == 3
    assert ((labels["share 0.5"] == y).mean(axis=1) >= 0.45).all()
    assert all((np.sort(one) == np.sort(y)).all() for found in labels.values() for one in found)


def test_numbers_are_those_of_the_library(data):
    assert data.layer.values.tolist() == ["layer1", "layer2", "output"]
    groups = data.group_of_network.values
    cell = {"measure": "cka", "rows": "test", "epoch": 2, "layer": "layer2"}
    matrix = data.similarity.sel(cell).values
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-5)
    test = jm.group_similarity_test(matrix, groups, "true", "different random")
    own = data.sel(contrast="true - different random", **cell)
    assert own.difference == pytest.approx(test.statistic) and own.difference_pvalue == test.pvalue
    assert own.difference_pvalue_adjusted >= test.pvalue
    assert own.difference_low == pytest.approx(test.difference().low)
    within = test.within("true")
    assert data.within_mean.sel(group="true", **cell) == pytest.approx(within.value)
    assert data.within_high.sel(group="true", **cell) == pytest.approx(within.high)
    # Divergences are turned: a positive difference says that the first group is more alike.
    cell = {"measure": "jensen-shannon", "rows": "train", "epoch": 2, "layer": "output"}
    within = data.within_mean.sel(cell)
    assert data.difference.sel(contrast="true - untrained", **cell) == pytest.approx(
        float(within.sel(group="untrained") - within.sel(group="true"))
    )


def test_measures_are_there_where_they_mean_something(data):
    there = data.similarity.notnull().all(["network", "other_network", "epoch"])
    assert there.sel(measure="cka").all()
    assert not there.sel(measure="jensen-shannon", layer="layer1").any()
    errors = there.sel(measure="error-overlap", layer="output")
    assert errors.sel(rows=["train", "test"]).all() and not errors.sel(rows="noise").any()
    # The untrained networks are the same at every epoch, and those of other groups began as others.
    untrained = (data.group_of_network == "untrained").values
    block = data.similarity.sel(measure="cka", rows="test", layer="layer1").values[:, untrained][:, :, untrained]
    np.testing.assert_array_equal(block[0], block[1])
    assert not np.allclose(data.similarity.sel(measure="cka", epoch=0, rows="test", layer="layer1"), 1, atol=0.01)


@pytest.mark.nightly
def test_finished_pieces_are_not_computed_again(tmp_path, monkeypatch):
    first = run(dissect.STUDY, SMALL, progress=False, unfinished=tmp_path / "unfinished").data

    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(dissect, "_train", never)
    again = run(dissect.STUDY, SMALL, progress=False, unfinished=tmp_path / "unfinished").data
    np.testing.assert_array_equal(again.similarity, first.similarity)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"measures": ()}, "at least one"),
        ({"measures": ("ckaa",)}, "'cka'"),
        ({"shares": (1.0,)}, "between 0 and 1"),
        ({"seeds": 2}, "fewer than 3"),
        ({"n_rows": 3}, r"'cka' takes 4 rows of each kind, but n_rows is 3. .*--n-rows 4\)"),
        ({"n_rows": 3, "measures": ("input-gradient",)}, "takes 4 rows"),
        ({"n_rows": 11, "measures": ("neighbors",)}, r"'neighbors' takes 12 rows .*--n-rows 12\)"),
    ],
)
def test_bad_choices_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **changes)


def test_too_many_rows_are_refused_before_training():
    with pytest.raises(ValueError, match="n_rows is 500, but there are 120 training rows"):
        run(dissect.STUDY, replace(SMALL, n_rows=500), progress=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"n_rows": 17, "measures": ("procrustes",)},
            r"layer 'layer1' has 16 features, .* takes 18 rows .*--n-rows 18",
        ),
        (
            {"n_rows": 32, "measures": ("cka", "cca")},
            r"layer 'layer1' has 16 features, .*--n-rows 33.*--measures cka\)",
        ),
        ({"n_rows": 9, "measures": ("predictivity",), "layers": ("layer2",)}, "layer 'layer2' has 8 features"),
        ({"layers": ("layer9",)}, "each of layers must be one of 'layer1', 'layer2'"),
    ],
)
def test_layers_too_wide_for_a_measure_are_refused_before_training(changes, words, monkeypatch):
    def never(*_):
        raise AssertionError("trained")

    monkeypatch.setattr(dissect, "_train", never)
    with pytest.raises(ValueError, match=words):
        run(dissect.STUDY, replace(SMALL, **changes), progress=False)


def test_rows_that_are_just_enough_and_the_defaults_pass():
    dissect._check_widths(replace(SMALL, n_rows=18, measures=("procrustes", "predictivity")))
    dissect._check_widths(replace(SMALL, n_rows=33, measures=("cca", "pwcca")))
    dissect._check_widths(dissect.Config())
    replace(SMALL, n_rows=12, measures=("neighbors",))
    images = replace(SMALL, network=Network("cnn"), measures=("procrustes",))
    with pytest.raises(ValueError, match="--pool"):
        dissect._check_widths(images)
    dissect._check_widths(replace(images, pool=True, n_rows=200))


# Errors in common grow with their number, whatever was learnt.
_MEASURES = tuple(name for name in dissection.FACTS if name != "error-overlap")


@pytest.mark.nightly
def test_one_way_to_learn_and_many_ways_to_memorize():
    """1,000 digits, four networks a group, trained until random labels are known by heart."""
    config = dissect.Config(
        network=Network(widths=(128, 64)),
        training=Training(epochs=60, keep_epochs=(0, 60)),
        measures=_MEASURES,
        shares=(),
        n_rows=400,
        layers=("layer2",),
        seeds=4,
    )
    record = run(dissect.STUDY, config, progress=False)
    last = record.data.sel(epoch=60)
    assert (last.network_train_accuracy.sel(network=last.group_of_network != "untrained") > 0.99).all()
    within = last.within_mean
    for measure in _MEASURES:
        layer = dissection.shown_layer(last, measure)
        sign = 1 if dissection.FACTS[measure].larger_is_similar else -1
        true, shared, different = (
            sign * float(within.sel(measure=measure, layer=layer, rows="test", group=group))
            for group in ("true", "shared random", "different random")
        )
        # Mean CCA counts directions of next to no variance like all others, and hardly tells the first two apart.
        assert (measure == "cca" or true > shared) and min(true, shared) > different, (measure, true, shared, different)
        if measure in ("cka", "procrustes", "agreement"):
            assert true > shared + 0.05 > different + 0.1, (measure, true, shared, different)
    agreement = within.sel(measure="agreement", layer="output")
    assert agreement.sel(rows="train", group="shared random") > 0.99
    assert agreement.sel(rows="train", group="different random") < 0.2
    assert agreement.sel(rows="test", group="shared random") < 0.8
    assert abs(agreement.sel(rows="test", group="different random") - 0.1) < 0.05
    assert [claim.text for claim in record.claims if not claim.holds] in (
        [],
        ["true > shared random on test rows (cca, layer2)"],
    )


def test_every_measure_is_drawn_and_gradients_are_those_of_the_networks(record, data):
    assert set(study_figures(record)) == {"heatmaps.png", "map.png", "similarity.png"}
    gradients = data.similarity.sel(measure="input-gradient", layer="output")
    assert gradients.sel(rows=["train", "test"]).notnull().all() and gradients.sel(rows="noise").isnull().all()
    assert data.similarity.sel(measure="input-gradient", layer="layer1").isnull().all()
    untrained = gradients.sel(rows="test", epoch=2).values[-3:, -3:]
    np.testing.assert_allclose(np.diag(untrained), 1, rtol=1e-5)
    assert abs(untrained[0, 1]) < 0.5 and not np.allclose(gradients.sel(rows="test"), gradients.sel(rows="train"))
