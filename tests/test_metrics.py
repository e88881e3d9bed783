"""Metrics: predictions as argmax has them, totals that add up over blocks, and scikit-learn's numbers."""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk
from sklearn.metrics import accuracy_score

import jaxmem as jm
from jaxmem.metrics import METRICS, Metric, accuracy, check, correct, metric_by_name, predictions, scores_for

# Few distinct values, so that ties are the rule.
tied_scores = arrays(np.float32, (4, 3), elements=st.sampled_from([-1, 0, 2]))


@settings(deadline=None)
@given(tied_scores)
def test_predictions_are_argmax_and_ties_go_to_the_first_class(scores):
    np.testing.assert_array_equal(jax.jit(predictions)(scores), np.argmax(scores, axis=1))


def test_predictions_of_infinite_scores_are_argmax():
    scores = np.array([[np.inf, np.inf], [-np.inf, 0], [0, np.inf]], np.float32)
    np.testing.assert_array_equal(predictions(jnp.asarray(scores)), np.argmax(scores, axis=1))


def test_nan_is_never_predicted_and_no_score_is_no_class():
    scores = np.array([[np.nan, -1], [0, np.nan], [np.nan, np.nan], [-np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(predictions(jnp.asarray(scores)), [1, 0, 2, 2])


def test_predictions_of_many_classes_are_argmax():
    scores = np.random.default_rng(0).integers(0, 50, (300, 100)).astype(np.float32)
    np.testing.assert_array_equal(predictions(jnp.asarray(scores)), np.argmax(scores, axis=1))


@pytest.mark.parametrize("label_type", [jnp.uint8, jnp.int32])
def test_correct_compares_with_labels_of_any_integer_type(label_type):
    scores = jnp.eye(256)[jnp.array([0, 255, 7])]
    np.testing.assert_array_equal(correct(scores, jnp.array([0, 255, 8], label_type)), [True, True, False])


def test_predictions_less_labels_are_negative_with_or_without_scores():
    distance = Metric(
        "distance", lambda s, labels: jnp.abs(predictions(s) - labels).sum(), lambda t, n: t / n, needs="prediction"
    )
    X, y, folds = np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 2, 0, 2], jm.KFold(4, stratified=False)
    test = jm.permutation_test(jm.KNeighbors(1), X, y, validation=folds, metric=distance, n_permutations=1)
    assert test.statistic == 1.0  # Every neighbour has the other label, the second of two.


def test_accuracy_is_scikit_learns_and_adds_up_over_blocks():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(50, 4)).astype(np.float32), rng.integers(0, 4, 50)
    parts = [
        accuracy.partial(jnp.asarray(scores[rows]), jnp.asarray(labels[rows])) for rows in (slice(20), slice(20, 50))
    ]
    assert jnp.issubdtype(parts[0].dtype, jnp.integer)
    total = np.asarray(sum(parts))
    assert accuracy.finish(total, 50) == accuracy_score(labels, scores.argmax(axis=1))
    assert accuracy.counts


def test_finish_takes_many_permutations_at_once():
    np.testing.assert_array_equal(accuracy.finish(np.array([[0, 1], [2, 4]]), 4), [[0, 0.25], [0.5, 1]])


def test_accuracy_runs_under_vmap():
    scores, labels = jnp.eye(3)[None].repeat(2, axis=0), jnp.array([[0, 1, 2], [0, 2, 1]])
    np.testing.assert_array_equal(jax.vmap(accuracy.partial)(scores, labels), [3, 1])


def test_metrics_are_found_by_name_or_passed_through():
    mine = Metric("mine", lambda scores, labels: scores.sum(), lambda total, n: total / n)
    assert metric_by_name(mine) is mine
    assert all(metric_by_name(name) is metric and metric.name == name for name, metric in METRICS.items())
    with pytest.raises(
        ValueError, match=r"metric must be one of .*'accuracy'.* but is 'acuracy'. Did you mean 'accuracy'"
    ):
        metric_by_name("acuracy")


# ---- Every metric beside its twin.


def difference(s):
    return s[:, 1] - s[:, 0] if s.shape[1] == 2 else s


def one_hot(y, s):
    return np.eye(s.shape[1])[y]


def margins(y, s):
    others = np.where(one_hot(y, s) == 1, -np.inf, s)
    return np.mean(s[np.arange(len(y)), y] - others.max(axis=1))


TWINS = {
    "accuracy": lambda y, s: sk.accuracy_score(y, s.argmax(axis=1)),
    "balanced_accuracy": lambda y, s: sk.balanced_accuracy_score(y, s.argmax(axis=1)),
    "roc_auc": lambda y, s: sk.roc_auc_score(y, difference(s)),
    "roc_auc_ovr": lambda y, s: sk.roc_auc_score(y, difference(s), multi_class="ovr"),
    "roc_auc_ovo": lambda y, s: sk.roc_auc_score(y, difference(s), multi_class="ovo"),
    "average_precision": lambda y, s: sk.average_precision_score(
        y if s.shape[1] == 2 else one_hot(y, s), difference(s)
    ),
    "neg_log_loss": lambda y, s: -sk.log_loss(y, s, labels=range(s.shape[1])),
    "neg_brier_score": lambda y, s: -sk.brier_score_loss(y, s, labels=range(s.shape[1])),
    "margin": margins,
    "r2": lambda y, s: sk.r2_score(one_hot(y, s), s, multioutput="variance_weighted"),
}


def probabilities(m, n_classes, dtype="float32"):
    """Of two labellings continuous, of two the votes of four neighbours, which are full of ties and zeros."""
    rng = np.random.default_rng(m)
    exponentials = np.exp(2 * rng.normal(size=(2, m, n_classes)))
    votes = rng.multinomial(4, np.ones(n_classes) / n_classes, size=(2, m)) / 4
    scores = np.concatenate([exponentials / exponentials.sum(axis=2, keepdims=True), votes])
    labels = rng.integers(0, n_classes, (4, m))
    labels[:, :n_classes] = np.arange(n_classes)
    return scores.astype(dtype), labels


@partial(jax.jit, static_argnums=0)
def batch(metric, scores, labels):
    return jax.vmap(metric.partial)(scores, labels)


@partial(jax.jit, static_argnums=0)
def one(metric, scores, labels):
    return metric.partial(scores, labels)


def value(metric, scores, labels):
    """One number per labelling, as the engine gets it."""
    return np.asarray(metric.finish(jax.device_get(batch(metric, scores, labels)), scores.shape[1]))


def assert_equals_twin(name, n_classes, dtype):
    scores, labels = probabilities(150, n_classes, dtype)
    expected = [TWINS[name](y, s) for y, s in zip(labels, scores, strict=True)]
    exact = METRICS[name].counts or dtype == "float64"
    np.testing.assert_allclose(value(METRICS[name], scores, labels), expected, rtol=1e-12 if exact else 1e-5)


@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("name", TWINS)
def test_equals_its_twin_in_scikit_learn(name, n_classes):
    assert_equals_twin(name, 2 if name == "roc_auc" else n_classes, "float32")


@pytest.mark.parametrize("name", TWINS)
def test_equals_its_twin_in_double_precision(name, float64):
    assert_equals_twin(name, 2 if name == "roc_auc" else 3, "float64")


def test_every_metric_has_a_twin():
    assert METRICS.keys() == TWINS.keys()


@pytest.mark.parametrize("name", METRICS)
def test_larger_is_better(name):
    truth = jnp.eye(2)[jnp.array([0, 1, 1, 0])]
    good, bad = 0.8 * truth + 0.1, 0.9 - 0.8 * truth
    good, bad = value(METRICS[name], jnp.stack([good, bad]), jnp.array([[0, 1, 1, 0]] * 2))
    assert good > bad


# ---- How metrics are evaluated.


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.additive])
def test_totals_of_blocks_add_up_to_those_of_all_rows(name):
    metric = METRICS[name]
    scores, labels = (jnp.asarray(a[0]) for a in probabilities(50, 3))
    parts = [metric.partial(scores[rows], labels[rows]) for rows in (slice(20), slice(20, 50))]
    whole, added = metric.partial(scores, labels), jax.tree.map(jnp.add, *parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), whole, added)
    np.testing.assert_allclose(metric.finish(added, 50), metric.finish(whole, 50), rtol=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_batched_equal_one_at_a_time(name):
    metric = METRICS[name]
    scores, labels = probabilities(31, 2 if name == "roc_auc" else 3)
    batched = value(metric, scores, labels.astype(np.uint8))
    alone = [metric.finish(one(metric, *pair), 31) for pair in zip(scores, labels.astype(np.int32), strict=True)]
    np.testing.assert_allclose(batched, np.asarray(alone), rtol=1e-6)
    assert batched.dtype == np.float64 or not metric.counts


def test_areas_are_exact_where_counts_of_pairs_pass_32_bits():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 70_001)
    scores = np.round(rng.normal(size=(70_001, 2)) + 2 * one_hot(labels, np.zeros((1, 2))), 2).astype(np.float32)
    expected = sk.roc_auc_score(labels, difference(scores))
    assert value(METRICS["roc_auc"], scores[None], labels[None]) == pytest.approx(expected, rel=1e-13)


some_scores = arrays(
    np.float32, 7, elements=st.sampled_from([-np.inf, -3e38, -1.5, -1e-30, -0.0, 0.0, 1e-30, 2, np.inf])
)


@settings(deadline=None, max_examples=200)
@given(some_scores, arrays(np.uint8, 7, elements=st.integers(0, 1)))
def test_area_and_precision_follow_from_comparing_all_pairs(scores, labels):
    both = np.stack([np.zeros(7, np.float32), scores], axis=1)[None]
    area, precision = (value(METRICS[name], both, labels[None])[0] for name in ("roc_auc", "average_precision"))
    own, others = scores[labels == 1], scores[labels == 0]
    if not own.size:
        assert np.isnan(area) and np.isnan(precision)
        return
    assert precision == pytest.approx(
        np.mean([(own >= own_score).sum() / (scores >= own_score).sum() for own_score in own])
    )
    if not others.size:
        assert np.isnan(area)
        return
    pairs = (own[:, None] > others[None]) + 0.5 * (own[:, None] == others[None])
    assert area == pytest.approx(pairs.mean(), rel=1e-14)


@pytest.mark.parametrize("name", ["balanced_accuracy", "roc_auc_ovr", "roc_auc_ovo", "average_precision"])
def test_a_class_without_rows_is_left_out_of_the_average(name):
    scores, labels = probabilities(60, 4)
    labels[labels == 2] = 3
    if name == "roc_auc_ovo":  # Its column takes no part at all.
        rest = np.delete(scores, 2, axis=2)
        expected = value(METRICS[name], rest, np.where(labels == 3, 2, labels))
    elif name == "balanced_accuracy":
        expected = [
            np.mean([(s.argmax(axis=1) == y)[y == c].mean() for c in (0, 1, 3)])
            for s, y in zip(scores, labels, strict=True)
        ]
    else:
        twin = sk.roc_auc_score if name == "roc_auc_ovr" else sk.average_precision_score
        expected = [np.mean([twin(y == c, s[:, c]) for c in (0, 1, 3)]) for s, y in zip(scores, labels, strict=True)]
    np.testing.assert_allclose(value(METRICS[name], scores, labels), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["roc_auc_ovr", "roc_auc_ovo", "r2"])
def test_rows_of_one_class_have_no_area_and_no_variance(name):
    scores, labels = probabilities(12, 3)
    assert np.isnan(value(METRICS[name], scores, 0 * labels)).all()


def test_probabilities_of_zero_and_one_are_clipped_at_the_rounding_of_their_precision(dtype):
    scores = jnp.array([[[0, 1], [1, 0]]], dtype)
    eps = np.finfo(dtype).eps
    expected = (np.log(eps) + np.log1p(-eps)) / 2
    assert value(METRICS["neg_log_loss"], scores, jnp.array([[0, 0]]))[0] == pytest.approx(expected, rel=1e-6)


def test_the_margin_of_a_class_that_was_never_fitted_spoils_no_other():
    scores = jnp.array([[[1.0, 3.0, -jnp.inf], [2.0, 0.5, -jnp.inf]]])
    assert value(METRICS["margin"], scores, jnp.array([[1, 1]]))[0] == pytest.approx((2 - 1.5) / 2)


# ---- What scores mean, and functions of the user's.


class Plain:
    pass


class LeastSquares:
    gives: ClassVar[str] = "indicators"


class Votes:
    gives: ClassVar[str] = "probabilities"


class Likelihoods:
    def probabilities(self, scores):
        return jax.nn.softmax(scores, axis=1)


@pytest.mark.parametrize(
    ("classifier", "enough", "converted"),
    [
        (Plain(), {"prediction", "decision"}, set()),
        (LeastSquares(), {"prediction", "decision", "columns", "indicators"}, set()),
        (Votes(), {"prediction", "decision", "columns", "indicators", "probabilities"}, set()),
        (Likelihoods(), {"prediction", "decision"}, {"columns", "indicators", "probabilities"}),
    ],
)
@pytest.mark.parametrize("name", METRICS)
def test_scores_mean_enough_or_are_made_to_or_are_refused(classifier, enough, converted, name):
    metric, scores = METRICS[name], jnp.array([[0.0, 1.0, 5.0]])
    if metric.needs in enough:
        assert scores_for(metric, classifier, 3)(scores) is scores
    elif metric.needs in converted:
        assert scores_for(metric, classifier, 3)(scores).sum() == pytest.approx(1)
    else:
        with pytest.raises(ValueError, match=f"metric '{name}' needs .*; {type(classifier).__name__} does not give"):
            scores_for(metric, classifier, 3)


@pytest.mark.parametrize("name", ["roc_auc", "roc_auc_ovr", "roc_auc_ovo", "average_precision"])
def test_two_classes_are_ranked_by_any_decision(name):
    """A constant added to both scores of a row must change nothing, for the decisions of some are defined up to one."""
    check(METRICS[name], Plain(), n_rows=10, n_classes=2, dtype=jnp.float32)
    scores, labels = probabilities(64, 2)
    scores = np.round(64 * scores)
    shift = np.random.default_rng(1).integers(-9, 9, (4, 64, 1)).astype(np.float32)
    np.testing.assert_array_equal(value(METRICS[name], scores, labels), value(METRICS[name], scores + shift, labels))


EVERY = (jm.Ridge, jm.KNeighbors, jm.LDA, jm.NearestCentroid, jm.GaussianNB, jm.Softmax, jm.LinearSVM)


@pytest.mark.parametrize("name", ["roc_auc_ovr", "r2", "neg_log_loss"])
def test_the_refusal_names_the_classifiers_that_can_and_no_others(name):
    metric = METRICS[name]
    with pytest.raises(ValueError, match="does not give") as refused:
        check(metric, Plain(), n_rows=5, n_classes=3, dtype=jnp.float32)
    text = str(refused.value)
    for kind in EVERY:
        try:
            scores_for(metric, kind(), 3)
        except ValueError:
            able = False
        else:
            able = True
        named = kind.__name__ in text
        assert able == (named != ("all but" in text)), kind.__name__


def test_words_for_what_scores_mean_are_checked():
    with pytest.raises(ValueError, match=r"needs must be one of .* but is 'probability'. Did you mean 'probabilities'"):
        Metric("mine", jnp.add, jnp.add, needs="probability")
    wrong = Plain()
    wrong.gives = "probs"
    with pytest.raises(ValueError, match="`gives` of Plain must be one of"):
        check(accuracy, wrong, n_rows=5, n_classes=2, dtype=jnp.float32)


def test_the_area_of_more_than_two_classes_takes_a_choice():
    with pytest.raises(ValueError, match="'roc_auc' is for two classes, but there are 3: take 'roc_auc_ovr'"):
        check(METRICS["roc_auc"], Votes(), n_rows=5, n_classes=3, dtype=jnp.float32)


def top_two(scores, labels):
    return (jax.lax.top_k(scores, 2)[1] == labels[:, None]).any(axis=1).mean()


def test_a_function_is_a_metric_of_all_rows_at_once():
    metric = metric_by_name(top_two)
    assert metric.name == "top_two" and not metric.additive and not metric.counts
    check(metric, Plain(), n_rows=40, n_classes=4, dtype=jnp.float32)
    scores, labels = probabilities(40, 4)
    expected = [sk.top_k_accuracy_score(y, s, k=2) for y, s in zip(labels[:2], scores[:2], strict=True)]
    np.testing.assert_allclose(value(metric, scores[:2], labels[:2]), expected, rtol=1e-6)


def test_the_same_function_compiles_once():
    traces = Counter()

    @partial(jax.jit, static_argnums=0)
    def evaluate(metric, scores, labels):
        traces[metric.name] += 1
        return metric.partial(scores, labels)

    for _ in range(3):
        assert metric_by_name(top_two) == metric_by_name(top_two)
        evaluate(metric_by_name(top_two), jnp.eye(3), jnp.arange(3))
    evaluate(metric_by_name(lambda scores, labels: scores.sum()), jnp.eye(3), jnp.arange(3))
    assert traces == {"top_two": 1, "<lambda>": 1}


def f1_of_scikit_learn(scores, labels):
    return sk.f1_score(labels, scores.argmax(axis=1))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (f1_of_scikit_learn, "metric 'f1_of_scikit_learn' cannot be compiled: .* 'balanced_accuracy'"),
        (lambda scores, labels: float(scores[0, 0]), "cannot be compiled"),
        (lambda scores, labels: 1.0 if scores[0, 0] > 0 else 0.0, "cannot be compiled"),
        (lambda scores, labels: scores[labels == 0].sum(), "cannot be compiled"),
        (lambda scores, labels: scores.max(axis=1), r"must return one number, but what it returns has shape \(5,\)"),
        (lambda scores, labels: "high", "must return one number, but what it returns is a str"),
    ],
)
def test_functions_that_cannot_be_metrics_are_refused_before_anything_runs(function, message):
    with pytest.raises(ValueError, match=message):
        check(metric_by_name(function), Plain(), n_rows=5, n_classes=2, dtype=jnp.float32)


def test_a_plain_number_will_do():
    check(metric_by_name(lambda scores, labels: 0.5), Plain(), n_rows=5, n_classes=2, dtype=jnp.float32)


@dataclass
class Unhashable:
    weights: list = field(default_factory=list)

    def __call__(self, scores, labels):
        return scores.sum()


def test_what_is_neither_name_nor_function_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"metric must be hashable, .* frozen dataclass"):
        metric_by_name(Unhashable())
    with pytest.raises(ValueError, match=r"metric must be one of .* but is 3"):
        metric_by_name(3)
    with pytest.raises(ValueError, match="Did you mean 'roc_auc_ovr'"):
        metric_by_name("roc_auc_over")
