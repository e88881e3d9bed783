"""The memorization test: closed forms, numbers by hand, and several validations that share every fit."""

import numpy as np
import pytest
from helpers import assert_mean, blobs
from sklearn.datasets import load_digits

import jaxmem as jm

X, y, X_val = blobs(30, 5, 3, separation=0.7)
X_test, y_test = np.random.default_rng(3).normal(size=(12, 5)), np.arange(12) % 3
HOLDOUT = jm.Holdout(X_test, y_test)


def run(classifier=None, validation=None, n_permutations=19, **options):
    return jm.memorization_test(
        classifier or jm.Ridge(),
        X,
        y,
        validation or jm.SharedStructure(X_val),
        n_permutations=n_permutations,
        **options,
    )


def assert_same(a, b):
    assert vars(a).keys() == vars(b).keys()
    for name in vars(a):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_the_numbers_are_a_labelled_dataset():
    m = run(test=HOLDOUT)
    data = m.to_dataset()
    assert dict(data.sizes) == {"permutation": 19, "example": 30}
    np.testing.assert_array_equal(data.paired_null.sel(permutation=[1, 19]), m.null_distribution[[0, 18]])
    expected = {"observed": m.statistic, "learning": m.learning, "memorization": m.memorization}
    expected |= {"learning_pvalue": m.learning_pvalue, "memorization_pvalue": m.memorization_pvalue}
    assert {name: data[name].item() for name in expected} == expected
    assert data.test_observed == m.test_statistic and "test_null" not in run().to_dataset()


# --- Against closed forms ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noisy_digits():
    """Real digits, unequal classes, and two noisy copies of each; some copies lie nearer to another digit."""
    images, digits = load_digits(return_X_y=True)
    rows = np.concatenate([np.flatnonzero(digits == digit)[: 20 + 5 * digit] for digit in range(4)])
    images, digits, source = images[rows], digits[rows], np.tile(np.arange(len(rows)), 2)
    copies = images[source] + 8 * np.random.default_rng(0).normal(size=(len(source), 64))
    distances = ((copies[:, None] - images[None]) ** 2).sum(axis=2)
    found = (distances.argmin(axis=1) == source).mean()
    assert 0.3 < found < 0.9
    return images, digits, jm.SharedStructure(copies, source), found


def test_the_null_of_one_neighbour_has_its_closed_form_mean(noisy_digits):
    images, digits, copies, found = noisy_digits
    test = jm.memorization_test(jm.KNeighbors(1), images, digits, copies, n_permutations=2_000)
    n, counts = len(digits), np.bincount(digits)
    chance_of_another = (counts * (counts - 1)).sum() / (n * (n - 1))
    assert_mean(test.null_distribution, found + (1 - found) * chance_of_another)
    # The independent shuffle: two draws with replacement, so to speak.
    assert_mean(test.chance_distribution, ((counts / n) ** 2).sum())
    # On balanced terms the index is the share of copies that find their source, but for the difference of the two.
    assert test.memorization == pytest.approx(found, abs=0.02)


def test_the_null_of_ridge_lies_above_chance_and_the_broken_null_at_it(noisy_digits):
    images, digits, copies, _ = noisy_digits
    test = jm.memorization_test(jm.Ridge(), images, digits, copies, n_permutations=500)
    # Whatever is predicted how often, an independent shuffle agrees with a probability between these.
    shares = np.bincount(digits) / len(digits)
    assert (shares**2).sum() - 0.02 < test.chance < shares.max()
    difference = test.null_distribution - test.chance_distribution
    assert difference.mean() > 10 * difference.std() / np.sqrt(500)


# --- By hand ----------------------------------------------------------------------------------------------------


def result(**values):
    defaults = {
        "classifier": "Ridge()",
        "y": np.array([0, 1]),
        "classes": np.array([0, 1]),
        "key_data": np.zeros(2, np.uint32),
        "key_impl": "threefry2x32",
        "n_permutations": 2,
        "statistic": 0.9,
        "null_distribution": np.array([0.5, 0.7]),
        "chance_distribution": np.array([0.1, 0.3]),
        "test_statistic": None,
        "test_null_distribution": None,
        "example_scores": np.array([0.6, 0.6]),
        "learning_pvalue": 1 / 3,
        "memorization_pvalue": 0.02,
    }
    return jm.MemorizationTest(**defaults | values)


def test_indices_by_hand():
    test = result()
    assert test.chance == pytest.approx(0.2)
    assert test.memorization == pytest.approx((0.6 - 0.2) / (1 - 0.2))
    assert test.learning == pytest.approx((0.9 - 0.6) / (1 - 0.6))


def test_indices_below_chance_are_negative_not_clipped():
    test = result(statistic=0.4, null_distribution=np.array([0.1, 0.1]))
    assert test.memorization == pytest.approx(-0.1 / 0.8)
    assert result(statistic=0.5).learning == pytest.approx(-0.1 / 0.4)


def test_nothing_is_left_to_learn_beyond_a_perfect_null():
    test = result(statistic=1.0, null_distribution=np.ones(2))
    assert np.isnan(test.learning)
    assert test.memorization == 1.0


def test_perfect_chance_leaves_no_scale_for_memorization():
    """Two rows and one permutation: the independent shuffle may agree with the first by chance."""
    test = result(chance_distribution=np.ones(2))
    assert np.isnan(test.memorization)
    assert "nan" in repr(test)


def test_a_result_prints_its_numbers():
    text = repr(result(test_statistic=0.25, test_null_distribution=np.array([0.1, 0.2])))
    for part in (
        "Ridge()",
        "observed 0.9000",
        "0.6000 ± 0.1000",
        "chance 0.2000",
        "test 0.2500",
        "0.750",
        "p = 0.3333",
    ):
        assert part in text


# --- The parts agree with each other and with the engine --------------------------------------------------------


def test_the_paired_null_is_that_of_the_permutation_test():
    test = run(test=HOLDOUT, key=8)
    plain = jm.permutation_test(jm.Ridge(), X, y, validation=jm.SharedStructure(X_val), n_permutations=19, key=8)
    assert (test.statistic, test.learning_pvalue) == (plain.statistic, plain.pvalue)
    np.testing.assert_array_equal(test.null_distribution, plain.null_distribution)
    held_out = jm.permutation_test(jm.Ridge(), X, y, validation=HOLDOUT, n_permutations=19, key=8)
    assert test.test_statistic == held_out.statistic
    np.testing.assert_array_equal(test.test_null_distribution, held_out.null_distribution)
    np.testing.assert_array_equal(test.labels(7), plain.labels(7))


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("classifier", [jm.Ridge(), jm.KNeighbors()], ids=repr)
def test_example_scores_average_to_the_null_whatever_the_batch(classifier, batch_size):
    source = np.array([4, 4, 0, 29, 11])
    test = run(classifier, jm.SharedStructure(X_val[source], source), batch_size=batch_size)
    assert test.example_scores.shape == (5,)
    assert test.example_scores.mean() == pytest.approx(test.null_distribution.mean(), rel=1e-12)
    assert_same(test, run(classifier, jm.SharedStructure(X_val[source], source)))


def test_example_scores_are_how_often_a_row_recovers_its_shuffled_label():
    """One neighbour on unperturbed rows, one of them replaced by a copy of another row."""
    copies = X.copy()
    copies[2] = X[9]
    test = run(jm.KNeighbors(), jm.SharedStructure(copies), n_permutations=50)
    labels = np.stack([test.labels(index) for index in range(1, 51)])
    expected = np.ones(30)
    expected[2] = (labels[:, 2] == labels[:, 9]).mean()
    np.testing.assert_allclose(test.example_scores, expected)


def test_several_validations_equal_separate_tests():
    source = np.array([1, 5, 5, 20])
    designs = {
        "weak": jm.SharedStructure(X_val),
        "strong": jm.SharedStructure(X_val + 0.5),
        "test": jm.SharedStructure(X_val[source], source),  # A name of one's own does not collide with the holdout's.
    }
    together = jm.memorization_tests(jm.Ridge(), X, y, designs, test=HOLDOUT, n_permutations=19)
    assert list(together) == list(designs)
    for name, design in designs.items():
        assert_same(together[name], run(validation=design, test=HOLDOUT))


def test_without_a_holdout_there_are_no_test_scores():
    test = run()
    assert test.test_statistic is None and test.test_null_distribution is None
    assert_same(test, run(test=None))


def test_the_broken_null_is_an_independent_shuffle_of_its_own():
    """Perfect recovery: the paired null is 1, and the broken one counts the agreements of two unrelated shuffles."""
    test = run(jm.KNeighbors(), jm.SharedStructure(X), n_permutations=1_000)
    np.testing.assert_array_equal(test.null_distribution, 1)
    assert_mean(test.chance_distribution, 1 / 3)
    # Hypergeometric counts: the variance of Σ_i 1{a_i = b_i} / n for two shuffles of 3 × 10 labels.
    agreements = np.random.default_rng(0).permuted(np.tile(y, (20_000, 1)), axis=1) == y
    assert test.chance_distribution.var() == pytest.approx(agreements.mean(axis=1).var(), rel=0.2)


# --- Refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation": HOLDOUT}, "measured on perturbed copies.*got a Holdout"),
        ({"test": jm.SharedStructure(X_val)}, "test must be independent rows.*is a SharedStructure"),
        ({"test": jm.Holdout(X_test, y_test + 1)}, "y_val has classes that the training labels lack"),
        ({"n_permutations": 0}, "n_permutations must be an integer >= 1"),
        ({"key": 0.5}, "key must be an integer seed"),
    ],
)
def test_what_cannot_be_tested_is_refused(arguments, message, unchecked):
    with pytest.raises(ValueError, match=message):
        run(**arguments)
