"""The law for measures: each equals its published formula, keeps what it says it keeps, and never gives NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import spatial, stats

import jaxmem as jm
from benchmarks.textbook import TEXTBOOK
from jaxmem.similarity import (
    CKA,
    INVARIANCES,
    MEASURES,
    RSA,
    NeighborOverlap,
    measure_by_name,
    pair_similarity,
    similarities,
)
from jaxmem.similarity.cka import _median_distance
from jaxmem.similarity.measures import as_networks

all_measures = pytest.mark.parametrize("name", MEASURES)
# Variants of one formula, which share their code with another, are tested in all ways by night.
VARIANTS = ("cka-biased", "rbf-cka-biased", "rbf-cka", "rsa-spearman", "cca", "svcca", "predictivity", "kappa")
every_measure = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.nightly if name in VARIANTS else ()) for name in MEASURES]
)
N = 56  # An even number of pairs, whose median is the mean of two of them.


def takes(name):
    return MEASURES[name].facts.takes


def networks(seed=0, n=N, widths=(6, 9)):
    """Two networks that have something in common, in the form that every measure but error overlap takes."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 4))
    return [common @ rng.normal(size=(4, d)) + 0.7 * rng.normal(size=(n, d)) for d in widths]


def pair(name, seed):
    """Logits are of the same classes."""
    return networks(seed, widths=(6, 6) if takes(name) == "logits" else (6, 9))


def given(name, X):
    return X[:, 0] > 0.5 if takes(name) == "errors" else X


def similarity(name, X, Y):
    return pair_similarity(given(name, X), given(name, Y), name)


@all_measures
def test_equals_the_published_formula(name, dtype):
    # Ranks are counted in cells, of 2^-16 of an octave each.
    tolerance = 1e-5 if dtype == np.float32 or name == "rsa-spearman" else 1e-12
    for seed in range(2):
        X, Y = pair(name, seed)
        expected = TEXTBOOK[name](given(name, X), given(name, Y))
        assert similarity(name, X, Y) == pytest.approx(expected, abs=tolerance)


@every_measure
def test_single_precision_is_enough_for_offsets_scales_and_dead_units(name):
    X, Y = networks(5, n=202, widths=(30, 30))
    if takes(name) == "features":
        X = np.column_stack([X * np.logspace(-2, 2, 30) + 10, np.zeros(202), np.full(202, 0.1)])
        Y = np.column_stack([1e-4 * Y, np.full(202, 3.3)])
    X, Y = X.astype(np.float32), Y.astype(np.float32)
    exact = [Z.astype(float) for Z in (X, Y)]
    if takes(name) == "features":  # The formulas lose more digits to an offset than single precision does.
        exact = [Z - Z.mean(axis=0) for Z in exact]
    expected = TEXTBOOK[name](*(given(name, Z) for Z in exact))
    assert similarity(name, X, Y) == pytest.approx(expected, abs=1e-4)


@every_measure
def test_a_network_is_itself_and_pairs_have_no_order(name):
    facts, (X, Y) = MEASURES[name].facts, pair(name, 1)
    itself = 1.0 if facts.larger_is_similar else 0.0
    # Ridge explains all but what its penalty takes.
    assert similarity(name, X, X) == pytest.approx(itself, abs=1e-4 if name == "predictivity" else 2e-6)
    found = similarity(name, X, Y)
    assert found == pytest.approx(similarity(name, Y, X), abs=2e-6)
    assert facts.low - 1e-6 <= found <= facts.high + 1e-6
    assert (found < itself - 0.01) if facts.larger_is_similar else (found > 0.01)


CHANGES = {
    "translation": lambda X, rng: X + 3 * rng.normal(size=X.shape[1]),
    "scaling": lambda X, rng: 7.5 * X,
    "rotation": lambda X, rng: X @ np.linalg.qr(rng.normal(size=(X.shape[1],) * 2))[0],
    "linear map": lambda X, rng: X @ (rng.normal(size=(X.shape[1],) * 2) * np.logspace(0, 1, X.shape[1])[:, None]),
    "dead units": lambda X, rng: np.column_stack([X, np.full(len(X), 0.3), X[:, 0] * 0]),
    "increasing map": lambda X, rng: np.exp(X / 2),
}


@pytest.mark.parametrize("change", INVARIANCES)
@every_measure
def test_is_invariant_to_what_it_says_and_to_nothing_else(name, change, float64):
    if takes(name) == "errors":
        pytest.skip("booleans know no such changes")
    if takes(name) == "logits" and change == "dead units":
        pytest.skip("logits are of the same classes")
    rng = np.random.default_rng(3)
    X, Y = pair(name, 4)
    X, Y = X + 2, Y + 2  # Rows without a common offset hide what translation does.
    before, after = similarity(name, X, Y), similarity(name, CHANGES[change](X, rng), Y)
    if change in MEASURES[name].facts.invariances:
        assert after == pytest.approx(before, abs=1e-10)
    elif not (change == "dead units" and takes(name) != "features"):
        assert abs(after - before) > 1e-7


@all_measures
def test_nothing_that_does_not_vary_makes_nan(name):
    X, Y = pair(name, 4)
    constant, one_unit = np.full_like(X, 0.1), np.column_stack([X[:, :1], np.zeros((N, 5))])
    for other in (constant, one_unit, np.repeat(X[:2], N // 2, axis=0)):
        assert np.isfinite(similarity(name, other, Y)) and np.isfinite(similarity(name, other, other))
    if takes(name) == "features":
        assert similarity(name, constant, Y) == 0 and similarity(name, constant, constant) == 0


def equally_far():
    """Two unrelated networks each, of which nothing varies over pairs of rows but rounding."""
    rng = np.random.default_rng(0)
    one, other = np.zeros((2, 20, 1))
    one[0], other[5] = 1, 1
    return {
        "one unit in one row": (one, other),
        "unit vectors": (np.eye(14), 3 * np.eye(14)[::-1]),
        "narrow kernels": tuple(rng.normal(size=(2, 30, 200))),
    }


@pytest.mark.parametrize(
    ("measure", "case"),
    [
        (CKA(), "one unit in one row"),
        (CKA("rbf"), "unit vectors"),
        (CKA(), "unit vectors"),
        (CKA("rbf", bandwidth=0.1), "narrow kernels"),
        (RSA(), "unit vectors"),
        (RSA("spearman"), "unit vectors"),
        (RSA(distance="correlation"), "unit vectors"),
        (RSA(distance="correlation"), "one unit in one row"),
    ],
    ids=str,
)
def test_rows_that_are_all_equally_far_apart_but_for_rounding_are_like_nothing(measure, case, dtype):
    one, other = equally_far()[case]
    ordinary = np.random.default_rng(1).normal(size=(len(one), 300))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        turned = [Z @ np.linalg.qr(rng.normal(size=(Z.shape[1],) * 2))[0] for Z in (one, other)]
        if measure == RSA(distance="correlation"):
            turned = [one, other]  # A rotation does not keep it.
        found = similarities([*turned, np.where(np.arange(300) < one.shape[1], ordinary, 0)], measure)
        np.testing.assert_array_equal(found[:2], 0)


def test_rsa_keeps_the_digits_of_distances_that_are_nearly_equal():
    X, Y = (np.eye(60) + 5e-6 * Z for Z in np.random.default_rng(0).normal(size=(2, 60, 60)))
    X, Y = X.astype(np.float32), Y.astype(np.float32)
    expected = TEXTBOOK["rsa"](X.astype(float), Y.astype(float))
    assert pair_similarity(X, Y, "rsa") == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("n", [4, 7, 8, 9, 62])
def test_medians_are_numpys(n, dtype):
    pairs = np.triu_indices(n, 1)
    for seed, levels in enumerate([1_000_000, 1_000_000, 5, 2]):  # With ties in the middle, too.
        squares = np.random.default_rng(seed).integers(0, levels, size=(n, n)).astype(dtype) / 7
        squares = np.triu(squares, 1) + np.triu(squares, 1).T
        expected = np.median(np.sqrt(squares[pairs].astype(float)))
        assert _median_distance(jnp.asarray(squares)) == pytest.approx(expected, rel=4 * float(np.finfo(dtype).eps))


@every_measure
def test_permuted_states_are_states_of_permuted_rows(name, float64):
    measure, (X, _) = MEASURES[name], networks(6)
    (X,) = as_networks(measure, [given(name, X)], ["X"])
    permutation = np.random.default_rng(0).permutation(N)
    prepare, compare = jax.jit(measure.prepare), jax.jit(measure.compare)
    permuted = measure.permute(prepare(X), jnp.asarray(permutation))
    anew = prepare(X[permutation])
    for a, b in ((permuted, anew), (anew, anew)):
        # Singular vectors have signs of their own, so states are compared by what they say of a pair.
        np.testing.assert_allclose(compare(a, b), compare(anew, anew), atol=1e-9)
    if len(jax.tree.leaves(anew)) == 1:
        np.testing.assert_allclose(permuted, anew, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in MEASURES if takes(name) == "features"])
def test_features_that_fill_the_rows_are_refused_where_anything_looks_alike(name):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, 20, 40))
    if MEASURES[name].facts.more_rows_than_features or name == "svcca":
        with pytest.raises(ValueError, match=r"20 rows.* Use \d+ rows or more, fewer features"):
            pair_similarity(X, Y, name)
        # Units that do not vary do not count.
        assert np.isfinite(pair_similarity(np.where(np.arange(40) < 9, X, 1.0), Y[:, :9], name))
    else:
        assert abs(pair_similarity(X, Y, name)) < (0.65 if name == "neighbors" else 0.2)


@pytest.mark.parametrize("name", ["cka-biased", "rbf-cka-biased", "procrustes", "predictivity"])
def test_centred_rows_have_one_dimension_less(name):
    X, Y = np.random.default_rng(1).normal(size=(2, 20, 20))
    for width in (20, 19):  # As many rows as features, and one more.
        with pytest.raises(ValueError, match=rf"X has {width} features that vary and 20 rows, .* Use {width + 2} rows"):
            pair_similarity(X[:, :width], Y[:, :width], name)
    assert pair_similarity(X[:, :18], Y[:, :18], name) < 0.999


@pytest.mark.parametrize("name", ["cca", "svcca", "pwcca"])
def test_subspaces_that_must_meet_are_refused(name):
    X, Y = np.random.default_rng(2).normal(size=(2, 60, 40))
    words = r"X and Y have \d+ and \d+ linearly independent directions, but centred, 60 rows have 59: .* are 1 for any"
    with pytest.raises(ValueError, match=words):
        pair_similarity(X, Y, name)
    with pytest.raises(ValueError, match=words):
        pair_similarity(X[:, :40], Y[:, :25], name)
    for matched in (
        lambda: jm.similarity_test(X, Y, name, n_permutations=19),
        lambda: jm.similarity_tests({"a": (X[:, :9], Y[:, :9]), "b": (X, Y)}, name, n_permutations=19),
        lambda: similarities([X[:, :9], X, Y], name),
    ):
        with pytest.raises(ValueError, match="60 rows have 59"):
            matched()
    # Each pair by itself has rows enough; what a family holds besides does not matter.
    wide = {"a": (X, Y[:, :19]), "b": (Y[:, :19], X)}
    assert (jm.similarity_tests(wide, name, n_permutations=19).statistic < 0.95).all()


def test_svcca_goes_by_the_directions_that_it_keeps():
    rng = np.random.default_rng(3)
    wide = [rng.normal(size=(50, 4)) @ rng.normal(size=(4, 80)) + 1e-3 * rng.normal(size=(50, 80)) for _ in range(2)]
    assert pair_similarity(*wide, "svcca") < 0.6
    with pytest.raises(ValueError, match="have 49 and 49 linearly independent directions"):
        pair_similarity(*wide, "cca")


def test_unbiased_cka_of_unrelated_networks_is_centred_on_zero_and_the_biased_one_is_not():
    rng = np.random.default_rng(0)
    networks = rng.normal(size=(25, 30, 10))
    pairs = np.triu_indices(25, 1)
    unbiased, biased = (similarities(networks, name)[pairs] for name in ("cka", "cka-biased"))
    # Pairs share networks, and are uncorrelated all the same.
    assert abs(unbiased.mean()) < 4 * unbiased.std() / np.sqrt(unbiased.size) and (unbiased < 0).any()
    assert biased.min() > 0.1 and biased.mean() > 0.2


def test_numbers_worked_by_hand():
    assert pair_similarity([0, 1, 1, 2], [0, 1, 2, 2], "agreement") == 0.75
    # By chance: 1/4 1/4 + 2/4 1/4 + 1/4 2/4 = 5/16; (3/4 - 5/16) / (1 - 5/16) = 7/11.
    assert pair_similarity([0, 1, 1, 2], [0, 1, 2, 2], "kappa") == pytest.approx(7 / 11)
    # As many rows as MNIST has: their square is no integer of 32 bits.
    assert pair_similarity([0, 1, 1, 2] * 15_000, [0, 1, 2, 2] * 15_000, "kappa") == pytest.approx(7 / 11)
    assert pair_similarity(
        np.array([True, True, False, False]), np.array([True, False, True, False]), "error-overlap"
    ) == (pytest.approx(1 / 3))
    one, other = np.tile([50.0, 0], (4, 1)), np.tile([0, 50.0], (4, 1))
    assert pair_similarity(one, other, "jensen-shannon") == pytest.approx(1)
    # Two classes against certainty: JS = 1 - (3/4) log2(3) + ... = 0.3112781245.
    assert pair_similarity(one, 0 * one, "jensen-shannon") == pytest.approx(0.3112781245)
    # On a line, neighbours of 0, 1, 10, 11 are 1, 0, 11, 10; of 0, 1, 2.5, 10 they are 1, 0, 1, 2.5.
    line, bent = np.array([[0.0], [1], [10], [11]]), np.array([[0.0], [1], [2.5], [10]])
    assert pair_similarity(line, bent, NeighborOverlap(1)) == pytest.approx(3 / 4)
    # A unit square and a rectangle of sides 1 and 2: |XᵀY|_* / (|X| |Y|) = (1 + 2) / sqrt(2 * 5).
    square = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    assert pair_similarity(square, square * [1, 2], "procrustes") == pytest.approx(3 / np.sqrt(10))
    centre = np.array([[0.5, 0.5]])  # Four rows have three dimensions, too few for two planes.
    square = np.vstack([square, centre])
    assert pair_similarity(square, square * [1, 2], "cca") == pytest.approx(1)


def test_predictions_may_be_classes_or_logits():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, 30, 5))
    for name in ("agreement", "kappa"):
        assert pair_similarity(X.argmax(1), Y, name) == pair_similarity(X, Y.argmax(1), name)
    # A network that never predicts the last classes.
    assert pair_similarity(X.argmax(1) % 2, Y, "agreement") == pytest.approx(np.mean(X.argmax(1) % 2 == Y.argmax(1)))


def test_signed_and_unsigned_classes_stay_apart():
    X = np.array([2**62, 2**62 + 1, 2**62 + 2, 2**62 + 3])
    assert pair_similarity(X, X[::-1].astype(np.uint64), "agreement") == 0


def test_class_numbers_take_no_memory():
    X, Y = np.array([0, 2_000_000_000, 7, 7]), np.array([0, 2_000_000_000, 7, 1_999_999_999])
    assert pair_similarity(X, Y, "agreement") == 0.75
    # By chance 1/4 1/4 + 1/4 1/4 + 2/4 1/4 = 1/4; (3/4 - 1/4) / (1 - 1/4) = 2/3.
    assert pair_similarity(X, Y, "kappa") == pytest.approx(2 / 3)


def test_divergence_of_nearly_equal_probabilities_keeps_its_digits():
    rng = np.random.default_rng(0)
    X, Y = 1e-3 * rng.normal(size=(2, 40, 6))
    found = pair_similarity(X.astype(np.float32), Y.astype(np.float32), "jensen-shannon")
    # To the leading order in the difference of the probabilities p and q: Σ (p - q)² / (8 m), in nats.
    p, q = (np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True) for Z in (X, Y))
    assert found == pytest.approx(((p - q) ** 2 / (4 * (p + q))).sum(axis=1).mean() / np.log(2), rel=1e-3)
    assert pair_similarity(X, X, "jensen-shannon") == 0


@pytest.mark.parametrize("t", [0.1, 0.249, 0.251, 0.4])
def test_divergence_has_the_digits_of_single_precision_on_either_side_of_where_its_series_ends(t):
    # Of 1/2 and 1/2 against 1 - q and q: (1/2 - q) / (1/2 + q) is t, and the series ends at 1/4.
    q = (1 - t) / (1 + t) / 2
    even, other = np.zeros((4, 2)), np.tile([np.log((1 - q) / q), 0.0], (4, 1))
    expected = TEXTBOOK["jensen-shannon"](even, other)
    found = pair_similarity(even.astype(np.float32), other.astype(np.float32), "jensen-shannon")
    assert found == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("name", MEASURES)
def test_no_similarity_is_beyond_its_range(name):
    facts = MEASURES[name].facts
    for seed in range(5):
        X, Y = (given(name, Z.astype(np.float32)) for Z in pair(name, seed))
        found = similarities([X, Y, X], name)
        assert facts.low <= found.min() and found.max() <= facts.high


def test_kernels_of_rows_most_of_which_coincide_are_not_made_of_rounding():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(1, 5)), 30, axis=0) + 10
    X[:3] = rng.normal(size=(3, 5))
    noisy = X * (1 + 1e-7 * rng.normal(size=X.shape))
    for name in ("rbf-cka-biased", "rbf-cka"):
        found = pair_similarity(X.astype(np.float32), noisy.astype(np.float32), name)
        assert found == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("correlation", ["pearson", "spearman"])
def test_rsa_of_correlation_distances(correlation):
    X, Y = networks(7)
    pairs = np.triu_indices(N, 1)
    of_rows = [1 - np.corrcoef(Z)[pairs] for Z in (X, Y)]
    expected = (stats.pearsonr if correlation == "pearson" else stats.spearmanr)(*of_rows).statistic
    measure = RSA(correlation, "correlation")
    assert pair_similarity(X, Y, measure) == pytest.approx(expected, abs=1e-5)
    X[3] = 1.0  # A row that is constant over the features has a distance to every other, 1.
    assert np.isfinite(pair_similarity(X, Y, measure))


def test_ranks_of_tied_distances_are_shared():
    rng = np.random.default_rng(0)
    X, Y = rng.integers(0, 3, size=(2, 25, 2)).astype(float)
    expected = stats.spearmanr(*(spatial.distance.pdist(Z) for Z in (X, Y))).statistic
    assert pair_similarity(X, Y, "rsa-spearman") == pytest.approx(expected, abs=1e-5)


def test_ranks_of_small_distances_survive_one_distant_row(dtype):
    X, Y = networks(8)
    Y[3] *= 3_000
    expected = stats.spearmanr(*(spatial.distance.pdist(Z) for Z in (X, Y))).statistic
    # The mean of the features is far from all rows but one, which costs single precision some digits.
    tolerance = 3e-4 if dtype == np.float32 else 1e-5
    assert pair_similarity(X, Y, "rsa-spearman") == pytest.approx(expected, abs=tolerance)


def dead_rows(n=N, share=0.4, seed=2):
    """Features of which some rows are all zero, as a narrow ReLU layer has them."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((n, 1)) < share, 0, rng.normal(size=(n, 5)))


@pytest.mark.parametrize("name", ["neighbors", "rsa-spearman"])
@pytest.mark.parametrize("X", [dead_rows(), np.random.default_rng(1).integers(0, 3, size=(N, 3)).astype(float)])
def test_tied_rows_are_treated_alike_wherever_they_stand(name, X, dtype):
    measure, X = MEASURES[name], X.astype(dtype)
    prepare = jax.jit(measure.prepare)
    for seed in range(3):
        permutation = np.random.default_rng(seed).permutation(N)
        permuted = measure.permute(prepare(X), jnp.asarray(permutation))
        np.testing.assert_allclose(permuted, prepare(X[permutation]), atol=1e-6)
    assert pair_similarity(X, X, name) == pytest.approx(1, abs=1e-5)


def test_tied_neighbours_share_the_places_that_are_left():
    # Of 0, 0, 0, 0, 10 the three others are tied for the one place of each zero, and the four zeros for that of 10.
    X, Y = np.array([0.0, 0, 0, 0, 10])[:, None], np.array([0.0, 1, 10, 11, 30])[:, None]
    # Of 0, 1, 10, 11, 30 the neighbours are 1, 0, 11, 10, 11: four thirds and a quarter in common, of squares that sum
    # to 4 / 3 + 1 / 4, and of 5.
    expected = (4 / 3 + 1 / 4) / np.sqrt((4 / 3 + 1 / 4) * 5)
    assert pair_similarity(X, Y, NeighborOverlap(1)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("X", "Y", "measure", "words"),
    [
        (np.ones((5, 2)), np.ones((6, 2)), "cka", "Y has 6 rows, but X has 5"),
        (np.ones((3, 2)), np.ones((3, 2)), "cka", "at least 4 rows"),
        (np.full((5, 2), np.nan), np.ones((5, 2)), "cka", "X has NaN"),
        (np.ones((5, 2)), np.ones(5), "cka", r"takes features, shape \(n, d\), but Y is float64 of shape \(5,\)"),
        (np.ones(5, int), np.ones(5, int), "jensen-shannon", "takes logits"),
        (np.ones(5) / 2, np.ones(5), "agreement", "classes as integers from 0"),
        (-np.ones(5, int), np.ones(5, int), "kappa", "classes as integers from 0"),
        (np.ones(5), np.ones(5), "error-overlap", "predictions != y"),
        (np.ones((5, 2)), np.ones((5, 3)), "jensen-shannon", "same classes, but X to Y have 2 and 3 of them"),
        (np.ones((5, 2)), np.ones((5, 2)), "ckaa", "mean 'cka'"),
        (np.ones((5, 2)), np.ones((5, 2)), RSA, "an instance of a measure"),
        (np.ones((9, 2)), np.ones((9, 2)), "neighbors", "leave at most 7"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(X, Y, measure, words, unchecked):
    with pytest.raises(ValueError, match=words):
        pair_similarity(X, Y, measure)


@pytest.mark.parametrize(
    ("make", "choices", "words"),
    [
        ("CKA", {"kernel": "poly"}, "kernel"),
        ("CKA", {"bandwidth": 0.0}, "bandwidth"),
        ("RSA", {"correlation": "kendall"}, "correlation"),
        ("SVCCA", {"variance": 0.0}, "variance"),
        ("LinearPredictivity", {"alpha": 0.0}, "alpha"),
        ("NeighborOverlap", {"n_neighbors": 0}, "n_neighbors"),
    ],
)
def test_choices_out_of_range_are_refused(make, choices, words):
    from jaxmem import similarity

    with pytest.raises(ValueError, match=words):
        getattr(similarity, make)(**choices)


def test_numbers_may_be_arrays(unchecked):
    assert CKA("rbf", bandwidth=jnp.float32(0.5)) == CKA("rbf", bandwidth=0.5)
    assert hash(CKA("rbf", bandwidth=jnp.float32(0.5))) == hash(CKA("rbf", bandwidth=0.5))


@all_measures
def test_says_what_one_has_to_know(name):
    measure = measure_by_name(name)
    facts = measure.facts
    assert hash(measure) == hash(type(measure)(**vars(measure)))
    assert facts.low < facts.high and set(facts.invariances) <= set(INVARIANCES)
    assert any(character.isdigit() for character in facts.source)
