"""The study of patterns: its numbers put together by hand, and its statements on real digits."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxmem.nets import gradient_coherence, logits
from jaxmem.studies import Data, Network, Training, patterns, run
from jaxmem.studies.networks import train_networks
from jaxmem.studies.rows import NETWORK, key_for

SMALL = replace(
    patterns.Config(),
    data=Data(n_train=100),
    network=Network(widths=(16, 8)),
    training=Training(epochs=3, keep_epochs=(0, 1, 3), batch_size=20),
    patterns=("pixel", "patch"),
    n_neighbors=5,
    seeds=2,
)


@pytest.fixture(scope="module")
def record():
    return run(patterns.STUDY, SMALL, progress=False)


def test_models_are_those_of_labels_inputs_and_patterns_alone_and_in_conflict(record):
    data = record.data
    assert dict(zip(data.model.values, data.group.values, strict=True)) == {
        **dict.fromkeys(("images", "0.5 random labels", "random labels"), "labels and inputs"),
        **dict.fromkeys(("matched noise", "standard noise"), "labels and inputs"),
        **dict.fromkeys(("pixel", "patch", "noise"), "alone"),
        **dict.fromkeys(("pixel against images", "patch against images", "patch against pixel"), "in conflict"),
    }
    conflict = data.group == "in conflict"
    assert (data.test_accuracy.isnull() == conflict).all() and (data.follows_stamp.notnull() == conflict).all()
    assert (data.coherence.notnull() == (data.group == "labels and inputs")).all()
    shares = data.wrong_label.mean(["seed", "example"])
    assert shares.sel(model="images") == 0 and 0.35 < shares.sel(model="0.5 random labels") <= 0.5
    total = data.follows_canvas + data.follows_stamp
    assert (total.dropna("model", how="all") <= 1).all()


def test_numbers_of_a_model_are_those_of_its_networks(record):
    model = patterns._models(SMALL)["0.5 random labels"]
    given = [model.rows(seed) for seed in range(2)]
    X, y = (np.stack([getattr(each, name) for each in given]) for name in ("X", "y"))
    trained = train_networks(SMALL, X, y, jnp.stack([key_for(SMALL, NETWORK, seed) for seed in range(2)]))
    own = record.data.sel(model="0.5 random labels", seed=1)
    network, (rows, labels, true, X_test, y_test, _) = trained.member(1), given[1]
    predicted = np.asarray(logits(network.at(3), rows)).argmax(axis=1)
    wrong = labels != true
    np.testing.assert_allclose(own.train_accuracy[-1], (predicted == labels).mean(), rtol=1e-6)
    np.testing.assert_allclose(own.wrong_labels_as_given[-1], (predicted == labels)[wrong].mean(), rtol=1e-6)
    np.testing.assert_allclose(own.wrong_labels_as_true[-1], (predicted == true)[wrong].mean(), rtol=1e-6)
    tested = np.asarray(logits(network.at(1), X_test)).argmax(axis=1)
    np.testing.assert_allclose(own.test_accuracy[1], (tested == y_test).mean(), rtol=1e-6)
    np.testing.assert_allclose(own.coherence, gradient_coherence(network.at(1), rows, labels), rtol=1e-3, atol=1e-5)
    assert own.epochs_to_99 == 4  # Three epochs are not enough: the one after the last.
    capped = np.minimum(own.first_learned, 4).mean()
    np.testing.assert_allclose(own.mean_first_learned, capped, rtol=1e-6)


def test_in_conflict_the_training_rows_of_both_patterns_say_the_label():
    given = patterns._models(SMALL)["patch against pixel"].rows(0)
    assert (given.y_stamp != given.y_test).all()
    alone = patterns._models(SMALL)["pixel"].rows(0)
    np.testing.assert_array_equal(given.y, alone.y)
    # What the patch adds to the pixel's image is the same for all rows of a class, in training rows.
    added = (given.X - alone.X).reshape(len(given.y), -1) > 0.2
    for label in range(10):
        assert len(np.unique(added[given.y == label], axis=0)) == 1


def test_bad_choices_are_refused():
    for changes, words in [
        ({"patterns": ("pixl",)}, "pixel"),
        ({"patterns": ("pixel", "pixel")}, "each value once"),
        ({"patterns": ()}, "at least one"),
        ({"share": 1.0}, "between 0 and 1"),
    ]:
        with pytest.raises(ValueError, match=words):
            replace(patterns.Config(), **changes)


@pytest.mark.nightly
def test_statements_on_digits():
    config = replace(
        patterns.Config(),
        data=Data(n_train=300),
        network=Network(widths=(64, 64)),
        training=Training(epochs=50, keep_epochs=(0, 1, 2, 4, 8, 16, 50), batch_size=25),
        patterns=("prototype",),
        seeds=3,
    )
    record = run(patterns.STUDY, config, progress=False)
    found = {claim.text: claim.holds for claim in record.claims}
    for words in (
        "random labels: more epochs to 99% of the training rows than images",
        "random labels: more epochs to 99% of the training rows than matched noise",
        "images: more epochs to 99% of the training rows than standard noise",
        "gradients of examples point more in one direction",
        "as their true class more often than as labelled at epoch 2",
        "and in the end as labelled",
        "rows with wrong labels are learnt later",
        "noise: rows are first learnt later than those of images",
        "settled in deeper layers are learnt later",
    ):
        (holds,) = (holds for text, holds in found.items() if words in text)
        assert holds, record.table()
