"""Threads of BLAS: one while batches are worked on, and afterwards what there were."""

import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import blobs
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_info, threadpool_limits

import jaxmem as jm
from jaxmem import passes, scoring
from jaxmem.threads import one_blas_thread

X, y, X_val = blobs(30, 5, 3, separation=0.7)


def threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def two_threads():
    import scipy.linalg  # noqa: F401 - Whose BLAS is JAX's.

    with threadpool_limits(2, user_api="blas"):
        assert threads() == {2}
        yield


@pytest.mark.parametrize(
    ("classifier", "expected"), [(jm.LDA(0.1), {1}), (jm.Estimator(KNeighborsClassifier(1)), {2})], ids=["ours", "host"]
)
def test_a_test_has_one_thread_and_leaves_those_that_there_were(two_threads, monkeypatch, classifier, expected):
    during = []

    def watched(function):
        def call(*arguments):
            during.append(threads())
            return function(*arguments)

        return call

    for room, name in ((scoring, "fits_of"), (passes, "_draw")):
        monkeypatch.setattr(room, name, watched(getattr(room, name)))
    jm.permutation_test(classifier, X, y, validation=jm.SharedStructure(X_val), n_permutations=3, progress=False)
    assert during == [expected, expected] and threads() == {2}


def test_an_error_gives_them_back(two_threads):
    with pytest.raises(RuntimeError), one_blas_thread():
        raise RuntimeError
    assert threads() == {2}


_TWO_AT_ONCE = """
import threading, scipy.linalg
from threadpoolctl import threadpool_info
from jaxmem.threads import one_blas_thread

entered, leave = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]

def within(k):
    with one_blas_thread():
        entered[k].set()
        leave[k].wait()

both = [threading.Thread(target=within, args=(k,)) for k in range(2)]
for k in range(2):
    both[k].start()
    entered[k].wait()
print(*{pool["num_threads"] for pool in threadpool_info()})
for k in range(2):
    leave[k].set()
    both[k].join()
print(*{pool["num_threads"] for pool in threadpool_info()})
"""


def test_of_two_at_once_the_first_sets_the_limit_and_takes_it_off():
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    ended = subprocess.run([sys.executable, "-c", _TWO_AT_ONCE], env=environment, capture_output=True, text=True)
    assert ended.stdout.split() == ["1", "2"], ended.stderr


def test_what_is_computed_does_not_depend_on_them(two_threads):
    validation = jm.SharedStructure(X_val)
    first = jm.permutation_test(jm.LDA(0.1), X, y, validation=validation, n_permutations=9, progress=False)
    with threadpool_limits(1, user_api="blas"):
        second = jm.permutation_test(jm.LDA(0.1), X, y, validation=validation, n_permutations=9, progress=False)
    np.testing.assert_array_equal(first.null_distribution, second.null_distribution)
