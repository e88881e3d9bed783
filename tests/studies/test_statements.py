"""Statements about learning and memorization that must hold on real digits: 1,000 of them, three networks each."""

from dataclasses import replace

import pytest

from jaxmem.studies import Data, Tests, Training, epochs, noise_inputs, random_labels, regularization, run
from jaxmem.studies.summary import over_seeds

pytestmark = pytest.mark.nightly

ROWS = Data(n_train=1_000)
TESTS = Tests(perturbations=("gaussian-noise:0.1", "gaussian-noise:0.4"), n_permutations=99)
TRAINING = Training(epochs=40, keep_epochs=(0, 10, 40))


def last_layer(study, **changes):
    config = replace(
        study.STUDY.config(), **({"data": ROWS, "tests": TESTS, "training": TRAINING, "seeds": 3} | changes)
    )
    record = run(study.STUDY, config, progress=False)
    return record, record.data.isel(layer=-1)


@pytest.fixture(scope="module")
def trained():
    return last_layer(epochs)


def test_of_trained_networks(trained):
    record, data = trained
    data = data.isel(model=0)
    nulls = data.paired_null.mean("permutation")
    # On independent test rows the null is centred on chance, at every epoch.
    assert abs(data.test_null.mean("permutation") - 0.1).max() < 0.02
    # On perturbed copies it is above chance after training, for either classifier and every network.
    assert (nulls.sel(epoch=40) > data.broken_null.mean("permutation").sel(epoch=40) + 0.01).all()
    assert (data.memorization_pvalue_adjusted.sel(epoch=40) <= 0.05).all()
    # It falls as the perturbation grows.
    assert (nulls.isel(perturbation=0) > nulls.isel(perturbation=1)).all()
    # The untrained network has one above chance as well: it does not say that the network memorized.
    assert (nulls.sel(epoch=0, classifier="knn", perturbation="gaussian-noise:0.1") > 0.5).all()
    # The observed score is far above.
    assert (data.learning.sel(epoch=40, perturbation="gaussian-noise:0.4") > 0.4).all()
    assert all(claim.holds for claim in record.claims if "first epoch to the last" not in claim.text), record.claims


def test_dropout_lowers_memorization_at_equal_learning():
    changes = {"data": replace(ROWS, n_validation=300), "dropouts": (0.5,), "weight_decays": (), "augmentations": ()}
    _, data = last_layer(regularization, **changes)
    last = data.sel(epoch=40, classifier="knn")
    plain, dropped = last.sel(model="none"), last.sel(model="dropout 0.5")
    # The strong perturbation leaves room to see memorization in, the weak one none for the observed score to differ by.
    lowered = (plain.memorization - dropped.memorization).sel(perturbation="gaussian-noise:0.4")
    assert over_seeds(lowered).low > 0.02
    weak = [model.observed.sel(perturbation="gaussian-noise:0.1") for model in (plain, dropped)]
    assert all((observed > 0.97).all() for observed in weak)


def test_networks_learn_from_gaussian_noise():
    record, data = last_layer(noise_inputs, kinds=("standard-noise",))
    seen = data.sel(epoch=40, classifier="ridge", perturbation="gaussian-noise:0.1").isel(model=0)
    assert (seen.observed > 0.95).all() and (seen.paired_null.mean("permutation") < 0.6).all()
    assert (seen.learning_pvalue_adjusted <= 0.05).all()
    # One nearest neighbour recovers any labelling of noise, so that nothing is left to be learnt.
    saturated = data.sel(epoch=40, classifier="knn", perturbation="gaussian-noise:0.1")
    assert (saturated.paired_null.mean("permutation") > 0.99).all()
    assert (abs(data.network_test_accuracy.sel(epoch=40).mean("seed") - 0.1) < 0.03).all()
    assert any("as ridge sees it" in claim.text and claim.holds for claim in record.claims)


def test_features_are_tuned_to_labels_that_are_random():
    training = Training(epochs=100, keep_epochs=(0, 100))
    _, data = last_layer(random_labels, shares=(1.0,), training=training)
    seen = data.sel(epoch=100, classifier="ridge", perturbation="gaussian-noise:0.1").isel(model=0)
    assert (seen.network_train_accuracy > 0.95).all() and (seen.network_test_accuracy < 0.25).all()
    assert (seen.observed > 0.7).all() and (seen.observed - seen.paired_null.mean("permutation") > 0.3).all()
    assert (seen.learning_pvalue_adjusted <= 0.05).all()
