"""All pairs at once are the pairs one by one, whatever the tiles, the widths and the memory."""

from collections import Counter
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import jaxmem as jm
from jaxmem.similarity import MEASURES, Facts, Measure, pair_similarity, pairs, similarities
from jaxmem.similarity.measures import _varying


def outputs(name, n=40):
    """Networks of different widths, but for logits, which are of the same classes."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(n, 3))
    widths = (5,) * 5 if MEASURES[name].facts.takes == "logits" else (4, 6, 4, 6, 4)
    features = [common @ rng.normal(size=(3, d)) + rng.normal(size=(n, d)) for d in widths]
    return [X[:, 0] > 0 for X in features] if MEASURES[name].facts.takes == "errors" else features


quick = ("cka", "procrustes", "neighbors", "jensen-shannon")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in quick else pytest.mark.nightly) for n in MEASURES])
def test_equal_the_pairs_one_by_one(name):
    networks = outputs(name)
    found = similarities(networks, name)
    np.testing.assert_array_equal(found, found.T)
    expected = [pair_similarity(networks[i], networks[j], name) for i, j in ((0, 1), (0, 2), (3, 4), (1, 3))]
    np.testing.assert_allclose(found[[0, 0, 3, 1], [1, 2, 4, 3]], expected, atol=3e-6)


@pytest.mark.parametrize("name", ["cka", "agreement"])
def test_do_not_depend_on_tiles_and_memory(name, monkeypatch):
    networks = outputs(name)
    found = similarities(networks, name)
    monkeypatch.setattr(pairs, "_TOGETHER", 0)
    np.testing.assert_allclose(similarities(networks, name), found, atol=1e-6)
    monkeypatch.setattr(pairs, "_TILES", 2)  # Tiles of three networks, and of two.
    np.testing.assert_allclose(similarities(networks, name), found, atol=1e-6)
    monkeypatch.setattr(pairs, "_HELD", 0)
    np.testing.assert_allclose(similarities(networks, name), found, atol=1e-6)
    monkeypatch.setattr(pairs, "_OF_A_TILE", 1)
    np.testing.assert_allclose(similarities(networks, name), found, atol=1e-6)


def test_tiles_of_one_width_each_are_as_wide_as_the_widest(monkeypatch):
    logits = np.random.default_rng(0).normal(size=(4, 30, 5))
    networks = [*logits[:2, :, :3], *logits[2:]]
    found = similarities(networks, "kappa")
    monkeypatch.setattr(pairs, "_TOGETHER", 4 * 4 * (30 + 5))
    np.testing.assert_array_equal(similarities(networks, "kappa"), found)


@pytest.mark.parametrize(("n_networks", "together", "side"), [(2, 4, 2), (5, 5, 2), (7, 16, 4), (9, 9, 3)])
def test_small_networks_take_one_call_in_tiles_of_any_size(n_networks, together, side, monkeypatch):
    calls = []

    def of_all(measure, side, networks):
        calls.append(side)
        return compare(measure, side, networks)

    compare = pairs._of_all
    networks = np.random.default_rng(0).normal(size=(n_networks, 40, 4))
    expected = similarities(networks, "jensen-shannon")
    monkeypatch.setattr(pairs, "_of_all", of_all)
    monkeypatch.setattr(pairs, "_TILES", n_networks)
    monkeypatch.setattr(pairs, "_TOGETHER", 40 * 4 * 8 * together)  # Two numbers a probability.
    np.testing.assert_allclose(similarities(networks, "jensen-shannon"), expected, rtol=1e-6)
    assert calls == [side]


def test_larger_networks_take_tiles_of_about_one_size(monkeypatch):
    tiles = []

    def of_tile(measure, rows, columns):
        tiles.append((len(rows), len(columns)))
        return compare(measure, rows, columns)

    compare = pairs._of_tile
    monkeypatch.setattr(pairs, "_of_tile", of_tile)
    monkeypatch.setattr(pairs, "_TOGETHER", 0)
    monkeypatch.setattr(pairs, "_TILES", 2)
    similarities(np.random.default_rng(0).normal(size=(9, 20, 4)), "cka")
    assert tiles == [(5, 5), (5, 4), (4, 4)]


def test_factorisations_have_one_thread_of_blas_each_and_callers_all_of_theirs_back(monkeypatch):
    import scipy.linalg  # noqa: F401 - What JAX's are.

    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    def of_all(measure, side, networks):
        during.append(threads())
        return networks, jnp.ones((len(networks), len(networks)))

    during = []
    monkeypatch.setattr(pairs, "_of_all", of_all)
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        similarities(np.random.default_rng(0).normal(size=(3, 20, 4)), "procrustes")
        assert before and set(before) == {2} and threads() == before
    assert during == [[1] * len(before)]


def test_networks_come_as_a_list_a_mapping_or_an_array():
    networks = np.random.default_rng(0).normal(size=(3, 20, 4))
    found = similarities(networks)
    np.testing.assert_array_equal(similarities(list(networks)), found)
    np.testing.assert_array_equal(similarities({"a": networks[0], "b": networks[1], "c": networks[2]}), found)


@pytest.mark.parametrize("networks", [3.0, None, np.float64(3), jnp.zeros(())], ids=str)
def test_what_are_no_networks_is_refused(networks, unchecked):
    with pytest.raises(ValueError, match=r"^networks must be a list, a mapping, or an array .*, but is (3.0|None|0.0)"):
        similarities(networks)


def test_bad_networks_are_named():
    networks = np.random.default_rng(0).normal(size=(3, 20, 4))
    with pytest.raises(ValueError, match="two or more, but holds 1"):
        similarities(networks[:1])
    with pytest.raises(ValueError, match=r"networks\['b'\] has 19 rows, but networks\['a'\] has 20"):
        similarities({"a": networks[0], "b": networks[1, 1:]})
    networks[2, 4, 1] = np.inf
    with pytest.raises(ValueError, match=r"networks\[2\] has NaN or infinite features in 1 of 20 rows"):
        similarities(networks)


def test_a_random_layer_is_like_itself_turned_and_less_like_the_pixels():
    from jaxmem.data import load

    digits = load("digits").X_test[:100].reshape(100, -1)
    rng = np.random.default_rng(0)
    layer = np.maximum(digits @ rng.normal(size=(784, 32)) / 28, 0).astype(np.float32)
    turned = layer @ np.linalg.qr(rng.normal(size=(32, 32)))[0].astype(np.float32)
    found = similarities([layer, turned, digits])
    assert found[0, 1] == pytest.approx(1, abs=1e-5) and 0.2 < found[0, 2] < 0.99


@dataclass(frozen=True)
class MeanCosine:
    """A measure of one's own: the cosine of the rows' means over the features; counts how often it is traced."""

    calls: Counter = field(default_factory=Counter, compare=False)

    @property
    def facts(self):
        return Facts("features", -1.0, 1.0, True, ("scaling",), False, "these tests (2026)")

    def prepare(self, X):
        means = X.mean(axis=1)
        return means / jnp.linalg.norm(means)

    def compare(self, a, b):
        self.calls["compare"] += 1
        return a @ b

    def permute(self, state, permutation):
        return state[permutation]


class AllCosines(MeanCosine):
    """One that gives a number for every row."""

    def compare(self, a, b):
        return a * b


class Nothing(MeanCosine):
    """One whose networks all are the same."""

    def prepare(self, X):
        return X[:, :0]

    def compare(self, a, b):
        return jnp.vdot(a, b)


@pytest.mark.parametrize("together", [0, 2**24])
def test_a_comparison_that_is_no_number_is_refused_wherever_it_is_made(together, monkeypatch):
    monkeypatch.setattr(pairs, "_TOGETHER", together)
    networks = np.random.default_rng(0).normal(size=(3, 20, 4))
    for made in (
        lambda: similarities(networks, AllCosines()),
        lambda: pair_similarity(*networks[:2], AllCosines()),
        lambda: jm.similarity_test(*networks[:2], AllCosines(), n_permutations=19),
    ):
        with pytest.raises(ValueError, match=r"must return one number .*, but returns shape \(20,\): take the mean"):
            made()


def test_states_may_be_empty():
    np.testing.assert_array_equal(similarities(np.ones((3, 20, 4)), Nothing()), 0)


@pytest.mark.parametrize(
    ("takes", "words"), [("feature", "Did you mean 'features'"), ("gradients", "jaxmem.nets.gradient_cosines")]
)
def test_a_measure_that_takes_what_there_is_not_is_refused(takes, words, monkeypatch):
    monkeypatch.setattr(MeanCosine, "facts", Facts(takes, -1.0, 1.0, True, (), False, "these tests (2026)"))
    with pytest.raises(ValueError, match=words):
        pair_similarity(np.ones((5, 2)), np.ones((5, 2)), MeanCosine())


def test_features_that_vary_are_counted_by_a_program_that_does_not_grow_with_the_networks(monkeypatch):
    assert len({_varying.lower(jnp.ones((n, 20, 4))).as_text().count("\n") for n in (2, 30)}) == 1
    networks = np.random.default_rng(0).normal(size=(30, 20, 21))
    networks[:, :, 4:] = 1
    apart = [*map(jnp.asarray, networks)]
    before = _varying._cache_size()
    with monkeypatch.context() as patch:
        patch.setattr("jaxmem.inputs._SMALL", 0)  # Of arrays that are too large to be taken as one.
        for n_networks in (2, 30):
            similarities(apart[:n_networks], "procrustes")
    assert _varying._cache_size() == before + 1
    networks[29] = networks[29, :, :1] + np.arange(21)
    for given in (networks, [*apart[:29], jnp.asarray(networks[29])]):
        with pytest.raises(ValueError, match=r"networks\[29\] has 21 features that vary"):
            similarities(given, "procrustes")


def test_a_measure_of_ones_own_works_everywhere_and_compiles_once():
    measure = MeanCosine()
    assert isinstance(measure, Measure)
    networks = np.random.default_rng(0).normal(size=(8, 30, 4))
    means = networks.mean(axis=2)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(similarities(networks, measure), means @ means.T, atol=1e-6)
    assert measure.calls == {"compare": 1}
    similarities(2 * networks[::-1] + 1, measure)
    assert measure.calls == {"compare": 1}
    test = jm.similarity_test(*networks[:2], measure, n_permutations=19)
    assert test.null_distribution[4] == pytest.approx(means[0] @ means[1][test.permutation(5)], abs=1e-6)
