"""Learning of single examples: by hand, as scikit-learn's neighbours have it, and on real digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

import jaxmem as jm
from jaxmem.data import load
from jaxmem.nets import MLP, TrainConfig, ensemble_logits, features, train_ensemble

INF = np.inf


def logits_of(predicted, n_classes=3, own=2.0):
    """Logits `own` for the predicted class and 0 for the others."""
    return own * np.eye(n_classes, dtype=np.float32)[np.asarray(predicted)]


def test_dynamics_by_hand():
    """Columns are examples: learnt at once and kept; learnt late; forgotten twice; never learnt."""
    predicted = [[0, 0, 1, 0], [0, 0, 2, 1], [0, 2, 1, 1], [0, 2, 0, 0]]
    found = jm.learning_dynamics(logits_of(predicted), np.array([0, 2, 1, 2]), epochs=(0, 1, 5, 10))
    np.testing.assert_array_equal(found.first_learned, [0, 5, 0, INF])
    np.testing.assert_array_equal(found.forgetting_events, [0, 0, 2, INF])
    np.testing.assert_array_equal(found.area, [1, 0.5, 0.5, 0])
    np.testing.assert_array_equal(found.correct[2], [True, True, True, False])
    np.testing.assert_array_equal(found.margin[2], [2, 2, 2, -2])
    right = np.log(np.exp(2) + 2) - 2
    np.testing.assert_allclose(found.loss[2], [right, right, right, right + 2], rtol=1e-6)


def test_networks_go_side_by_side():
    predicted = np.random.default_rng(0).integers(0, 3, (2, 5, 7))
    shared, own = np.zeros(7, int), np.random.default_rng(1).integers(0, 3, (2, 7))
    for y in (shared, own):
        both = jm.learning_dynamics(logits_of(predicted), y)
        for member in range(2):
            alone = jm.learning_dynamics(logits_of(predicted[member]), y if y.ndim == 1 else y[member])
            for got, expected in zip(both, alone, strict=True):
                np.testing.assert_array_equal(got[member], expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1), min_size=3, max_size=3), min_size=2, max_size=8))
def test_events_follow_from_the_table_of_what_is_right(table):
    found = jm.learning_dynamics(logits_of(1 - np.array(table), 2), np.zeros(3, int))
    for row in range(3):
        right = [each[row] for each in table]
        if not any(right):
            assert found.first_learned[row] == found.forgetting_events[row] == INF
            continue
        assert found.first_learned[row] == right.index(1) + 1
        assert found.forgetting_events[row] == "".join(map(str, right)).count("10")
        # Each forgetting takes an epoch of being right before it, and one of being wrong.
        assert found.forgetting_events[row] <= min(sum(right), len(right) - sum(right))


def test_epochs_to_an_accuracy_by_hand():
    accuracy = [[0.5, 0.99, 0.9, 1.0], [0.1, 0.2, 0.3, 0.4]]
    np.testing.assert_array_equal(jm.epochs_to_accuracy(accuracy), [2, INF])
    np.testing.assert_array_equal(jm.epochs_to_accuracy(accuracy, 0.3, (0, 1, 5, 10)), [0, 5])
    assert jm.epochs_to_accuracy(accuracy[0], 1.0) == 4


def test_prediction_depth_by_hand():
    """Rows on a line, one neighbour: each layer puts the third pair beside another one."""
    y = np.array([0, 0, 1, 1, 0, 0])
    places = {
        "input": [0, 0.1, 5, 5.1, 5.25, 5.45],  # Row 4's nearest is row 3 (0.15 away), and so is row 5's row 4.
        "layer1": [0, 0.1, 5, 5.1, 9, 9.1],
    }
    layers = {name: np.array(row)[:, None] for name, row in places.items()}
    # By the input's neighbours the rows are 0 0 1 1 1 0.
    np.testing.assert_array_equal(jm.prediction_depth(layers, y, y, n_neighbors=1), [0, 0, 0, 0, 1, 0])
    # The network says 1 of row 0: no layer does.
    np.testing.assert_array_equal(jm.prediction_depth(layers, y, [1, 0, 1, 1, 0, 0], n_neighbors=1)[:2], [2, 0])
    # Agreement that breaks later does not count.
    backwards = dict(reversed(layers.items()))
    np.testing.assert_array_equal(jm.prediction_depth(backwards, y, y, n_neighbors=1), [0, 0, 0, 0, 2, 0])


@pytest.mark.parametrize("of_training_rows", [True, False])
def test_prediction_depth_equals_one_by_scikit_learns_neighbours(of_training_rows):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 120)
    layers = {f"layer{i}": rng.normal(size=(120, 4)) + i * np.eye(3, 4)[y] for i in range(4)}
    new = {name: X if of_training_rows else X[::-1][:50] + 0.3 for name, X in layers.items()}
    predictions = rng.integers(0, 3, len(new["layer0"]))
    expected = np.full(len(predictions), 4)
    for depth in (3, 2, 1, 0):
        X, X_new = layers[f"layer{depth}"], new[f"layer{depth}"]
        search = NearestNeighbors(n_neighbors=7).fit(X)
        neighbors = search.kneighbors(None if of_training_rows else X_new, return_distance=False)
        voted = np.array([np.bincount(y[each], minlength=3).argmax() for each in neighbors])
        expected = np.where((voted == predictions) & (expected == depth + 1), depth, expected)
    found = jm.prediction_depth(layers, y, predictions, new_features=None if of_training_rows else new, n_neighbors=7)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) > 3


def test_a_row_has_no_vote_on_itself_even_among_twins():
    """Four rows at one place: the search may give a row's twins and not itself."""
    X = {"layer1": np.array([[0.0]] * 4 + [[9.0]] * 4)}
    y = np.array([1, 0, 0, 0, 1, 1, 1, 1])
    # Of any two twins of row 0 both say 0.
    assert jm.prediction_depth(X, y, y, n_neighbors=3)[0] == 1


def test_epochs_may_be_those_that_were_kept_of_real_digits():
    digits = load("digits")
    X, y = digits.X_train[:300], digits.y_train[:300]
    wrong = np.arange(300) < 30
    given_labels = np.where(wrong, (y + 1) % 10, y).astype(np.int32)
    config = TrainConfig(20, batch_size=30, learning_rate=4e-3, keep_epochs=(1, 2, 3, 4, 6, 8, 11, 15, 20))
    trained = train_ensemble(
        lambda rngs: MLP(784, 10, (32, 32), rngs=rngs), X, given_labels, config, jax.random.split(jax.random.key(0), 2)
    )
    tables = ensemble_logits(trained, X)
    found = jm.learning_dynamics(tables, given_labels, config.keep_epochs)
    assert found.correct.shape == (2, 9, 300)
    assert found.correct[:, -1].mean() > 0.99
    # Wrong labels are learnt later, and right for fewer epochs.
    assert (found.first_learned[:, wrong].mean(axis=1) > found.first_learned[:, ~wrong].mean(axis=1) + 3).all()
    assert (found.area[:, wrong].mean(axis=1) < found.area[:, ~wrong].mean(axis=1) - 0.2).all()
    # And deeper: their neighbours' labels are not theirs.
    depths = jm.prediction_depth(
        {"input": X.reshape(300, -1), **features(trained.at(20)[0], X)}, given_labels,
        tables[0, -1].argmax(axis=1), n_neighbors=10,
    )  # fmt: skip
    assert depths[wrong].mean() > depths[~wrong].mean() + 0.5


def test_margins_and_losses_are_finite_where_logits_are_large():
    found = jm.learning_dynamics(np.array([[[1e4, 0.0], [0.0, 1e4]]], np.float32), np.array([0, 0]))
    np.testing.assert_array_equal(found.loss, [[0, 1e4]])
    np.testing.assert_array_equal(found.margin, [[1e4, -1e4]])


def test_refusals(unchecked):
    good, y = logits_of([[0, 1], [1, 1]]), np.array([0, 1])
    layers, labels = {"a": np.eye(4)}, np.array([0, 1, 0, 1])
    for call, message in [
        (lambda: jm.learning_dynamics(good[0], y), r"logits has shape \(2, 3\)"),
        (lambda: jm.learning_dynamics(np.where(good > 0, np.nan, good), y), "NaN"),
        (lambda: jm.learning_dynamics(np.where(good > 0, np.inf, good), y), "infinite"),
        (lambda: jm.learning_dynamics(1e300 * good.astype(float), y), "infinite values, read as float32"),
        (lambda: jm.learning_dynamics(good.astype(str), y), "logits must hold real numbers"),
        (lambda: jm.learning_dynamics(good, y[:1]), r"shape \(1,\)"),
        (lambda: jm.learning_dynamics(good, y + 0.5), "float64"),
        (lambda: jm.learning_dynamics(good, y + 2), "from 2 to 3"),
        (lambda: jm.learning_dynamics(good, y, (2, 1)), "increasing numbers of 2"),
        (lambda: jm.learning_dynamics(good, y, (1,)), "increasing numbers of 2"),
        (lambda: jm.learning_dynamics(good, y, (np.nan, 1)), "increasing numbers of 2"),
        (lambda: jm.learning_dynamics(good, y, (1, np.inf)), "increasing numbers of 2"),
        (lambda: jm.learning_dynamics(good, y, ("a", "b")), "increasing numbers of 2"),
        (lambda: jm.epochs_to_accuracy([0.5], 0), "level is 0"),
        (lambda: jm.epochs_to_accuracy([np.nan]), "NaN"),
        (lambda: jm.epochs_to_accuracy([0.5], epochs=(1, 2)), "numbers of 1"),
        (lambda: jm.epochs_to_accuracy([0.5, 1.0], epochs=(2, 1)), "increasing numbers of 2"),
        (lambda: jm.prediction_depth({}, labels, labels), "at least one"),
        (lambda: jm.prediction_depth([np.eye(4)], labels, labels), "features is a list; expected a mapping"),
        (lambda: jm.prediction_depth(layers, labels, labels, new_features=np.eye(4)), "new_features is a ndarray"),
        (lambda: jm.prediction_depth(layers, labels, labels, new_features={"b": np.eye(4)}), "the same"),
        (lambda: jm.prediction_depth(layers, labels, labels), "n_neighbors is 30 and there are 4"),
        (lambda: jm.prediction_depth(layers, labels, labels[:3], n_neighbors=1), "3 predictions"),
        (lambda: jm.prediction_depth(layers, labels, labels + 1, n_neighbors=1), "lack"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(("kind", "expected"), [("float16", "float32"), ("int32", "float32"), ("float64", None)])
def test_logits_are_read_in_single_precision_at_least(kind, expected, dtype):
    logits = np.array([[[1, 3]], [[2, 1]]]).astype(kind)
    found = jm.learning_dynamics(logits, np.array([1]))
    assert found.loss.dtype == found.margin.dtype == (expected or dtype)
    np.testing.assert_allclose(found.loss.ravel(), np.log1p(np.exp([-2, 1])), rtol=1e-6)


def test_what_is_right_and_the_margin_are_of_one_precision(dtype):
    found = jm.learning_dynamics(np.array([[[1, 1 + 1e-12]]]), np.array([1]))
    assert found.correct.item() == (found.margin.item() > 0) == (dtype == np.float64)


def test_logits_may_be_jax_arrays():
    found = jm.learning_dynamics(jnp.asarray(logits_of([[0, 1]])), jnp.array([0, 1]))
    assert found.correct.all()
