"""Configurations that cannot be run are refused before anything is computed."""

import pytest

from jaxmem.studies import STUDIES, Data, Experiment, Tests, Training, retraining


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Data(random_labels=1.5), "share from 0 to 1"),
        (lambda: Data(confused_labels=-0.1), "confused_labels"),
        (lambda: Training(keep_epochs=(1, 2)), "must hold 0"),
        (lambda: Training(keep_epochs=()), "at least one"),
        (lambda: Training(keep_epochs=(0,), epochs=40), "from 1 to epochs=40"),
        (lambda: Training(augment="shfit:2"), "shift"),
        (lambda: Data(random_labels=0.5, confused_labels=0.5), "one kind"),
        (lambda: retraining.Config(n_retrained=9), "fewer than 19"),
        (lambda: Tests(perturbations=("gaussian-noise:-1",)), "-1"),
        (lambda: Tests(perturbations=("shift:1", "shift:1")), "each once"),
        (lambda: Tests(classifiers=("knm",)), "knn"),
        (lambda: Tests(n_permutations=0), "n_permutations"),
        (lambda: Experiment(seeds=0), "seeds"),
        (lambda: Experiment(seed=-1), "seed"),
        (lambda: Experiment(seed=2**32), "seed"),
    ],
)
def test_bad_choices_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_epochs_that_training_does_not_reach_are_left_out():
    assert Training(epochs=3, keep_epochs=(5, 4, 2, 0)).keep_epochs == (0, 2, 3)


def test_rows_differ_by_seed_where_something_in_them_is_random():
    assert not Data().differs_by_seed and not Data(n_validation=100).differs_by_seed
    for data in (Data(random_labels=0.5), Data(confused_labels=0.1), Data(n_train=100), Data(inputs="standard-noise")):
        assert data.differs_by_seed


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_question_and_sound_defaults(name):
    study = STUDIES[name]
    assert study.name == name and study.question.endswith("?")
    config = study.config()
    assert config.seeds >= 5 and config.training.keep_epochs[-1] == config.training.epochs


def test_unknown_inputs_are_named():
    """Set past the annotation, which tests check and users' programs do not."""
    data = Data()
    object.__setattr__(data, "inputs", "noise")
    with pytest.raises(ValueError, match="standard-noise"):
        data.__post_init__()
