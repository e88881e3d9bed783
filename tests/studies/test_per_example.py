"""The study of single examples: its numbers put together by hand, and its statements on real digits."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

import jaxmem as jm
from jaxmem.studies import Data, Network, Tests, Training, per_example, run

SMALL = replace(
    per_example.Config(),
    data=Data(n_train=100, random_labels=0.3),
    network=Network(widths=(16, 8)),
    training=Training(epochs=3, keep_epochs=(0, 1, 3), batch_size=20),
    tests=Tests(perturbations=("shift:1",), classifiers=("ridge",), n_permutations=9),
    n_members=20,
    share=0.5,
    n_neighbors=5,
    n_probes=2,
    seeds=2,
)


@pytest.fixture(scope="module")
def record():
    return run(per_example.STUDY, SMALL, progress=False)


@pytest.mark.nightly
def test_scores_are_those_of_the_public_functions(record):
    data = record.data
    included, correct = data.included.values.astype(bool), data.correct.values.astype(bool)
    assert included.shape == (20, 100) and (included.sum(axis=1) == 50).all()
    found = jm.memorization_scores(included, correct)
    for seed in range(2):
        np.testing.assert_allclose(data.value.sel(score="memorization", seed=seed), found.value, rtol=1e-5)
    np.testing.assert_allclose(data.standard_error.sel(subset_score="memorization"), found.standard_error, rtol=1e-5)
    names = {"first learned", "forgetting events", "area", "margin", "loss sensitivity", "curvature", "held-out margin"}
    names |= {"prediction depth", "example score, ridge", "memorization", "consistency", "influence"}
    assert set(data.score.values) == names
    correct_test = data.correct_test.values.astype(bool)
    influence = jm.mean_square_influence(included, correct_test)
    np.testing.assert_allclose(data.value.sel(score="influence", seed=0), influence, rtol=1e-5, atol=1e-9)
    expected = stats.spearmanr(influence, found.value).statistic
    assert data.influence_correlation.values[0] == pytest.approx(expected) and data.sizes["exchange"] == 1_000
    largest = jm.influence_scores(included, correct_test).value.max(axis=0)
    assert data.share_decided.values[0] == (largest > 0.5).mean()


@pytest.mark.nightly
def test_correlations_and_areas_are_scipys_and_scikit_learns(record):
    data = record.data
    for name in ("margin", "forgetting events", "example score, ridge"):
        values, memorization = data.value.sel(score=name, seed=1), data.value.sel(score="memorization", seed=1)
        expected = stats.spearmanr(values, memorization).statistic
        np.testing.assert_allclose(data.correlation_with_memorization.sel(score=name, seed=1), expected, atol=1e-6)
        own = data.rank_correlation.sel(score=name, other_score="memorization", seed=1)
        np.testing.assert_allclose(own, expected, atol=1e-6)
        finite = np.nan_to_num(values.values, posinf=1e9)
        area = roc_auc_score(data.wrong_label.values, finite)
        np.testing.assert_allclose(data.finds_wrong_labels.sel(score=name, seed=1), area, atol=1e-6)


@pytest.mark.nightly
def test_the_table_has_a_row_for_every_score(record):
    lines = record.table().splitlines()
    assert lines[0].startswith("Which rows are memorized")
    assert sum(line.startswith(tuple(record.data.score.values)) for line in lines) == 12
    assert len(record.claims) == 12


def test_bad_choices_are_refused():
    for changes, words in [
        ({"data": Data()}, "wrong labels"),
        ({"tests": Tests(perturbations=("shift:1", "shift:2"))}, "one perturbation"),
    ]:
        with pytest.raises(ValueError, match=words):
            replace(per_example.Config(), **changes)


def test_subsets_too_few_to_tell_are_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(per_example, "train_networks", None)
    with pytest.raises(ValueError, match="of 5 subsets"):
        run(per_example.STUDY, replace(SMALL, n_members=5), progress=False)


@pytest.mark.nightly
def test_statements_on_digits():
    config = replace(
        per_example.Config(),
        data=Data(n_train=300, random_labels=0.1),
        network=Network(widths=(64, 64)),
        training=Training(epochs=40, keep_epochs=(0, 1, 2, 4, 8, 16, 40), batch_size=30),
        tests=Tests(perturbations=("gaussian-noise:0.2",), classifiers=("ridge",), n_permutations=49),
        n_members=24,
        share=0.5,
        seeds=3,
    )
    record = run(per_example.STUDY, config, progress=False)
    # Forgetting between six kept epochs is rare: three networks leave it open.
    # Single influences drown in the noise of two dozen networks; their mean square does not.
    left_open = ("example score", "forgetting events", "test rows that one training row decides")
    assert all(c.holds for c in record.claims if not c.text.startswith(left_open)), record.table()
    areas = record.data.finds_wrong_labels.mean("seed")
    assert areas.sel(score="memorization") > 0.9 and areas.sel(score="curvature") > 0.75
    # The permutation tests' scores belong to shuffled labels, and hardly know a row's own.
    assert abs(areas.sel(score="example score, ridge") - 0.5) < 0.2
