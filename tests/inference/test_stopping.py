"""Stopping rules: their definitions, their validity by exact enumeration of all courses, and what they save."""

from math import comb

import jaxtyping
import numpy as np
import pytest
from scipy import stats

import jaxmem as jm
from jaxmem.inference.stopping import Course


@pytest.fixture
def untyped(monkeypatch):
    """Meet the errors as users do, who run without the type checker."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


RULES = [jm.BesagClifford(3), jm.Betting(0.2), jm.Betting(0.2, share=0.5, futility=0.0)]


def follow(rule, statistic, null, alternative="greater", batches=1):
    course = Course(rule, alternative, 0.0)
    for batch in np.array_split(np.concatenate([[statistic], null]), batches):
        if course.enough(batch):
            break
    return course.outcome()


# --- By hand ----------------------------------------------------------------------------------------------------


def test_besag_and_clifford_count_to_h():
    null = np.array([0.0, 2, 0, 1, 5, 0])
    assert follow(jm.BesagClifford(2), 1.0, null) == (4, 2 / 4)  # 2, and 1 as a tie
    assert follow(jm.BesagClifford(4), 1.0, null) == (6, 4 / 7)  # only three come: all permutations
    assert follow(jm.BesagClifford(2), 1.0, null, "less") == (3, 2 / 3)
    # The upper tail ends at 4 with 2 / 4, the lower one at 3 with 2 / 3.
    assert follow(jm.BesagClifford(2), 1.0, null, "two-sided") == (4, 1.0)


def test_besag_and_clifford_decide_as_all_permutations_do():
    """With h >= alpha (B + 1): the same decision, on any null."""
    rng = np.random.default_rng(0)
    for null in rng.normal(size=(300, 99)):
        outcome = follow(jm.BesagClifford(10), 1.3, null)
        assert (outcome.pvalue <= 0.1) == ((1 + (null >= 1.3).sum()) / 100 <= 0.1)


def test_wealth_is_the_mixture_of_bets():
    """Its integral by quadrature, and its own definition: odds that are fair to the last bet."""
    rule, (b, C) = jm.Betting(0.2, share=0.5), (12, 2)
    p = np.linspace(0, 0.1, 20_001)
    of_each = (b + 1) * comb(b, C) * p**C * (1 - p) ** (b - C)
    assert rule.wealth(np.array([C]), np.array([b]))[0] == pytest.approx(np.trapezoid(of_each, p) / 0.1, rel=1e-6)

    b, C = (grid.ravel() for grid in np.meshgrid(np.arange(1, 30), np.arange(30)))
    b, C = b[b >= C], C[b >= C]
    # Of b + 2 exchangeable statistics, the next is extreme with probability (C + 1) / (b + 2).
    extreme = (C + 1) / (b + 2)
    expected = extreme * rule.wealth(C + 1, b + 1) + (1 - extreme) * rule.wealth(C, b + 1)
    np.testing.assert_allclose(expected, rule.wealth(C, b), rtol=1e-10)


def test_betting_ends_both_ways():
    rejected = follow(jm.Betting(0.05), 1.0, np.zeros(999))
    assert rejected.n_permutations == 50 and rejected.pvalue <= 0.05  # log(0.1) / log(1 - 0.045)
    assert follow(jm.Betting(0.05), 0.0, np.ones(999)).n_permutations == 2
    halves = np.arange(999) % 2 + 0.0
    assert follow(jm.Betting(0.05), 0.5, halves).n_permutations < 10
    assert follow(jm.Betting(0.05, futility=0.0), 0.5, halves).n_permutations == 999


# --- Validity ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_type_one_error_by_enumeration(rule):
    """Every course that B permutations can take, with its probability: P(p <= alpha) is at most alpha, for every alpha.

    Under the hypothesis each permuted statistic joins those before it at any rank alike: Polya's urn.
    """
    B, level = 13, {}

    def go(counts, probability):
        b = len(counts)
        if b and (rule.stops(counts[-1:], np.array([b]))[0] or b == B):
            p = rule.pvalue(counts)
            level[p] = level.get(p, 0) + probability
            return
        C = counts[-1] if b else 0
        if probability > 1e-9:
            extreme = (C + 1) / (b + 2)
            go(np.append(counts, C + 1), probability * extreme)
            go(np.append(counts, C), probability * (1 - extreme))

    go(np.empty(0, int), 1.0)
    pvalues = np.array(sorted(level))
    errors = np.cumsum([level[p] for p in pvalues])
    assert errors[-1] == pytest.approx(1, abs=1e-4)
    assert (errors <= pvalues + 1e-9).all()
    if isinstance(rule, jm.BesagClifford):
        np.testing.assert_allclose(errors, pvalues, atol=1e-4)  # Exact: nothing is given away.


@pytest.mark.parametrize("rule", [jm.BesagClifford(10), jm.Betting(0.05)], ids=repr)
@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
def test_type_one_error_by_simulation(rule, alternative):
    draws = np.random.default_rng(1).normal(size=(5_000, 400))
    rejected = sum(follow(rule, one[0], one[1:], alternative).pvalue <= 0.05 for one in draws)
    assert rejected <= stats.binom.ppf(0.995, 5_000, 0.05)
    assert rejected >= 5_000 * 0.02


def test_savings_and_power():
    """At true p-values of a half, a clear rejection and a close one: permutations taken, decisions kept."""
    rng = np.random.default_rng(2)
    for p, alike in [(0.5, 1.0), (0.001, 0.99), (0.03, 0.8)]:
        nulls = rng.random((200, 2_000)) < p  # As statistics: observed at 1.
        outcomes = [follow(jm.Betting(0.05), 1.0, null.astype(float)) for null in nulls]
        decisions = [outcome.pvalue <= 0.05 for outcome in outcomes]
        in_full = [(1 + null.sum()) / 2_001 <= 0.05 for null in nulls]
        assert np.mean(np.equal(decisions, in_full)) >= alike
        assert np.mean([outcome.n_permutations for outcome in outcomes]) < (100 if p != 0.03 else 1_000)


# --- In a permutation test --------------------------------------------------------------------------------------


def features(signal=0.0, n=60):
    rng = np.random.default_rng(3)
    y = np.arange(n) % 3
    X = rng.normal(size=(n, 4)) + signal * np.eye(4)[y]
    return X, y, jm.SharedStructure(X + 0.5 * rng.normal(size=X.shape))


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_the_result_is_that_of_the_whole_null_cut_where_the_rule_ends(rule, alternative):
    X, y, copies = features()
    options = {"validation": copies, "n_permutations": 199, "alternative": alternative, "metric": "margin"}
    whole = jm.permutation_test(jm.Ridge(), X, y, **options)
    n, p = follow(rule, whole.statistic, whole.null_distribution, alternative)
    for batch_size in (1, 7, 64, None):
        test = jm.permutation_test(jm.Ridge(), X, y, stopping=rule, batch_size=batch_size, **options)
        assert len(test.null_distribution) == n and test.pvalue == p and test.n_permutations == 199
        # Margins near zero are sums of larger ones: rounding is relative to those.
        largest = 1e-6 * abs(whole.null_distribution).max()
        np.testing.assert_allclose(test.null_distribution, whole.null_distribution[:n], rtol=1e-5, atol=largest)


def test_an_early_end_leaves_permutations_undone():
    fitted = []

    class Counting(jm.Estimator):
        def refit(self, fits, n_classes, needs):
            fitted.append(len(fits))
            return super().refit(fits, n_classes, needs)

    from sklearn.neighbors import NearestCentroid

    X, y, copies = features()
    test = jm.permutation_test(
        Counting(NearestCentroid()), X, y, validation=copies, n_permutations=199, stopping=jm.Betting(), batch_size=10
    )
    assert sum(fitted) == 10 * -(-(len(test.null_distribution) + 1) // 10) < 199


def test_iterative_fits_report_on_the_permutations_that_were_used():
    X, y, copies = features()
    test = jm.permutation_test(
        jm.Softmax(), X, y, validation=copies, n_permutations=199, stopping=jm.BesagClifford(2), batch_size=50
    )
    assert len(test.diagnostics["converged"]) == len(test.null_distribution) + 1 < 200


def test_an_enumeration_is_never_stopped():
    X, y, copies = features(n=6)
    test = jm.permutation_test(jm.Ridge(), X, y, validation=copies, stopping=jm.BesagClifford(1))
    assert test.exact and len(test.null_distribution) == 89 and test.stopping is None  # 6! / 2!³ labellings


def test_a_stopped_test_says_so_and_pretends_nothing(tmp_path):
    X, y, copies = features()
    options = {"validation": copies, "n_permutations": 199}
    test = jm.permutation_test(jm.Ridge(), X, y, stopping=jm.BesagClifford(5), **options)
    assert "BesagClifford(n_extreme=5)" in repr(test) and "BesagClifford" in test.pvalue_method
    assert test.min_pvalue == 1 / 200
    with pytest.raises(ValueError, match="ended by its rule"):
        test.extend(100)
    with pytest.raises(ValueError, match="fixed beforehand"):
        test.confidence_interval()
    with pytest.raises(ValueError, match="fixed beforehand"):
        _ = test.mid_pvalue
    test.save(tmp_path / "test.npz")
    assert jm.load(tmp_path / "test.npz").stopping == jm.BesagClifford(5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stopping": 10}, "stopping must be jm.BesagClifford"),
        ({"stopping": jm.Betting(0.01), "n_permutations": 99}, "at least n_permutations=254"),
        ({"stopping": jm.BesagClifford(), "example_scores": True}, "leave out stopping"),
        ({"stopping": jm.BesagClifford(), "classifier": jm.Ridge((1.0, 2.0))}, "one value"),
    ],
)
def test_what_a_rule_cannot_do_is_refused(options, message):
    X, y, copies = features()
    classifier = options.pop("classifier", jm.Ridge())
    with pytest.raises(ValueError, match=message):
        jm.permutation_test(classifier, X, y, validation=copies, **options)


def test_the_smallest_pvalue_is_that_of_the_first_rejection():
    for alpha in (0.001, 0.01, 0.05, 0.2):
        for rule in (jm.Betting(alpha), jm.Betting(alpha, share=0.5)):
            outcome = follow(rule, 1.0, np.zeros(9_999))
            assert rule.min_pvalue(9_999) == outcome.pvalue <= alpha
            rule.check(outcome.n_permutations)
            with pytest.raises(ValueError, match=f"at least n_permutations={outcome.n_permutations}\\b"):
                rule.check(outcome.n_permutations - 1)


def test_an_enumeration_needs_no_number_of_permutations():
    X, y, copies = features(n=6)
    test = jm.permutation_test(jm.Ridge(), X, y, validation=copies, stopping=jm.Betting(0.01), n_permutations=99)
    assert test.exact and test.stopping is None


def test_rules_of_numpy_numbers_are_saved(tmp_path, untyped):
    X, y, copies = features()
    for rule in (jm.BesagClifford(np.int64(5)), jm.Betting(np.float32(0.25))):
        test = jm.permutation_test(jm.Ridge(), X, y, validation=copies, n_permutations=99, stopping=rule)
        test.save(tmp_path / "test.npz")
        assert jm.load(tmp_path / "test.npz").stopping == rule


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jm.BesagClifford(0), "n_extreme must be an integer >= 1"),
        (lambda: jm.Betting("often"), "alpha must be a number, but is 'often'"),
        (lambda: jm.Betting(1.0), "alpha must lie strictly between 0 and 1"),
        (lambda: jm.Betting(share=1.0), "share must lie strictly"),
        (lambda: jm.Betting(futility=1.0), "futility must lie in"),
    ],
)
def test_hyperparameters_are_checked(make, message, untyped):
    with pytest.raises(ValueError, match=message):
        make()
