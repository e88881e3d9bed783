"""Digests change with everything that counts, and with nothing else."""

import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import jaxmem as jm
from jaxmem.digests import described, digest

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "other",
    [
        jnp.asarray(ARRAY),
        np.asfortranarray(ARRAY),
        np.repeat(ARRAY, 2, axis=0)[::2],
    ],
    ids=["of JAX", "by columns", "a view"],
)
def test_the_same_numbers_have_the_same_digest(other):
    assert digest({"a": other}) == digest({"a": ARRAY})


@pytest.mark.parametrize(
    "other",
    [
        {"a": ARRAY, "c": None},
        {"b": ARRAY},
        {"a": ARRAY.T},
        {"a": ARRAY.reshape(6)},
        {"a": ARRAY.view(np.int32)},
        {"a": np.nextafter(ARRAY, np.float32(9))},
        {"a": [ARRAY]},
        {"a": ARRAY, "c": 1},
        {"a": None},
    ],
)
def test_other_places_shapes_types_and_numbers_have_another(other):
    assert digest(other) != digest({"a": ARRAY})


def test_arrays_of_every_kind_have_digests():
    kinds = [np.array(3), np.zeros(0), np.ones(2, bool), np.array(["ab"]), np.ones(2, ml_dtypes.bfloat16)]
    kinds += [np.array(["ab", None], object), jax.random.key(0), jax.random.key(1), None, "ab", 3]
    assert len({digest([kind]) for kind in kinds}) == len(kinds)


def test_addresses_play_no_part():
    def function():
        return None

    assert "0x" in repr(function) and described(function) == f"<function {function.__qualname__}>"
    assert digest([function, object()]) == digest([function, object()])


class Plain:
    def __init__(self, a):
        self.a = a

    def method(self):
        return self.a


def closing_over(value):
    def function(x):
        return function(value) if x else value

    return function


def within(value):
    return lambda x: [(lambda y: y in {"a", "b", "c"}) for _ in x] + [value]


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (lambda x: x + 1, lambda x: x + 1, lambda x: x + 2),
        (lambda x: x.sum(), lambda x: x.sum(), lambda x: x.max()),
        (lambda x: x + 1, lambda x: x + 1, lambda x: x - 1),
        (lambda x: [i + 1 for i in x], lambda x: [i + 1 for i in x], lambda x: [i + 2 for i in x]),
        (lambda x=1: x, lambda x=1: x, lambda x=2: x),
        (lambda *, x=1: x, lambda *, x=1: x, lambda *, x=2: x),
        (closing_over(1), closing_over(1), closing_over(2)),
        (closing_over(ARRAY), closing_over(ARRAY.copy()), closing_over(ARRAY + 1)),
        (closing_over({1: 1, "a": 2}), closing_over({1: 1, "a": 2}), closing_over({1: 1, "a": 3})),
        (within(1), within(1), within(2)),
        (partial(np.add, 1), partial(np.add, 1), partial(np.add, 2)),
        (partial(np.add, 1), partial(np.add, 1), partial(np.subtract, 1)),
        (jax.jit(lambda x: x + 1), jax.jit(lambda x: x + 1), jax.jit(lambda x: x + 2)),
        (FunctionTransformer(lambda x: x + 1), FunctionTransformer(lambda x: x + 1), FunctionTransformer(np.log1p)),
        (jm.metrics.METRICS["r2"], jm.metrics.METRICS["r2"], jm.metrics.METRICS["accuracy"]),
        (jm.Ridge(1.0), jm.Ridge(1.0), jm.Ridge(2.0)),
        (SimpleNamespace(a=1), SimpleNamespace(a=1), SimpleNamespace(a=2)),
        (Plain(1), Plain(1), Plain(2)),
        (Plain(1).method, Plain(1).method, Plain(2).method),
    ],
)
def test_functions_and_objects_are_known_by_what_they_do_and_hold(one, same, other):
    assert digest([one]) == digest([same]) != digest([other])


def test_objects_that_refer_to_each_other_have_digests():
    def linked(value):
        """Forty objects, each of which holds the next one twice: a trillion ways through them, and a circle."""
        first = last = Plain(value)
        for _ in range(40):
            first = Plain([first, first])
        last.first = first
        return first

    assert digest(linked(1)) == digest(linked(1)) != digest(linked(2))


def test_whether_an_object_is_there_twice_or_has_an_equal_plays_no_part():
    one = Plain(1)
    assert digest([one, one]) == digest([one, Plain(1)]) != digest([one, Plain(2)])


def test_the_number_of_processes_plays_no_part():
    def pipeline(n_jobs, n_neighbors):
        steps = make_pipeline(StandardScaler(), KNeighborsClassifier(n_neighbors, n_jobs=n_jobs))
        return jm.Estimator(steps, n_jobs=n_jobs)

    assert digest(pipeline(1, 3)) == digest(pipeline(2, 3)) != digest(pipeline(1, 4))


@pytest.mark.nightly
def test_a_function_has_the_same_digest_in_every_process():
    """Although sets of strings have another order in each."""
    code = (
        "from jaxmem.digests import digest; import jaxmem as jm\n"
        "print(digest([lambda x: x in {'a', 'b', 'c', 'd'}, jm.metrics.METRICS]))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
