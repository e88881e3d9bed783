"""Scores from networks on subsets: by hand, as plain NumPy has them, with standard errors that are right."""

import numpy as np
import pytest

import jaxmem as jm


def test_scores_by_hand():
    """Two rows, five networks. Row 0: seen by three, of which two are right; unseen by two, of which one is."""
    included = np.array([[1, 0], [1, 1], [1, 0], [0, 1], [0, 1]], bool)
    correct = np.array([[1, 0], [1, 1], [0, 0], [1, 1], [0, 1]])
    found = jm.memorization_scores(included, correct)
    np.testing.assert_allclose(found.value, [2 / 3 - 1 / 2, 1])
    # Variances 1/3 of three and 1/2 of two: 1/9 + 1/4. Row 1 leaves none.
    np.testing.assert_allclose(found.standard_error, [np.sqrt(1 / 9 + 1 / 4), 0])
    consistency = jm.consistency_scores(included, correct)
    np.testing.assert_allclose(consistency.value, [0.5, 0])
    np.testing.assert_allclose(consistency.standard_error, [0.5, 0])
    # Row 0 on row 1: seen by networks 0, 1, 2 (0, 1, 0 right), unseen by 3 and 4 (1, 1).
    influence = jm.influence_scores(included, correct)
    np.testing.assert_allclose(influence.value[0, 1], 1 / 3 - 1)
    np.testing.assert_allclose(influence.standard_error[0, 1], 1 / 3)
    np.testing.assert_allclose(np.diag(influence.value), found.value)
    np.testing.assert_allclose(np.diag(influence.standard_error), found.standard_error, atol=1e-7)


def test_scores_equal_plain_numpy():
    rng = np.random.default_rng(0)
    included, tested = rng.random((30, 12)) < 0.6, rng.random((30, 5))
    found = jm.influence_scores(included, tested)
    for i in range(12):
        seen, unseen = tested[included[:, i]], tested[~included[:, i]]
        np.testing.assert_allclose(found.value[i], seen.mean(axis=0) - unseen.mean(axis=0))
        squared = sum(half.var(axis=0, ddof=1) / len(half) for half in (seen, unseen))
        np.testing.assert_allclose(found.standard_error[i], np.sqrt(squared))
    sizes = (found.value**2 - found.standard_error**2).mean(axis=1)
    np.testing.assert_allclose(jm.mean_square_influence(included, tested), sizes, atol=1e-12)
    # What all networks have in common counts for nothing, however large it is.
    shifted = jm.influence_scores(included, tested + 1e6)
    np.testing.assert_allclose(shifted, found, atol=1e-9)
    np.testing.assert_allclose(jm.mean_square_influence(included, tested + 1e6), sizes, atol=1e-9)


def test_mean_square_influence_is_unbiased():
    """500 tables of networks that are right with probability 0.8 about every other row after row 0, else with 0.3."""
    rng = np.random.default_rng(2)
    included = np.stack([jm.random_subsets(number, 6, 30, 0.5) for number in range(500)])
    chance = np.where(included[:, :, :1] & (np.arange(10) % 2 == 0), 0.8, 0.3)
    correct = rng.random(chance.shape) < chance
    found = np.stack([jm.mean_square_influence(*tables) for tables in zip(included, correct, strict=True)])
    # Row 0 moves half of the rows by a half. Of the others one fifth of it is seen, for subsets have one size.
    error = found.std(axis=0) / np.sqrt(500)
    expected = np.array([0.125, *[0.125 / 25] * 5])
    assert (np.abs(found.mean(axis=0) - expected) < 4 * error).all() and (error < 0.005).all()


def test_scores_are_unbiased_and_their_standard_errors_right():
    """2,000 tables of networks that are right with probability 0.9 about rows they saw, and 0.4 about others."""
    rng = np.random.default_rng(1)
    included = np.stack([jm.random_subsets(number, 8, 24, 0.5) for number in range(250)])
    correct = rng.random(included.shape) < np.where(included, 0.9, 0.4)
    times = included.sum(axis=1)
    good = (np.minimum(times, 24 - times) >= 2).all(axis=1)
    tables = list(zip(included[good], correct[good], strict=True))
    found = [jm.memorization_scores(*each) for each in tables]
    values = np.stack([each.value for each in found])
    assert abs(values.mean() - 0.5) < 0.02
    squared = np.stack([each.standard_error**2 for each in found])
    np.testing.assert_allclose(squared.mean(), values.var(), rtol=0.1)
    consistency = np.stack(
        [jm.consistency_scores(*tables).value for tables in zip(included[good], correct[good], strict=True)]
    )
    assert abs(consistency.mean() - 0.4) < 0.02


def test_subsets_have_one_size_and_depend_on_their_number_alone():
    found = jm.random_subsets(0, 10, 400, 0.7)
    assert (found.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(jm.random_subsets(0, 10, 3, 0.7), found[:3])
    # Every row as often as any other, and pairs as often as they should: 7 * 6 / (10 * 9).
    assert abs(found.mean(axis=0) - 0.7).max() < 0.1
    pairs = (found.astype(float).T @ found / 400)[~np.eye(10, dtype=bool)]
    assert abs(pairs - 7 / 15).max() < 0.1
    assert not np.array_equal(jm.random_subsets(1, 10, 400, 0.7), found)


def test_refusals(unchecked):
    included = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool)
    for call, message in [
        (lambda: jm.random_subsets(0, 10, 3, 0.01), "at least one row in"),
        (lambda: jm.random_subsets(0, 10, 3, 1.0), "at least one row in"),
        (lambda: jm.random_subsets(0, 0, 3), "n must be"),
        (lambda: jm.random_subsets(0, 10, 0), "n_members"),
        (lambda: jm.memorization_scores(included.astype(int), included), "int64"),
        (lambda: jm.memorization_scores(included, included[:3]), "one row for each member"),
        (lambda: jm.memorization_scores(included, included[:, :1]), "expected the same"),
        (lambda: jm.consistency_scores(included, included[:, :1]), "expected the same"),
        (lambda: jm.memorization_scores(included[:3], included[:3]), "row 0 is in 2 of 3 subsets"),
        (lambda: jm.influence_scores(included, np.full((4, 3), np.nan)), "NaN"),
        (lambda: jm.memorization_scores(included[:, :0], included[:, :0]), "one or more networks and rows"),
        (lambda: jm.mean_square_influence(included, included[:, :0]), "one or more networks and rows"),
        (lambda: jm.memorization_scores(included, np.full((4, 2), "yes")), "correct must hold real numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
