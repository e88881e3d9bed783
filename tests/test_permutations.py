"""Permutations addressed by index: bijections, uniform, the same however they are drawn, and for ever."""

import hashlib
import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_mean
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxmem.permutations import EXACT_ROWS, ROUNDS, Shuffles, shuffles
from jaxmem.permutations.free import _by_counting

SORTED, SCRAMBLED = (2, 3, 4, 5, 7, 40, 255, 256), (257, 258, 288, 289, 290, 300, 1_000, 4_000, 60_000)
STUDIED = (7, 40, 257, 289, 300)  # Numbers of rows whose permutations are drawn often enough for statistics.
N_DRAWS = 19_999
KEY = jax.random.key(0)


# Every number of rows is a program of its own: half of the time is compiling it. Integers come out the same.
@partial(jax.jit, static_argnums=1, compiler_options={"xla_backend_optimization_level": "0"})
def draw(key, n, indices):
    """Permutations (B, n) of these indices."""
    return jax.lax.map(shuffles(key, n).permutation, indices, batch_size=min(500, len(indices)))


@cache
def permutations(n):
    """Permutations 0, 1, ... under one key for all tests: they look at different sides of the same draws."""
    n_draws = {4: 4_999, 5: 23_999}.get(n, N_DRAWS if n in STUDIED else 4)
    return np.asarray(draw(KEY, n, jnp.arange(1 + n_draws)))


def test_both_generators_are_under_test():
    assert max(SORTED) == EXACT_ROWS < min(SCRAMBLED)


# --- Bijections, and what they depend on -------------------------------------------------------------------------


@pytest.mark.parametrize("n", SORTED + SCRAMBLED)
def test_every_index_is_a_bijection_and_index_0_the_identity(n):
    drawn = permutations(n)
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.broadcast_to(np.arange(n), drawn.shape))
    np.testing.assert_array_equal(drawn[0], np.arange(n))
    if n > 7:
        assert len(np.unique(drawn, axis=0)) == len(drawn)


@pytest.mark.parametrize("n", [7, 300])
def test_a_permutation_does_not_depend_on_what_is_drawn_beside_it(n):
    stream, indices = shuffles(KEY, n), np.array([5, 2, 2, 0, 19_999])
    expected = permutations(n)[indices]
    np.testing.assert_array_equal(jax.jit(jax.vmap(Shuffles.permutation, (None, 0)))(stream, indices), expected)
    alone = jax.jit(Shuffles.permutation)
    np.testing.assert_array_equal([alone(stream, index) for index in indices], expected)


@pytest.mark.parametrize("n", [40, 300])
def test_keys_give_different_permutations(n):
    drawn = np.concatenate([draw(jax.random.key(seed), n, jnp.arange(5)) for seed in range(10)])
    assert len(np.unique(drawn, axis=0)) == 1 + 10 * 4  # the identity is common to all keys
    np.testing.assert_array_equal(drawn[:5], permutations(n)[:5])


@pytest.mark.parametrize("n", [7, 300])
def test_precision_does_not_change_a_permutation(n, float64):
    np.testing.assert_array_equal(draw(KEY, n, jnp.arange(5)), permutations(n)[:5])


def test_the_largest_indices_are_permutations_of_their_own():
    drawn = np.asarray(draw(KEY, 300, jnp.array([0, 1, 2**30, 2**31 - 2, 2**31 - 1])))
    assert len(np.unique(drawn, axis=0)) == 5
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.broadcast_to(np.arange(300), drawn.shape))


def test_the_scrambled_permutation_is_the_feistel_walk_in_plain_integers():
    """The definition of the module's docstring, walked cell by cell in Python: no table, no doubling, no wrapping."""
    for n in (257, 300):
        side, index = math.ceil(math.sqrt(n)), 3
        words = np.asarray(jax.random.bits(jax.random.fold_in(KEY, index), (ROUNDS, 2), jnp.uint32)).tolist()

        def walk(cell, words=words, side=side):
            left, right = divmod(cell, side)
            for offset, multiplier in words:
                hashed = (right + offset) * 0x9E3779B1 % 2**32
                hashed = (hashed ^ hashed >> 15) * (multiplier | 1) % 2**32
                left, right = right, (left + ((hashed ^ hashed >> 13) * side >> 32)) % side
            return left * side + right

        landing = [walk(row) for row in range(n)]
        while max(landing) >= n:
            landing = [walk(cell) if cell >= n else cell for cell in landing]
        np.testing.assert_array_equal(permutations(n)[index], np.asarray(shuffles(KEY, n).base)[landing])


@pytest.mark.parametrize("n", [2, 7, 256])
@pytest.mark.parametrize("words", [2, 2**32])
def test_counting_puts_labels_where_sorting_does_ties_and_all(n, words):
    """CPUs count and accelerators sort: one definition."""
    high, low = np.random.default_rng(n).integers(0, words, (2, n), dtype=np.uint32)
    y = jnp.arange(n)
    expected = jax.lax.sort((high, low, y), num_keys=2)[2]
    np.testing.assert_array_equal(_by_counting(jnp.asarray(high), jnp.asarray(low), y), expected)
    np.testing.assert_array_equal(expected, np.lexsort((low, high)))


@settings(deadline=None, max_examples=40)
@given(
    n=st.sampled_from([5, 300]),
    index=st.integers(0, 2**31 - 1),
    seed=st.integers(0, 2**31 - 1),
)
def test_labels_are_y_taken_at_the_permutation(n, index, seed):
    y = jnp.asarray(np.random.default_rng(seed).integers(0, 4, n), jnp.uint8)
    labels, permutation = _labels_and_permutation(jax.random.key(seed), y, index)
    assert labels.dtype == jnp.uint8
    np.testing.assert_array_equal(labels, y[permutation])


@jax.jit
def _labels_and_permutation(key, y, index):
    stream = shuffles(key, y.shape[0])
    return stream.labels(y, index), stream.permutation(index)


@pytest.mark.parametrize(
    ("n", "index", "first", "digest"),
    [
        (5, 1, [0, 1, 4, 3, 2], "1b5d4dec7f6c18c9"),
        (256, 2, [200, 158, 117, 168, 191, 98, 235, 159], "5a7a8faebb0aae99"),
        (257, 999, [122, 118, 113, 74, 60, 185, 83, 101], "bf135de3210df94c"),
        (1_000, 2, [489, 331, 618, 1, 354, 388, 26, 381], "c988d6a586698d90"),
        (60_000, 1, [36790, 7120, 22207, 7105, 58606, 36912, 6125, 49410], "7bb1ac4b565e418c"),
    ],
)
def test_the_stream_never_changes(n, index, first, digest):
    """A change here changes every null that anyone ever drew: saved results would no longer give their labels."""
    permutation = permutations(n)[index]
    assert permutation[:8].tolist() == first
    assert hashlib.sha256(permutation.astype("<i4").tobytes()).hexdigest()[:16] == digest


# --- Uniformity -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 5])
def test_all_orders_are_equally_likely(n):
    n_orders = math.factorial(n)
    _, counts = np.unique(permutations(n)[1:], axis=0, return_counts=True)
    assert len(counts) == n_orders
    assert 1e-3 < stats.chisquare(counts).pvalue < 1 - 1e-3


@pytest.mark.parametrize("n", [7, 40, 257, 300])
def test_every_row_goes_everywhere_equally_often(n):
    drawn, n_draws = permutations(n)[1:], N_DRAWS
    counts = np.stack([np.bincount(column, minlength=n) for column in drawn.T])
    # The indicators of a uniform permutation have covariance (I - J/n) ⊗ (I - J/n) / (n - 1).
    statistic = (n - 1) / n_draws * ((counts - n_draws / n) ** 2).sum()
    assert 1e-3 < stats.chi2.sf(statistic, (n - 1) ** 2) < 1 - 1e-3


@pytest.mark.parametrize("n", [7, 40, 257, 300])
def test_ordered_pairs_of_rows_go_everywhere_equally_often(n):
    drawn, n_draws = permutations(n)[1:], N_DRAWS
    # Above EXACT_ROWS the rows lie on a grid: neighbours in a row and in a column of it are the likeliest to err.
    side = math.isqrt(n - 1) + 1
    pairs = [(0, 1), (0, side), (0, side + 1), (1, 2), (0, n - 1), (side, side + 1), (2, n // 2), (n - 2, n - 1)]
    cells = n * (n - 1)
    for i, j in pairs:
        counts = np.bincount(drawn[:, i] * n + drawn[:, j], minlength=n * n)
        assert counts[:: n + 1].sum() == 0
        statistic = (counts.astype(float) ** 2).sum() * cells / n_draws - n_draws
        # Pearson's statistic has these moments however few draws there are per cell.
        z = (statistic - (cells - 1)) / math.sqrt(2 * (cells - 1) * (n_draws - 1) / n_draws)
        assert abs(z) < 4, (i, j, z)


@pytest.mark.parametrize("n", [257, 289, 300])
def test_rows_of_the_grid_are_torn_apart_as_by_chance(n):
    """What a Feistel bijection of too few rounds would show: neighbours on the grid that stay neighbours."""
    side = math.isqrt(n - 1) + 1
    landing = np.argsort(shuffles(KEY, n).base)[permutations(n)[1:]]
    i = np.arange(n)
    for line in (i // side, i % side):
        sizes = np.bincount(line)
        together = (sizes * (sizes - 1)).sum() / (n * (n - 1))
        for step in (1, side):
            before, after = i[:-step], i[step:]
            same = (line[landing[:, after]] == line[landing[:, before]]).sum(axis=1)
            assert_mean(same, together * (n - step))


@pytest.mark.parametrize("n", [7, 300])
def test_neighbouring_indices_are_unrelated(n):
    drawn = permutations(n)[1:]
    fixed = (drawn[1:] == drawn[:-1]).sum(axis=1)
    # Between independent permutations the number of agreements has mean 1 and variance 1.
    assert_mean(fixed, 1)
    assert_mean((fixed - 1) ** 2, 1)


@pytest.mark.parametrize("n", [7, 40, 257, 300])
def test_null_distributions_agree_with_numpys_shuffles(n):
    rng = np.random.default_rng(0)
    ours = permutations(n)[1:]
    numpys = rng.permuted(np.tile(np.arange(n), (N_DRAWS, 1)), axis=1)
    y = rng.normal(size=n) ** 2
    size = n // 3
    subset_sums, rank_correlations = (
        [y[drawn[:, :size]].sum(axis=1) for drawn in (ours, numpys)],
        [stats.zscore(drawn, axis=1) @ stats.zscore(np.arange(n)) / n for drawn in (ours, numpys)],
    )
    for mine, theirs in (subset_sums, rank_correlations):
        assert stats.ks_2samp(mine, theirs, method="asymp").pvalue > 1e-3
    # The exact moments of both: a sample without replacement, and Spearman's correlation.
    assert_mean(subset_sums[0], size * y.mean())
    variance = size * (n - size) / n * y.var(ddof=1)
    assert_mean((subset_sums[0] - size * y.mean()) ** 2, variance)
    assert_mean(rank_correlations[0], 0)
    assert_mean(rank_correlations[0] ** 2, 1 / (n - 1))
