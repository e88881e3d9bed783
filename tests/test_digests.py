"""Digests change with everything that counts, and with nothing else."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

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
