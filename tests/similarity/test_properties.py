"""What measures say of themselves, of networks that nobody chose: few rows, dead units, rows that coincide."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmem.similarity import MEASURES, pair_similarity

# Variants of one formula, which share their code with another, by night.
VARIANTS = ("cka-biased", "rbf-cka-biased", "rbf-cka", "rsa-spearman", "cca", "svcca", "predictivity", "agreement")


def each(names):
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=pytest.mark.nightly if name in VARIANTS else ()) for name in names]
    )


every_measure = each(MEASURES)
few = settings(max_examples=8, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
N, LIVE, DEAD = 14, 3, 2  # One shape for all: every measure is compiled once.


@pytest.fixture(autouse=True, scope="module")
def _float64():
    with jax.enable_x64(True):
        yield


@st.composite
def network(draw):
    """Features of which two do not vary; some rows coincide, some are all zero, and their scale is anything."""
    rng = np.random.default_rng(draw(seeds))
    X = rng.normal(size=(N, LIVE)) * 10.0 ** draw(st.integers(-3, 3))
    X[: draw(st.integers(0, 4))] = 0
    repeated = draw(st.integers(1, 4))
    X[-repeated:] = X[-1]
    return np.column_stack([X, np.tile(rng.normal(size=DEAD), (N, 1))])


networks = st.tuples(network(), network())


def similarity(name, X, Y):
    given = [Z[:, 0] > 0 for Z in (X, Y)] if MEASURES[name].facts.takes == "errors" else (X, Y)
    return pair_similarity(*given, name)


@every_measure
@few
@given(pair=networks, seed=seeds)
def test_range_symmetry_and_order_of_the_rows(name, pair, seed):
    (X, Y), facts = pair, MEASURES[name].facts
    found = similarity(name, X, Y)
    assert facts.low <= found <= facts.high
    assert similarity(name, Y, X) == pytest.approx(found, abs=1e-9)
    order = np.random.default_rng(seed).permutation(N)
    assert similarity(name, X[order], Y[order]) == pytest.approx(found, abs=1e-9)
    itself = similarity(name, X, X)
    if name == "predictivity":  # Ridge explains all but what its penalty takes of the smallest directions.
        assert 0.99 < itself < 1
    elif (name == "error-overlap" and not (X[:, 0] > 0).any()) or (name == "kappa" and len(set(X.argmax(axis=1))) == 1):
        assert itself == 0
    else:
        assert itself == pytest.approx(facts.high if facts.larger_is_similar else facts.low, abs=1e-9)


CHANGES = {
    "translation": lambda X, rng: X + np.abs(X).max() * rng.normal(size=X.shape[1]),
    "scaling": lambda X, rng: X * 10.0 ** rng.uniform(-3, 3),
    "rotation": lambda X, rng: X @ np.linalg.qr(rng.normal(size=(X.shape[1],) * 2))[0],
    # From a rotation to ten times as long along one direction as along another.
    "linear map": lambda X, rng: np.linalg.multi_dot(
        [X, np.linalg.qr(rng.normal(size=(X.shape[1],) * 2))[0], np.diag(rng.uniform(1, 10, X.shape[1]))]
    ),
    "dead units": lambda X, rng: np.column_stack([X[:, :LIVE], np.tile(rng.normal(size=DEAD), (N, 1))]),
    "increasing map": lambda X, rng: np.arctan(X / np.abs(X).max()),
}


@every_measure
@few
@given(pair=networks, seed=seeds)
def test_what_it_is_invariant_to_changes_nothing(name, pair, seed):
    (X, Y), rng = pair, np.random.default_rng(seed)
    before = similarity(name, X, Y)
    for change in MEASURES[name].facts.invariances:
        assert similarity(name, CHANGES[change](X, rng), Y) == pytest.approx(before, abs=1e-7), change


@each(name for name in MEASURES if MEASURES[name].facts.takes == "features")
@settings(few, max_examples=3)
@given(seed=seeds, constant=st.floats(-1e3, 1e3, width=32))
def test_what_fills_the_rows_is_refused_and_what_does_not_vary_is_like_nothing(name, seed, constant):
    X, Y = np.random.default_rng(seed).normal(size=(2, N, N))
    facts = MEASURES[name].facts
    if facts.more_rows_than_features or name == "svcca":
        with pytest.raises(ValueError, match="rows or more, fewer features"):
            pair_similarity(X, Y, name)
    else:
        assert facts.low <= pair_similarity(X, Y, name) < 0.9
    few_vary = np.where(np.arange(N) < LIVE, Y, 0)
    assert pair_similarity(np.full((N, N), constant), few_vary, name) == 0
