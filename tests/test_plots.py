"""Figures of studies show the numbers they are given."""

import json

import numpy as np
import pytest
import xarray

from jaxmem.plots import (
    conflicts_figure,
    epochs_figure,
    indices_figure,
    label_noise_figure,
    layer_maps_figure,
    learning_order_figure,
    retraining_figure,
    scores_figure,
    similarity_heatmap,
    similarity_map,
    stopping_figure,
    study_figures,
)
from jaxmem.studies import Record

_CELL = ("model", "seed", "epoch", "layer", "classifier", "perturbation")


def numbers(axis="epoch"):
    rng = np.random.default_rng(0)
    coordinates = {
        "model": ["a", "b"],
        "seed": [0, 1, 2],
        "epoch": [0, 1, 5],
        "layer": ["input", "layer1"],
        "classifier": ["ridge", "knn"],
        "perturbation": ["shift:2", "shift:1", "blur:1"],
        "kind": ("perturbation", ["shift", "shift", "blur"]),
        "strength": ("perturbation", [2.0, 1.0, 1.0]),
    }
    shape = [len(coordinates[name]) for name in _CELL]

    def variable(dims, *more):
        return (dims, rng.uniform(size=(*shape[: len(dims) - len(more)], *more)))

    data = {name: variable(_CELL) for name in ("observed", "learning", "memorization")}
    data |= {name: variable(_CELL) for name in ("memorization_gain", "memorization_gain_over_input")}
    data |= {name: variable((*_CELL, "permutation"), 30) for name in ("paired_null", "broken_null")}
    data["test_observed"] = variable(_CELL[:-1])
    networks = ("wrong_labels_as_given", "wrong_labels_as_true", "network_test_accuracy")
    data |= {name: variable(_CELL[:3]) for name in networks}
    return xarray.Dataset(data, coordinates, {"axis": axis, "question": "What?", "claims": json.dumps([])})


def means(panel):
    """Heights by label of everything drawn with error bars."""
    return {bars.get_label(): bars[0].get_ydata() for bars in panel.containers}


def test_epochs_have_one_panel_per_perturbation_and_classifier(tmp_path):
    data = numbers()
    figure = epochs_figure(data, model="b")
    assert len(figure.axes) == 6 and figure.axes[0].get_title() == "shift:2"
    panel = figure.axes[3]
    own = data.sel(model="b", classifier="knn", layer="layer1", perturbation="shift:2")
    np.testing.assert_allclose(means(panel)["observed"], own.observed.mean("seed"))
    lines = {line.get_label(): line.get_ydata() for line in panel.get_lines()}
    np.testing.assert_allclose(lines["paired null (memorization)"], own.paired_null.mean(["seed", "permutation"]))
    figure.savefig(tmp_path / "figure.png")


def test_maps_have_a_cell_per_layer_and_epoch(tmp_path):
    data = numbers("layer")
    data["memorization"].loc[{"model": "b", "layer": "layer1"}] = np.nan
    figure = layer_maps_figure(data)
    panels = [panel for panel in figure.axes if panel.images]
    assert [panel.get_title() for panel in panels] == ["a, ridge", "b, ridge", "a, knn", "b, knn"]
    expected = (
        data.memorization.sel(model="a", classifier="knn").mean(["seed", "perturbation"]).transpose("layer", "epoch")
    )
    np.testing.assert_allclose(panels[2].images[0].get_array(), expected)
    assert [tick.get_text() for tick in panels[1].get_yticklabels()] == ["input"]
    figure.savefig(tmp_path / "figure.png")


def test_the_layer_can_be_chosen():
    data = numbers()
    panel = epochs_figure(data, layer="input").axes[0]
    own = data.observed.isel(model=0, perturbation=0).sel(classifier="ridge", layer="input")
    np.testing.assert_allclose(means(panel)["observed"], own.mean("seed"))


@pytest.mark.parametrize(
    ("axis", "n_panels", "n_places"),
    [("model", 6, 2), ("epoch", 12, 3), ("layer", 12, 2), ("perturbation", 8, 2), ("classifier", 6, 2)],
)
def test_indices_lie_along_the_axis_of_the_study(axis, n_panels, n_places, tmp_path):
    data = numbers(axis)
    figure = indices_figure(data)
    assert len(figure.axes) == n_panels
    heights = means(figure.axes[0])["memorization index"]
    last = data.memorization.mean("seed").isel(layer=-1, epoch=-1).sel(classifier="ridge")
    expected = {
        "model": lambda: last.isel(perturbation=0),
        "epoch": lambda: data.memorization.mean("seed").isel(model=0, layer=-1, classifier=0, perturbation=0),
        "layer": lambda: data.memorization.mean("seed").isel(model=0, epoch=-1, classifier=0, perturbation=0),
        "perturbation": lambda: last.isel(model=0).sel(perturbation=["shift:1", "shift:2"]),
        "classifier": lambda: data.memorization.mean("seed").isel(model=0, layer=-1, epoch=-1, perturbation=0),
    }[axis]()
    assert len(heights) == n_places
    np.testing.assert_allclose(heights, expected)
    figure.savefig(tmp_path / "figure.png")


def test_error_bars_are_the_intervals_over_seeds():
    data = numbers("model")
    panel = indices_figure(data).axes[0]
    (bars,) = [each for each in panel.containers if each.get_label() == "memorization index"]
    (segments,) = [lines.get_segments() for lines in bars[2]]
    values = data.memorization.isel(layer=-1, epoch=-1, classifier=0, perturbation=0)
    reach = 4.302652729911275 * values.std("seed", ddof=1) / np.sqrt(3)  # Student's t, 2 degrees of freedom
    np.testing.assert_allclose([segment[1, 1] - segment[0, 1] for segment in segments], 2 * reach)


def test_wrong_labels_retraining_and_stopping_have_a_panel_per_model(tmp_path):
    data = numbers()
    data.wrong_labels_as_given.loc[{"model": "a"}] = np.nan
    assert [panel.get_title() for panel in label_noise_figure(data).axes] == ["b"]
    rng = np.random.default_rng(1)
    data = data.assign(
        retrained_null=(("model", "seed", "retrained"), rng.random((2, 3, 9))),
        retrained_observed=(("model", "seed"), rng.random((2, 3))),
        retrained_pvalue=(("model", "seed"), rng.random((2, 3))),
        stopped_test_accuracy=(("rule", "model", "seed"), rng.random((4, 2, 3))),
        stopped_epoch=(("rule", "model", "seed"), rng.integers(1, 9, (4, 2, 3))),
    ).assign_coords(rule=["last epoch", "validation loss", "most learning", "best"])
    figure = retraining_figure(data)
    assert len(figure.axes) == 2
    observed = next(line for line in figure.axes[1].get_lines() if line.get_marker() == "o")
    np.testing.assert_array_equal(observed.get_ydata(), data.retrained_observed.sel(model="b"))
    figure.savefig(tmp_path / "a.png")
    figure = stopping_figure(data)
    heights = means(figure.axes[0])["accuracy on test rows where it stops"]
    np.testing.assert_allclose(heights, data.stopped_test_accuracy.sel(model="a").mean("seed"))
    figure.savefig(tmp_path / "b.png")


def test_what_is_undefined_is_said_and_not_left_out():
    data = numbers()
    data["learning"].loc[{"epoch": 5, "layer": "layer1", "classifier": "knn", "perturbation": "shift:2"}] = np.nan
    figure = indices_figure(data)
    words = [[text.get_text() for text in panel.texts] for panel in figure.axes]
    assert sum(map(len, words)) == 2 and sorted(map(len, words))[-1] == 1  # Models a and b, a panel each.


def figures_of(study, data):
    """The figures of a study's record with these numbers."""
    return study_figures(Record(study, {}, data))


def test_studies_name_their_figures():
    data = numbers()
    assert list(figures_of("epochs", data)) == ["epochs.png", "indices.png", "wrong-labels.png"]
    assert list(figures_of("layers", numbers("layer"))) == ["indices.png", "layer-maps.png", "wrong-labels.png"]
    right = data.assign(wrong_labels_as_given=data.wrong_labels_as_given * np.nan)
    assert list(figures_of("epochs", right)) == ["epochs.png", "indices.png"]
    assert list(figures_of("capacity", data.isel(epoch=[0, 2]))) == ["indices.png"]


def patterns_numbers():
    rng = np.random.default_rng(0)
    groups = ["labels and inputs"] * 2 + ["alone"] + ["in conflict"] * 6
    names = ["images", "0.5 random labels", "pixel", *(f"pair {number}" for number in range(6))]
    by_epoch = ("train_accuracy", "test_accuracy", "follows_canvas", "follows_stamp")
    variables = {
        name: (("model", "seed", "epoch"), rng.random((9, 3, 4)))
        for name in (*by_epoch, "wrong_labels_as_given", "wrong_labels_as_true")
    }
    coordinates = {"model": names, "group": ("model", groups), "seed": [0, 1, 2], "epoch": [0, 1, 2, 5]}
    return xarray.Dataset(variables, coordinates, {"axis": "model", "question": "What?", "claims": "[]"})


def test_learning_order_has_a_panel_of_labels_one_of_patterns_and_one_of_wrong_labels(tmp_path):
    data = patterns_numbers()
    figure = learning_order_figure(data)
    labels, alone, wrong = map(means, figure.axes)
    assert list(labels) == ["images", "0.5 random labels"] and list(alone) == ["pixel", "images"]
    np.testing.assert_allclose(alone["pixel"], data.test_accuracy.sel(model="pixel").mean("seed"))
    expected = data.wrong_labels_as_given.sel(model="0.5 random labels").mean("seed")
    np.testing.assert_allclose(wrong["as labelled"], expected)
    figure.savefig(tmp_path / "figure.png")


def test_conflicts_have_a_panel_per_pair(tmp_path):
    data = patterns_numbers()
    figure = conflicts_figure(data)
    shown = [panel for panel in figure.axes if panel.axison]
    assert [panel.get_title() for panel in shown] == [f"pair {number}" for number in range(6)]
    heights = means(shown[5])
    np.testing.assert_allclose(heights["follows the first named"], data.follows_stamp.sel(model="pair 5").mean("seed"))
    np.testing.assert_allclose(
        heights["follows the second named"], data.follows_canvas.sel(model="pair 5").mean("seed")
    )
    figure.savefig(tmp_path / "figure.png")
    assert list(figures_of("patterns", data)) == ["learning-order.png", "conflicts.png"]


def test_scores_are_shown_by_their_correlations_and_row_by_row(tmp_path):
    rng = np.random.default_rng(0)
    names = ["memorization", "consistency", "curvature", "margin", *(f"example score, {number}" for number in range(9))]
    data = xarray.Dataset(
        {
            "value": (("score", "seed", "example"), rng.random((13, 2, 30))),
            "wrong_label": ("example", np.arange(30) < 5),
            "rank_correlation": (("score", "other_score", "seed"), rng.uniform(-1, 1, (13, 13, 2))),
            "correlation_with_memorization": (("score", "seed"), rng.random((13, 2))),
        },
        {"score": names, "other_score": names, "seed": [0, 1]},
        {"axis": "score", "question": "What?", "claims": "[]"},
    )
    figure = figures_of("per-example", data)["scores.png"]
    heat, *points = [panel for panel in figure.axes if panel.get_images() or panel.get_title()]
    np.testing.assert_allclose(heat.get_images()[0].get_array(), data.rank_correlation.mean("seed"))
    assert [panel.get_title() for panel in points] == names[1:]
    right, wrong = points[2].get_lines()
    assert len(right.get_xdata()) == 25 and len(wrong.get_xdata()) == 5
    np.testing.assert_allclose(wrong.get_xdata(), data.value.sel(score="margin").median("seed")[:5])
    figure.savefig(tmp_path / "figure.png")
    assert heat.get_window_extent().y1 > 0.85 * figure.bbox.height  # The map stands right below its headline.
    assert scores_figure(data).axes


def similarities_of_groups():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(7, 30))
    vectors[[0, 2, 5]] += 3 * rng.normal(size=30)
    return np.corrcoef(vectors), ["true", "random", "true", "random", "random", "true", "other"]


def test_heat_maps_are_ordered_by_group(tmp_path):
    matrix, groups = similarities_of_groups()
    axes = similarity_heatmap(matrix, groups, title="CKA")
    order = [0, 2, 5, 1, 3, 4, 6]
    np.testing.assert_array_equal(axes.images[0].get_array(), matrix[np.ix_(order, order)])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["true", "random", "other"]
    np.testing.assert_allclose(axes.get_yticks(), [1, 4, 6])
    assert sorted({float(line.get_xdata()[0]) for line in axes.get_lines()} - {0.0}) == [2.5, 5.5]
    off = matrix[~np.eye(7, dtype=bool)]
    np.testing.assert_allclose(axes.images[0].get_clim(), [off.min(), off.max()])
    axes.figure.savefig(tmp_path / "figure.png")


def test_maps_show_a_cloud_for_every_group(tmp_path):
    matrix, groups = similarities_of_groups()
    axes = similarity_map(matrix, groups, measure="cka", title="map")
    clouds = {cloud.get_label(): cloud.get_offsets() for cloud in axes.collections}
    assert {name: len(points) for name, points in clouds.items()} == {"true": 3, "random": 3, "other": 1}
    assert "% shown" in axes.get_title()
    # The three that are alike lie together.
    assert np.ptp(clouds["true"], axis=0).max() < np.ptp(clouds["random"], axis=0).max()
    axes.figure.savefig(tmp_path / "figure.png")


def test_a_dissection_is_drawn_over_epochs_as_heat_maps_and_as_maps(tmp_path):
    rng = np.random.default_rng(0)
    coordinates = {
        "measure": ["cka", "jensen-shannon"],
        "rows": ["train", "test", "noise"],
        "epoch": [0, 5],
        "layer": ["layer1", "output"],
        "group": ["true", "random"],
        "group_of_network": ("network", ["true"] * 3 + ["random"] * 3),
    }
    cells = ("measure", "rows", "epoch", "layer")
    matrices = np.corrcoef(rng.normal(size=(6, 9))) * np.ones((2, 3, 2, 2, 1, 1))
    mean = rng.uniform(size=(2, 3, 2, 2, 2))
    data = {"similarity": ((*cells, "network", "other_network"), matrices)}
    data |= {f"within_{end}": ((*cells, "group"), mean + by) for end, by in (("mean", 0), ("low", -0.1), ("high", 0.2))}
    figures = figures_of("dissect", xarray.Dataset(data, coordinates))
    assert set(figures) == {"similarity.png", "heatmaps.png", "map.png"}
    panels = figures["similarity.png"].axes
    assert len(panels) == 6
    np.testing.assert_allclose(means(panels[3])["random"], mean[1, 1, :, 1, 1])
    assert [axes.get_title() for axes in figures["heatmaps.png"].axes if axes.images] == [
        "cka, layer1",
        "jensen-shannon, output (0: alike)",
    ]
    for name, figure in figures.items():
        figure.savefig(tmp_path / name)
