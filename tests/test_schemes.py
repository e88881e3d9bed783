"""Exchanges within blocks and of whole blocks, and complete enumeration: what may move does, equally often."""

import hashlib
import itertools
import math
from collections import Counter
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_mean
from scipy import stats

from jaxmem.permutations import (
    EXACT_ROWS,
    ROUNDS,
    Enumeration,
    Shuffles,
    Stream,
    Whole,
    Within,
    n_labelings,
    plan,
    random_stream,
)

# Tens of thousands of draws from many kinds of blocks, each kind a program to compile.
pytestmark = pytest.mark.nightly

KEY = jax.random.key(0)
N_DRAWS = 20_000


def blocks_of(*sizes):
    """Blocks of these sizes, their rows mixed."""
    return np.random.default_rng(sum(sizes)).permutation(np.repeat(np.arange(len(sizes)), sizes))


BLOCKS = {
    "single rows and small blocks": blocks_of(1, 3, 5, 4, 4, 1, 7),
    "one block": np.zeros(6, int),
    "both sides of the exact law": blocks_of(255, 256, 257, 258, 1),
    "side by side of many lengths": blocks_of(257, 289, 290, 300, 400, 512, 513),
}
STREAMS = {f"within, {name}": ("within", blocks) for name, blocks in BLOCKS.items()} | {
    "whole, of four sizes": ("whole", blocks_of(2, 2, 2, 3, 3, 5, 1, 1)),
    "whole, more than the exact law": ("whole", blocks_of(*[2] * 300, 7)),
}
ENUMERATED = {
    "enumeration, free": ([0, 1, 2, 0, 1, 1], "free", None),
    "enumeration, within": ([0, 1, 0, 2, 2, 0, 1, 1], "within", list("aabbbbaa")),
    "enumeration, whole": ([0, 1, 1, 0, 2, 2, 1, 1, 0, 0], "whole", list("aabbccddde")),
}


def _draw(stream, indices):
    """Permutations (B, n) of these indices."""
    return jax.lax.map(stream.permutation, indices, batch_size=min(500, len(indices)))


def _draw_labels(stream, y, indices):
    """Labels (B, n) of these permutations."""
    return jax.vmap(stream.labels, (None, 0))(y, indices)


# Many kinds of stream, few draws of each: what takes time is to compile them. Where it is the draws, `draw_many`.
draw = jax.jit(_draw, compiler_options={"xla_backend_optimization_level": 0})
draw_labels = jax.jit(_draw_labels, compiler_options={"xla_backend_optimization_level": 0})
draw_many = jax.jit(_draw)


@cache
def stream(name):
    if name in ENUMERATED:
        codes, scheme, blocks = ENUMERATED[name]
        return plan(KEY, np.array(codes), scheme=scheme, blocks=blocks, n_permutations=1_000).stream
    scheme, blocks = STREAMS[name]
    return random_stream(KEY, np.arange(len(blocks)), scheme=scheme, blocks=blocks)


@cache
def permutations(name):
    return np.asarray(draw(stream(name), jnp.arange(6)))


# --- The law ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*STREAMS, *ENUMERATED])
def test_every_index_is_a_bijection_and_index_0_the_identity(name):
    drawn = permutations(name)
    assert isinstance(stream(name), Stream)
    np.testing.assert_array_equal(drawn[0], np.arange(drawn.shape[1]))
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.broadcast_to(np.arange(drawn.shape[1]), drawn.shape))
    if name in ENUMERATED or drawn.shape[1] > 20:  # The others have so few permutations that two may be the same.
        assert len(np.unique(drawn, axis=0)) == len(drawn)


@pytest.mark.parametrize("name", ["within, both sides of the exact law", "whole, of four sizes", *ENUMERATED])
def test_a_permutation_does_not_depend_on_what_is_drawn_beside_it(name):
    expected, indices = permutations(name)[[5, 2, 2, 0, 3]], jnp.array([5, 2, 2, 0, 3])
    y = jnp.asarray(np.random.default_rng(0).integers(0, 4, expected.shape[1]), jnp.uint8)
    labels = draw_labels(stream(name), y, indices)
    assert labels.dtype == jnp.uint8
    np.testing.assert_array_equal(labels, y[expected])
    alone = jax.jit(stream(name).permutation)
    np.testing.assert_array_equal([alone(index) for index in indices], expected)


@pytest.mark.parametrize("name", ["within, both sides of the exact law", "enumeration, whole"])
def test_precision_does_not_change_a_permutation(name, float64):
    expected = permutations(name)
    stream.cache_clear()
    np.testing.assert_array_equal(draw(stream(name), jnp.arange(6)), expected)
    stream.cache_clear()


@pytest.mark.parametrize("scheme", ["within", "whole"])
def test_keys_give_different_permutations_and_names_of_blocks_do_not(scheme):
    blocks = blocks_of(3, 3, 3, 4, 4, 4, 4, 4)
    names = np.array(["h", "c", "a", "z", "b", "x", "d", "e"])

    def some(seed, blocks):
        return draw(random_stream(jax.random.key(seed), np.arange(29), scheme=scheme, blocks=blocks), jnp.arange(1, 4))

    assert len(np.unique(np.concatenate([some(seed, blocks) for seed in range(8)]), axis=0)) >= 23
    for renamed in (names[blocks], names[blocks].astype(object), 100 - 7 * blocks, blocks.astype(np.uint8)):
        np.testing.assert_array_equal(some(3, renamed), some(3, blocks))


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("within, single rows and small blocks", "63e1f31674c6199c"),
        ("within, side by side of many lengths", "13fb664c1bc1038f"),
        ("whole, of four sizes", "a0189a49e77face2"),
        ("whole, more than the exact law", "6c5d86ad99ffd02a"),
        ("enumeration, within", "629998887e63cee4"),
    ],
)
def test_the_streams_never_change(name, digest):
    """A change here changes every null that anyone ever drew: saved results would no longer give their labels."""
    assert hashlib.sha256(permutations(name).astype("<i4").tobytes()).hexdigest()[:16] == digest


# --- Within blocks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BLOCKS)
def test_every_row_takes_the_label_of_a_row_of_its_block(name):
    blocks = BLOCKS[name]
    drawn = permutations(f"within, {name}")
    np.testing.assert_array_equal(blocks[drawn], np.broadcast_to(blocks, drawn.shape))
    # Every block of more than a few rows moves by itself.
    for block in np.flatnonzero(np.bincount(blocks) > 5):
        rows = blocks == block
        assert len(np.unique(drawn[:, rows], axis=0)) == len(drawn)


def test_exact_shuffles_are_fisher_yates_in_plain_integers():
    """Durstenfeld's algorithm in Python, on the random words read as fractions of 64 bits."""
    sizes, index = [3, 4, 4, 250, 256, 130], 3
    blocks = np.repeat(np.arange(6), sizes)
    within = random_stream(KEY, np.arange(len(blocks)), scheme="within", blocks=blocks)
    shapes = [(16 // 2, 1), (16 // 8, 128)]  # Steps that share a word, and words a block.
    words = jax.random.bits(jax.random.fold_in(KEY, index), (2 * 1 * 3 + 2 * 128 * 3,), jnp.uint32)
    expected = []
    for table, part, (n_steps, n_words) in zip(within.tables, np.split(np.asarray(words), [6]), shapes, strict=True):
        high, low = part.reshape(2, n_words, 3).astype(object)
        for block in range(3):
            picks = {}
            for word in range(n_words):
                fraction = high[word, block] * 2**32 + low[word, block]
                for i in range(word, n_steps * n_words, n_words):
                    picks[i], fraction = divmod(fraction * (i + 1), 2**64)
            size = int(table.sizes[block])
            labels = np.asarray(table.rows)[block, :size].tolist()
            for i in range(size - 1, 0, -1):
                labels[i], labels[picks[i]] = labels[picks[i]], labels[i]
            expected += labels
    np.testing.assert_array_equal(draw(within, jnp.array([index]))[0], expected)


def test_long_blocks_are_feistel_walks_in_plain_integers():
    """Every block walks cell by cell on a grid of its own side, as free shuffles do."""
    sizes, index = [300, 257, 400], 3
    blocks = np.repeat(np.arange(3), sizes)
    within = random_stream(KEY, np.arange(len(blocks)), scheme="within", blocks=blocks)
    (table,) = within.tables
    words = jax.random.bits(jax.random.fold_in(KEY, index), (3 * ROUNDS * 2,), jnp.uint32)
    expected = []
    for block, size in enumerate(sizes):
        side, grid = math.ceil(math.sqrt(size)), 20
        rounds = np.asarray(words).reshape(3, ROUNDS, 2)[block].tolist()

        def walk(cell, rounds=rounds, side=side):
            left, right = divmod(cell, side)
            for offset, multiplier in rounds:
                hashed = (right + offset) * 0x9E3779B1 % 2**32
                hashed = (hashed ^ hashed >> 15) * (multiplier | 1) % 2**32
                left, right = right, (left + ((hashed ^ hashed >> 13) * side >> 32)) % side
            return left * side + right

        landing = [walk(row) for row in range(size)]
        while max(landing) >= size:
            landing = [walk(cell) if cell >= size else cell for cell in landing]
        expected += [int(table.rows[block, cell // side * grid + cell % side]) for cell in landing]
    np.testing.assert_array_equal(draw(within, jnp.array([index]))[0], expected)


def assert_uniform(counts, n_cells):
    assert len(counts) == n_cells
    assert 1e-3 < stats.chisquare(list(counts.values())).pvalue < 1 - 1e-3


def test_all_orders_of_small_blocks_are_equally_likely():
    """Blocks of 3 and 4 rows share a table, the others have one each; the first three blocks have 3! 4! 2! orders."""
    blocks = np.array([0, 1, 2, 1, 0, 3, 1, 0, 2, 1] + [4] * 5)
    drawn = draw_many(random_stream(KEY, np.arange(15), scheme="within", blocks=blocks), jnp.arange(1, N_DRAWS + 1))
    drawn = np.asarray(drawn, np.uint8)
    assert_uniform(Counter(map(bytes, drawn[:, :10])), 6 * 24 * 2)
    assert_uniform(Counter(map(bytes, drawn[:, 10:])), 120)


SIZES = (33, 40, 64, 100, 257, 289, 300)  # Exact up to 100 rows, through bijections of different sides from 257.


@cache
def large():
    """Positions 0 .. size - 1 within each block, (N_DRAWS, size) per block: of these sizes, rows in order."""
    blocks = np.repeat(np.arange(len(SIZES)), SIZES)
    stream = random_stream(KEY, np.arange(len(blocks)), scheme="within", blocks=blocks)
    drawn = np.asarray(draw_many(stream, jnp.arange(1, N_DRAWS + 1)))
    starts = np.cumsum(SIZES) - SIZES
    return [drawn[:, start : start + size] - start for start, size in zip(starts, SIZES, strict=True)]


def assert_pairs_uniform(numbers, n_cells):
    """Pearson's statistic has these moments however few draws there are per cell."""
    statistic = (np.bincount(numbers).astype(float) ** 2).sum() * n_cells / N_DRAWS - N_DRAWS
    z = (statistic - (n_cells - 1)) / math.sqrt(2 * (n_cells - 1) * (N_DRAWS - 1) / N_DRAWS)
    assert abs(z) < 4, z


def test_every_row_goes_everywhere_in_its_block_equally_often():
    for drawn in large():
        size = drawn.shape[1]
        counts = np.stack([np.bincount(column, minlength=size) for column in drawn.T])
        # The indicators of a uniform permutation have covariance (I - J/n) ⊗ (I - J/n) / (n - 1).
        statistic = (size - 1) / N_DRAWS * ((counts - N_DRAWS / size) ** 2).sum()
        assert 1e-3 < stats.chi2.sf(statistic, (size - 1) ** 2) < 1 - 1e-3


def test_ordered_pairs_of_rows_of_a_block_go_everywhere_equally_often():
    for drawn in large():
        size = drawn.shape[1]
        side = math.isqrt(size - 1) + 1
        for i, j in [(0, 1), (0, side), (0, side + 1), (1, 2), (0, size - 1), (2, size // 2), (size - 2, size - 1)]:
            assert (drawn[:, i] != drawn[:, j]).all()
            assert_pairs_uniform(drawn[:, i] * size + drawn[:, j], size * (size - 1))


def test_blocks_are_shuffled_independently():
    for one, other in itertools.combinations(large(), 2):
        for i, j in [(0, 0), (1, 1), (5, 20), (-1, -1)]:
            assert_pairs_uniform(one[:, i] * other.shape[1] + other[:, j], one.shape[1] * other.shape[1])
        # Equal row numbers agree as often as by chance: no block repeats another's shuffle.
        both = min(one.shape[1], other.shape[1])
        assert_mean((one[:, :both] == other[:, :both]).sum(axis=1), both / max(one.shape[1], other.shape[1]))


def test_neighbouring_indices_are_unrelated():
    for drawn in large():
        fixed = (drawn[1:] == drawn[:-1]).sum(axis=1)
        # Between independent permutations the number of agreements has mean 1 and variance 1.
        assert_mean(fixed, 1)
        assert_mean((fixed - 1) ** 2, 1)


# --- Whole blocks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["whole, of four sizes", "whole, more than the exact law"])
def test_whole_blocks_move_with_their_rows_in_order(name):
    _, blocks = STREAMS[name]
    drawn = permutations(name)
    sizes = np.bincount(blocks)
    moved = 0
    for permutation in drawn:
        sources = []
        for block in range(len(sizes)):
            taken = permutation[blocks == block]
            sources.append(blocks[taken[0]])
            np.testing.assert_array_equal(taken, np.flatnonzero(blocks == sources[-1]))
            if (sizes == sizes[block]).sum() == 1:
                assert sources[-1] == block
        assert sorted(sources) == list(range(len(sizes)))
        moved += np.sum(sources != np.arange(len(sizes)))
    assert moved > 0


def test_all_exchanges_of_blocks_are_equally_likely():
    blocks = np.array([4, 0, 1, 3, 0, 2, 5, 1, 3, 4, 2, 5, 3, 4, 5, 5, 5])  # three blocks of 2, two of 3, one of 5
    drawn = draw_many(random_stream(KEY, np.arange(17), scheme="whole", blocks=blocks), jnp.arange(1, N_DRAWS + 1))
    assert_uniform(Counter(map(bytes, np.asarray(drawn, np.uint8))), 6 * 2)


def test_labels_that_are_constant_in_every_block_stay_so():
    """Shuffling the labels of whole groups."""
    groups = blocks_of(*[5] * 12)
    y = jnp.asarray(np.arange(12)[groups] % 3, jnp.uint8)
    labels = np.asarray(draw_labels(random_stream(KEY, y, scheme="whole", blocks=groups), y, jnp.arange(9)))
    for group in range(12):
        assert (labels[:, groups == group] == labels[:, groups == group][:, :1]).all()
    assert len(np.unique(labels, axis=0)) == 9


# --- Complete enumeration ---------------------------------------------------------------------------------------


def labelings(y, scheme, blocks):
    """All distinct labellings, by brute force over all exchanges."""
    y = np.array(y)
    if scheme == "free":
        return set(itertools.permutations(y.tolist()))
    rows = [np.flatnonzero(np.array(list(blocks)) == block) for block in sorted(set(blocks))]
    found = set()
    if scheme == "within":
        for orders in itertools.product(*[set(itertools.permutations(y[r].tolist())) for r in rows]):
            labels = y.copy()
            for r, order in zip(rows, orders, strict=True):
                labels[r] = order
            found.add(tuple(labels.tolist()))
    else:
        for order in itertools.permutations(rows):
            if all(len(r) == len(s) for r, s in zip(rows, order, strict=True)):
                labels = y.copy()
                for r, s in zip(rows, order, strict=True):
                    labels[r] = y[s]
                found.add(tuple(labels.tolist()))
    return found


SMALL = [
    ([0, 1], "free", None),
    ([1, 0, 1], "free", None),
    ([0, 1, 2, 1], "free", None),
    ([2, 1, 2, 0, 2], "free", None),
    ([4, 3, 2, 1, 0], "free", None),
    ([0, 1, 2, 0, 1, 2], "free", None),
    ([1, 1, 0, 1, 0, 1, 0, 0], "free", None),
    ([0, 1, 2, 1, 0, 2, 1, 3], "free", None),
    ([0, 1, 1, 0], "within", "abab"),
    ([0, 1, 1, 0, 1, 2], "within", "aaabbb"),
    ([1, 1, 0, 1, 0, 1, 0, 0], "within", "abcabcca"),
    ([0, 1, 2, 1, 0, 2, 1, 0], "within", "aaaaabbb"),
    ([0, 0, 0, 1, 0, 1, 1, 1], "within", "aabbccdd"),
    ([0, 0, 1, 1, 1, 1, 0, 0], "whole", "aabbccdd"),
    ([0, 1, 2, 1, 0, 1, 1, 0], "whole", "abcdaefg"),
    ([0, 1, 1, 0, 1, 0, 1, 1], "whole", "aabbcdee"),
    ([0, 1, 2, 1, 2, 0, 2, 0], "whole", "abcabcde"),
]


@pytest.mark.parametrize(("y", "scheme", "blocks"), SMALL)
def test_every_distinct_labelling_comes_once_and_the_observed_one_first(y, scheme, blocks):
    blocks = blocks and list(blocks)
    expected = labelings(y, scheme, blocks)
    count = len(expected)
    assert n_labelings(y, scheme, blocks) == count
    test = plan(KEY, jnp.asarray(y, jnp.uint8), scheme=scheme, blocks=blocks, n_permutations=max(1, count - 1))
    assert test.exact and test.n_permutations == count - 1
    drawn = np.asarray(draw(test.stream, jnp.arange(count + 1)))
    labels = np.asarray(y)[drawn]
    assert labels[0].tolist() == labels[count].tolist() == y
    assert len(set(map(tuple, labels[:count].tolist()))) == count
    assert set(map(tuple, labels.tolist())) == expected
    assert sorted(set(map(tuple, np.sort(drawn, axis=1).tolist()))) == [tuple(range(len(y)))]
    np.testing.assert_array_equal(drawn[0], np.arange(len(y)))


def test_enumeration_gives_the_null_distribution_of_scipys():
    x = np.random.default_rng(0).normal(size=9)
    y = np.array([0, 1, 1, 0, 0, 1, 0, 1, 1])

    def statistic(a, b, axis):
        return a.mean(axis=axis) - b.mean(axis=axis)

    theirs = stats.permutation_test((x[y == 0], x[y == 1]), statistic, n_resamples=np.inf, vectorized=True)
    test = plan(KEY, y, n_permutations=1_000)
    labels = np.asarray(draw_labels(test.stream, jnp.asarray(y), jnp.arange(test.n_permutations + 1)))
    ours = np.array([x[one == 0].mean() - x[one == 1].mean() for one in labels])
    np.testing.assert_allclose(np.sort(ours), np.sort(theirs.null_distribution), rtol=1e-12)
    assert ours[0] == pytest.approx(theirs.statistic)


def rank_of(labels, y, strata):
    """The rank of a labelling by the definition in the module's docstring, in Python's integers."""
    rank, radix = 0, 1
    for stratum in np.unique(strata):
        still_open = np.flatnonzero(strata == stratum).tolist()
        *smaller, _ = sorted(Counter(y[still_open].tolist()).items(), key=lambda item: (item[1], item[0]))
        for label, size in smaller:
            places = [p for p, row in enumerate(still_open) if labels[row] == label]
            assert len(places) == size
            rank += radix * sum(math.comb(p, j) for j, p in enumerate(places, 1))
            radix *= math.comb(len(still_open), size)
            still_open = [row for row in still_open if labels[row] != label]
    return rank


@pytest.mark.parametrize(
    ("y", "blocks"),
    [
        (np.arange(33) % 2, None),  # C(33, 16) = 1,166,803,110
        (np.arange(19) % 3, None),  # 19! / (7! 6! 6!) = 46,558,512
        (np.arange(12), None),  # 12! = 479,001,600
        (np.arange(60_000) == 41_234, None),
        (np.arange(2_000) % 1_000 == 0, np.arange(2_000) // 1_000),
        (np.arange(62) % 2, np.arange(62) // 2),  # 2^31
    ],
    ids=["two classes", "three", "all different", "one positive", "one in each of two blocks", "pairs"],
)
def test_large_enumerations_number_their_labellings_as_defined(y, blocks):
    y = y.astype(int)
    scheme = "free" if blocks is None else "within"
    count = n_labelings(y, scheme, blocks)
    strata = np.zeros(len(y), int) if blocks is None else blocks
    test = plan(KEY, y, scheme=scheme, blocks=blocks, n_permutations=count)
    assert test.exact and test.n_permutations == count - 1
    some = np.random.default_rng(0).integers(0, count, 20)
    indices = np.unique([0, 1, count // 2, count - 2, count - 1, *some]).astype(np.int32)
    labels = y[np.asarray(draw(test.stream, jnp.asarray(indices)))]
    first = rank_of(y, y, strata)
    assert [(rank_of(one, y, strata) - first) % count for one in labels] == indices.tolist()


def test_there_are_as_many_labellings_as_the_multinomials_say():
    f = math.factorial
    y = np.arange(6_000) % 10
    assert n_labelings(y) == f(6_000) // f(600) ** 10
    assert n_labelings(y.astype(str)) == f(6_000) // f(600) ** 10
    assert n_labelings(y, "within", y // 2) == (f(1_200) // f(600) ** 2) ** 5
    assert n_labelings(y, "within", y) == 1
    # 600 blocks of 10 rows: 300 with 0 first, 300 with 5 first; one more of a size of its own.
    y = np.r_[np.tile([0, 5, 5, 5, 5, 5, 5, 5, 5, 0], 300), np.tile([5, 0, 0, 0, 0, 0, 0, 0, 0, 0], 300), [0, 5]]
    assert n_labelings(y, "whole", np.r_[np.repeat(np.arange(600), 10), 600, 600]) == math.comb(600, 300)
    assert n_labelings(np.arange(20), "whole", np.arange(20) // 2) == f(10)
    assert n_labelings(["a", "a"]) == 1


@pytest.mark.parametrize(("y", "scheme", "blocks"), [SMALL[5], SMALL[11], SMALL[16]])
def test_a_test_is_exact_if_no_more_is_asked_than_there_is(y, scheme, blocks):
    blocks = blocks and list(blocks)
    count = n_labelings(y, scheme, blocks)
    random = {"free": Shuffles, "within": Within, "whole": Whole}[scheme]
    for n_permutations, exact in [(count - 2, False), (count - 1, True), (count, True), (10**12, True)]:
        test = plan(KEY, np.array(y), scheme=scheme, blocks=blocks, n_permutations=n_permutations)
        assert test.exact == exact
        assert test.n_permutations == (count - 1 if exact else n_permutations)
        exchanges = test.stream.exchanges if scheme == "whole" else test.stream
        assert isinstance(exchanges, Enumeration) == exact
        assert exact or isinstance(test.stream, random)
    assert isinstance(random_stream(KEY, np.array(y), scheme=scheme, blocks=blocks), random)


def test_more_labellings_than_32_bits_hold_are_never_enumerated():
    assert math.comb(34, 17) > 2**31
    assert not plan(KEY, np.arange(34) % 2, n_permutations=10**12).exact
    assert not plan(KEY, np.arange(64) % 2, scheme="within", blocks=np.arange(64) // 2, n_permutations=10**12).exact


def test_free_plans_are_the_free_stream():
    test = plan(KEY, np.arange(300) % 3, n_permutations=99)
    assert (test.n_permutations, test.exact) == (99, False)
    assert isinstance(test.stream, Shuffles)
    assert EXACT_ROWS < 300


# --- Errors -----------------------------------------------------------------------------------------------------

Y = np.array([0, 1, 0, 1, 1, 0])


@pytest.mark.parametrize(
    ("y", "scheme", "blocks", "message"),
    [
        (Y, "witin", [0, 0, 0, 1, 1, 1], "scheme must be one of .* but is 'witin'. Did you mean 'within'"),
        (Y, "free", [0, 0, 0, 1, 1, 1], "'free' exchanges all rows and would ignore them: choose scheme='within'"),
        (Y, "within", None, "scheme='within' needs blocks"),
        (Y, "whole", None, "scheme='whole' needs blocks"),
        (Y, "within", [0, 0, 1], r"shape \(6,\), but has shape \(3,\)"),
        (Y, "whole", np.arange(7), r"shape \(7,\). There are more blocks than rows"),
        (Y, "within", np.zeros((6, 1)), r"but has shape \(6, 1\)"),
        (Y, "within", 3, r"but has shape \(\)"),
        (Y, "within", [0, 0, np.nan, 1, np.nan, 1], r"missing \(NaN or None\) in 2 of 6 rows, the first in row 2"),
        (Y, "whole", ["a", "a", "b", "b", "c", None], "missing .* in 1 of 6 rows, the first in row 5"),
        (Y, "within", [0.0, 0.0, 0.5, 1.0, 1.0, 1.0], r"dtype is float64. .* blocks.astype\(int\)"),
        (Y, "within", np.array([0, "a", 0, 0, 0, 1], object), "dtype is object"),
        (Y, "within", Y + 3, "each of the 2 blocks holds labels of one class only"),
        (Y, "within", np.arange(6), "each of the 6 blocks is a single row"),
        (Y, "whole", [0, 1, 1, 2, 2, 2], "no two of the 3 blocks have one: their sizes are 1, 2, 3 rows. Drop rows"),
        (Y, "whole", np.zeros(6, int), "no two of the 1 blocks have one"),
        (np.array([0, 1, 0, 1, 1, 1]), "whole", [0, 0, 1, 1, 2, 3], "those of equal size carry the same labels"),
        (Y * 0, "free", None, "Every row has the same label"),
    ],
)
def test_what_cannot_be_exchanged_is_refused(y, scheme, blocks, message, unchecked):
    with pytest.raises(ValueError, match=message):
        plan(KEY, y, scheme=scheme, blocks=blocks, n_permutations=9)
    with pytest.raises(ValueError, match=message):
        random_stream(KEY, y, scheme=scheme, blocks=blocks)


def test_labels_are_counted_only_if_they_are_a_vector(unchecked):
    with pytest.raises(ValueError, match=r"one label per row, shape \(n,\), but has shape \(2, 3\)"):
        n_labelings(Y.reshape(2, 3))
    with pytest.raises(ValueError, match=r"shape \(6,\), but has shape \(5,\)"):
        n_labelings(Y, "within", np.arange(5))
