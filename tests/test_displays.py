"""Displays show the numbers of their results, and keep what they drew on."""

from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from helpers import blobs

import jaxmem as jm
from jaxmem.costs import plan
from jaxmem.plots import (
    LearningDynamicsDisplay,
    MemorizationCurveDisplay,
    MemorizationMapDisplay,
    MemorizationTestDisplay,
    MemorizedExamplesDisplay,
    PermutationTestDisplay,
    PlanDisplay,
    PValueConvergenceDisplay,
    SimilarityDisplay,
)

matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

X, y, COPIES = blobs(40, 5, 3)
B = 59


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def permuted():
    return jm.permutation_test(jm.Ridge(), X, y, validation=jm.SharedStructure(COPIES), n_permutations=B)


@pytest.fixture(scope="module")
def by_strength():
    rng = np.random.default_rng(1)
    copies = {strength: X + strength * rng.normal(size=X.shape) for strength in (1.5, 0.3, 0.7)}
    designs = {strength: jm.SharedStructure(rows) for strength, rows in copies.items()}
    test = jm.Holdout(COPIES, y)
    return jm.memorization_tests(jm.KNeighbors(), X, y, designs, test=test, n_permutations=B)


def labels(ax):
    return {text.get_text() for text in ax.get_legend().get_texts()}


def drawn(ax, label):
    """What carries a label that begins so."""
    (artist,) = [each for each in ax.get_legend_handles_labels()[0] if each.get_label().startswith(label)]
    return artist


def test_a_null_is_drawn_with_the_score_and_the_interval(permuted, tmp_path):
    display = PermutationTestDisplay.from_result(permuted)
    ax = display.ax_
    assert display.figure_ is ax.figure and ax.get_xlabel() == "accuracy"
    heights = np.array([bar.get_height() for bar in ax.containers[0]])
    places = np.array([bar.get_x() + bar.get_width() / 2 for bar in ax.containers[0]])
    assert heights.sum() == B and (places @ heights) / B == pytest.approx(permuted.null_distribution.mean(), abs=0.01)
    assert drawn(ax, "observed").get_xdata()[0] == permuted.statistic
    low, high = permuted.confidence_interval()
    assert f"observed {permuted.statistic:.3g}, p = {permuted.pvalue:.3g} [{low:.2g}, {high:.2g}]" in labels(ax)
    band = drawn(ax, "middle 95%")
    np.testing.assert_allclose(
        [band.get_x(), band.get_x() + band.get_width()], np.quantile(permuted.null_distribution, [0.025, 0.975])
    )
    display.figure_.savefig(tmp_path / "null.png")


def test_displays_draw_where_they_are_told_to(permuted):
    _, (left, right) = plt.subplots(1, 2)
    display = PermutationTestDisplay.from_result(permuted, ax=left)
    assert display.ax_ is left and not right.containers
    assert display.plot(right) is display and display.ax_ is right and len(right.containers) == 1


def test_permutations_are_counted_in_whole_numbers(permuted):
    few = replace(permuted, null_distribution=permuted.null_distribution[:4])
    ticks = PermutationTestDisplay.from_result(few).ax_.get_yticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))
    _, ax = plt.subplots()
    ax.set_yscale("log")
    assert PermutationTestDisplay.from_result(few, ax=ax).ax_.get_yscale() == "log"


def test_every_accuracy_of_few_rows_has_as_wide_a_bar(permuted):
    edges = [bar.get_width() * 40 for bar in PermutationTestDisplay.from_result(permuted).ax_.containers[0]]
    np.testing.assert_allclose(edges, np.round(edges), atol=1e-9)


def test_tests_of_similarity_are_drawn_too():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(30, 4))
    pair = jm.similarity_test(first, first + rng.normal(size=(30, 4)), "cka", n_permutations=B)
    assert PermutationTestDisplay.from_result(pair).ax_.get_xlabel() == pair.measure
    nets = {f"{group}{k}": first * (group == "a") + rng.normal(size=(30, 4)) for group in "ab" for k in range(3)}
    matrix = jm.similarities(nets, "cka")
    groups = jm.group_similarity_test(matrix, list("aaabbb"), first="a", second="b", n_permutations=B)
    assert "difference" in PermutationTestDisplay.from_result(groups).ax_.get_xlabel()
    display = SimilarityDisplay.from_result(groups)
    np.testing.assert_array_equal(display.ax_.images[0].get_array(), matrix)
    by_hand = SimilarityDisplay.from_similarities(matrix, list("aaabbb"), kind="map")
    assert labels(by_hand.ax_) == {"a", "b"} and "cka" in by_hand.ax_.get_title()


def test_three_scorings_lie_on_one_axis(by_strength, tmp_path):
    result = by_strength[0.7]
    ax = MemorizationTestDisplay.from_result(result).ax_
    chance, paired = ax.containers
    assert sum(bar.get_height() for bar in chance) == sum(bar.get_height() for bar in paired) == B
    assert f"paired null, mean {result.null_distribution.mean():.3f}: memorization {result.memorization:.3f}" in labels(
        ax
    )
    assert drawn(ax, "observed").get_xdata()[0] == result.statistic
    assert drawn(ax, "independent").get_xdata()[0] == result.test_statistic
    ax.figure.savefig(tmp_path / "memorization.png")


def test_the_pvalue_so_far_ends_where_the_test_does(permuted, tmp_path):
    display = PValueConvergenceDisplay.from_result(permuted, confidence_level=0.9)
    line = drawn(display.ax_, "p-value")
    assert line.get_xdata()[-1] == B and line.get_ydata()[-1] == permuted.pvalue
    assert (display.low[-1], display.high[-1]) == permuted.confidence_interval(0.9)
    for b, p, low, high in zip(display.n_permutations, display.pvalue, display.low, display.high, strict=True):
        extreme = int((permuted.null_distribution[:b] >= permuted.statistic - 1e-6).sum())
        assert p == (1 + extreme) / (1 + b) and low <= extreme / b <= high
    assert drawn(display.ax_, "level").get_ydata()[0] == 0.05
    display.figure_.savefig(tmp_path / "convergence.png")


def test_a_curve_runs_along_increasing_strengths_with_bands(by_strength, tmp_path):
    display = MemorizationCurveDisplay.from_results(by_strength, xlabel="noise")
    ax = display.ax_
    strengths = sorted(by_strength)
    line = drawn(ax, "memorization")
    np.testing.assert_array_equal(line.get_xdata(), strengths)
    np.testing.assert_allclose(line.get_ydata(), [by_strength[s].memorization for s in strengths])
    outline = ax.collections[0].get_paths()[0].vertices
    for strength in strengths:
        estimate = by_strength[strength].estimate("memorization")
        heights = outline[outline[:, 0] == strength][:, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [estimate.low, estimate.high])
    assert ax.get_xlabel() == "noise" and ax.get_ylim()[1] == pytest.approx(1.03)
    named = MemorizationCurveDisplay.from_results({str(s): test for s, test in by_strength.items()}).ax_
    assert [tick.get_text() for tick in named.get_xticklabels()] == ["1.5", "0.3", "0.7"]
    ax.figure.savefig(tmp_path / "curve.png")


def test_a_map_has_a_cell_for_every_pair(by_strength, tmp_path):
    weak, strong = by_strength[0.3], by_strength[1.5]
    tests = {("input", 5): weak, ("input", 0): strong, ("layer1", 5): strong}
    display = MemorizationMapDisplay.from_results(tests)
    expected = [[strong.memorization, weak.memorization], [np.nan, strong.memorization]]
    np.testing.assert_array_equal(display.values, expected)
    np.testing.assert_array_equal(np.ma.filled(display.ax_.images[0].get_array(), np.nan), expected)
    assert [tick.get_text() for tick in display.ax_.get_xticklabels()] == ["0", "5"]
    assert [text.get_text() for text in display.ax_.texts] == [f"{v:.2f}" for v in np.ravel(expected) if v == v]
    display.figure_.savefig(tmp_path / "map.png")


def test_the_most_memorized_images_come_first(by_strength, tmp_path):
    result, images = by_strength[0.7], np.arange(40 * 6.0).reshape(40, 2, 3) % 7
    display = MemorizedExamplesDisplay.from_result(result, images, n_examples=10)
    assert display.axes_.shape == (2, 8)
    np.testing.assert_array_equal(display.examples, np.argsort(-result.example_scores, kind="stable")[:10])
    shown = [panel for panel in display.axes_.flat if panel.images]
    assert len(shown) == 10
    first = display.examples[0]
    low, high = images[first].min(), images[first].max()
    np.testing.assert_allclose(shown[0].images[0].get_array(), (images[first] - low) / (high - low))
    assert shown[0].get_title() == f"{y[first]}: {result.example_scores[first]:.0%}"
    display.figure_.savefig(tmp_path / "examples.png")
    backwards = MemorizedExamplesDisplay.from_result(result, images[::-1], source=np.arange(40)[::-1], n_examples=3)
    np.testing.assert_array_equal(backwards.images, images[backwards.examples])


def test_dynamics_have_a_line_and_a_band_per_group(tmp_path):
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(size=(2, 4, 20, 3)), rng.integers(0, 3, 20)
    found = jm.learning_dynamics(logits, truth, epochs=[0, 1, 5, 9])
    groups = np.where(np.arange(20) < 6, "wrong", "right")
    display = LearningDynamicsDisplay.from_result(found, groups=groups, epochs=[0, 1, 5, 9])
    shares = found.correct[:, :, :6].mean(axis=2)
    np.testing.assert_allclose(drawn(display.ax_, "wrong").get_ydata(), shares.mean(axis=0))
    np.testing.assert_allclose(display.curves["wrong"][:, 1:].T, [shares.min(axis=0), shares.max(axis=0)])
    margins = LearningDynamicsDisplay.from_result(found, quantity="margin", groups=groups)
    own = found.margin[:, 2, 6:].ravel()
    np.testing.assert_allclose(margins.curves["right"][2], np.quantile(own, [0.5, 0.25, 0.75]))
    assert margins.ax_.get_ylabel() == "margin (logits)"
    display.figure_.savefig(tmp_path / "dynamics.png")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, m: PermutationTestDisplay.from_result(m), "is a MemorizationTest"),
        (lambda p, m: MemorizationTestDisplay.from_result(p), "is a PermutationTest"),
        (lambda p, m: MemorizationCurveDisplay.from_results({}), "must map names"),
        (lambda p, m: MemorizationCurveDisplay.from_results({1: p}), "one is a PermutationTest"),
        (lambda p, m: MemorizationMapDisplay.from_results({"layer": m}), "must be by pairs"),
        (lambda p, m: MemorizationMapDisplay.from_results({("l", 1): m}, quantity="memory"), "'memorization'"),
        (lambda p, m: MemorizedExamplesDisplay.from_result(m, np.zeros((40, 9))), "has shape"),
        (lambda p, m: MemorizedExamplesDisplay.from_result(m, np.zeros((40, 3, 3)), source=[1, 2]), "40 copies"),
        (lambda p, m: LearningDynamicsDisplay.from_result(p), "learning_dynamics"),
        (lambda p, m: SimilarityDisplay.from_result(p), "group_similarity_test"),
        (lambda p, m: SimilarityDisplay.from_similarities(np.eye(3), ["a", "b"]), "2 groups"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message, permuted, by_strength, unchecked):
    with pytest.raises(ValueError, match=message):
        call(permuted, by_strength[0.7])


def test_a_pvalue_without_an_end_is_not_followed(permuted, unchecked):
    stopped = replace(permuted, stopping=jm.BesagClifford(3))
    assert "[" not in str(labels(PermutationTestDisplay.from_result(stopped).ax_))
    with pytest.raises(ValueError, match="fixed beforehand"):
        PValueConvergenceDisplay.from_result(stopped)
    with pytest.raises(ValueError, match="every labelling"):
        PValueConvergenceDisplay.from_result(replace(permuted, exact=True))
    two = replace(permuted, statistic=np.ones(2), null_distribution=np.ones((B, 2)))
    with pytest.raises(ValueError, match="several scores"):
        PermutationTestDisplay.from_result(two)


def test_plans_are_bars_of_their_stages():
    plans = {
        "one": plan(60_000, 512, 10, 9_999, device="h100"),
        "too large": plan(1_281_167, 2_048, 1_000, 99, device="tpu-v5e"),
    }
    display = PlanDisplay.from_plans(plans)
    widths = np.array([[bar.get_width() for bar in stage] for stage in display.ax_.containers]).T
    np.testing.assert_allclose(widths, [[stage.seconds for stage in each.stages] for each in plans.values()])
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["one", "too large\n(does not fit)"]
    assert labels(display.ax_) == {"prepare", "draw", "fit", "score"}
    with pytest.raises(ValueError, match=r"by name, but is \{\}"):
        PlanDisplay.from_plans({})
