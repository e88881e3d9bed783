"""The loop over batches: all in order, halved where memory runs out, and none lost by an interrupt."""

import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same, blobs

import jaxmem as jm
from jaxmem.batches import in_batches
from jaxmem.fits import PreparedFit


def squares(start, size):
    return jnp.arange(start, start + size) ** 2


def numbers(start, batch):
    return np.asarray(batch).tolist()


class Taken(list):
    """Takes batches, whatever their size; two telling of the same batch count once."""

    def __call__(self, start, batch):
        if start == len(self):
            self.extend(batch)
        return False


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize(("total", "size"), [(1, 1), (10, 3), (12, 3), (2, 8)])
def test_every_thing_once_and_in_order(total, size, backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    taken = Taken()
    assert in_batches(squares, numbers, taken, first=0, total=total, size=size, progress=False) == size
    assert taken[:total] == [i**2 for i in range(total)] and len(taken) < total + size


@pytest.mark.parametrize(("backend", "ahead"), [("cpu", 0), ("gpu", 1)])
def test_a_device_has_its_next_batch_before_the_host_takes_one(backend, ahead, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    launched, seen = [], []

    def launch(start, size):
        launched.append(start)
        return squares(start, size)

    def take(start, batch):
        seen.append(len(launched) - len(seen))
        return len(seen) == 3

    in_batches(launch, numbers, take, first=0, total=100, size=4, progress=False)
    assert seen == [ahead + 1, ahead + 1, ahead + 1]


def out_of_memory(*_):
    # A petabyte; the error comes where the array is waited for, if not before.
    jax.block_until_ready(jnp.zeros(2**50))


def test_memory_that_runs_out_halves_the_batch_and_says_so():
    taken, sizes = Taken(), []

    def launch(start, size):
        sizes.append(size)
        return out_of_memory() if size > 5 else squares(start, size)

    with pytest.warns(RuntimeWarning, match="Out of memory after 0 of 30") as warned:
        assert in_batches(launch, numbers, taken, first=0, total=30, size=18, progress=False) == 5
    assert taken == [i**2 for i in range(30)]
    assert sizes == [18, 9] + [5] * 6
    assert ["in batches of 9" in str(w.message) for w in warned] == [True, False]


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_memory_that_runs_out_later_loses_nothing(backend, monkeypatch):
    """The error of a program that runs comes where its result is taken, and the next batch is under way by then."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    taken = Taken()

    def fetch(start, batch):
        if start >= 12 and len(batch) > 3:
            out_of_memory()
        return numbers(start, batch)

    with pytest.warns(RuntimeWarning, match="Out of memory after 12 of 29 labellings: .* batches of 3"):
        in_batches(squares, fetch, taken, first=0, total=29, size=6, progress=False)
    assert taken[:29] == [i**2 for i in range(29)]


def test_a_batch_that_is_kept_is_not_computed_again_in_pieces():
    """Memory that runs out while a batch is taken: by then it may be kept, and pieces of it would not start there."""
    starts = []

    def take(start, batch):
        starts.append(start)
        raise MemoryError

    with pytest.raises(MemoryError):
        in_batches(squares, numbers, take, first=0, total=20, size=5, progress=False)
    assert starts == [0]


def test_batches_are_cut_to_a_multiple_and_no_further():
    taken = Taken()

    def launch(start, size):
        return out_of_memory() if size > 8 else squares(start, size)

    with pytest.warns(RuntimeWarning, match="batches of 8"):
        assert in_batches(launch, numbers, taken, first=0, total=20, size=12, multiple=4, progress=False) == 8
    with (
        pytest.warns(RuntimeWarning, match="batches of 4"),
        pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED") as raised,
    ):
        in_batches(out_of_memory, numbers, taken, first=0, total=20, size=8, multiple=4, progress=False)
    assert "batch of 4 does not fit into memory" in " ".join(raised.value.__notes__)


def test_other_errors_are_passed_on():
    def launch(start, size):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        in_batches(launch, numbers, Taken(), first=0, total=20, size=8, progress=False)


@pytest.mark.parametrize(("backend", "n_taken"), [("cpu", 12), ("gpu", 15)])
def test_an_interrupt_is_passed_on_once_the_batches_under_way_are_taken(backend, n_taken, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    taken, calls = Taken(), []

    def take(start, batch):
        calls.append(start)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return taken(start, batch)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # A background job ignores it.
    try:
        with pytest.raises(KeyboardInterrupt):
            in_batches(squares, numbers, take, first=0, total=100, size=3, progress=False)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert taken == [i**2 for i in range(n_taken)]


class Greedy:
    """A classifier on the host that cannot refit more than eight labellings at once, for lack of memory."""

    gives = "prediction"

    def refit(self, fits, n_classes, needs):
        if len(fits) > 8:
            out_of_memory()
        return jm.Estimator(_neighbor()).refit(fits, n_classes, needs)


def _neighbor():
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(1)


def test_a_test_in_halved_batches_is_the_same_test(tmp_path):
    X, y, X_val = blobs(30, 5, 3)
    options = {"validation": jm.SharedStructure(X_val), "n_permutations": 29, "progress": False}
    whole = jm.permutation_test(jm.KNeighbors(1), X, y, example_scores=True, **options)
    with pytest.warns(RuntimeWarning, match="Out of memory after 0 of 30 labellings: .* batches of 8"):
        test = jm.permutation_test(Greedy(), X, y, batch_size=16, example_scores=True, **options)
    np.testing.assert_array_equal(test.null_distribution, whole.null_distribution)
    np.testing.assert_array_equal(test.example_scores, whole.example_scores)
    assert test.pvalue == whole.pvalue


def test_copies_are_matched_anew_in_halved_batches_where_memory_asks_for_it(monkeypatch):
    X, y, X_val = blobs(30, 5, 3)
    options = {"n_permutations": 29, "batch_size": 16, "progress": False}
    whole = jm.memorization_test(jm.KNeighbors(1), X, y, jm.SharedStructure(X_val), **options)
    predictions = PreparedFit.predictions

    def greedy(self, labels):
        return out_of_memory() if len(labels) > 8 else predictions(self, labels)

    monkeypatch.setattr(PreparedFit, "predictions", greedy)
    with pytest.warns(RuntimeWarning, match="Out of memory after 0 of 29 labellings: .* batches of 8"):
        test = jm.memorization_test(jm.KNeighbors(1), X, y, jm.SharedStructure(X_val), **options)
    assert_same(test, whole)
