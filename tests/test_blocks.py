"""Blocks of rows: what a function of all rows at once returns, whatever the block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmem.blocks import over_row_blocks

ROWS = {"a": jnp.arange(24.0).reshape(12, 2), "b": jnp.arange(12)}


def sums_and_rows(arrays):
    a, b = arrays["a"], arrays["b"]
    sums = {"total": a.sum(axis=0), "odd": (b % 2).sum()}
    return sums, (a * b[:, None], b > 5)


@pytest.mark.parametrize("block_rows", [1, 3, 4, 5, 7, 11, 12, 13, 1_000])
def test_blocks_equal_the_whole(block_rows):
    got = jax.jit(lambda arrays: over_row_blocks(sums_and_rows, arrays, block_rows))(ROWS)
    expected = sums_and_rows(ROWS)
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    assert jax.tree.map(jnp.result_type, got) == jax.tree.map(jnp.result_type, expected)


def test_blocks_run_under_vmap():
    many = jnp.arange(30.0).reshape(3, 10)
    sums, rows = jax.vmap(lambda each: over_row_blocks(lambda b: (b.sum(), 2 * b), each, 4))(many)
    np.testing.assert_array_equal(sums, many.sum(axis=1))
    np.testing.assert_array_equal(rows, 2 * many)


@pytest.mark.parametrize("block_rows", [3, 12])
def test_either_output_may_be_none(block_rows):
    sums, nothing = over_row_blocks(lambda rows: (rows["b"].sum(), None), ROWS, block_rows)
    assert sums == 66 and nothing is None
    nothing, rows = over_row_blocks(lambda rows: (None, rows["b"]), ROWS, block_rows)
    assert nothing is None
    np.testing.assert_array_equal(rows, ROWS["b"])


@pytest.mark.parametrize(("block_rows", "expected"), [(5, {5, 2}), (6, {6}), (12, {12}), (20, {12})])
def test_a_block_holds_no_more_rows_than_asked_for(block_rows, expected):
    seen = set()

    def watch(rows):
        seen.add(len(rows))
        return rows.sum(), None

    over_row_blocks(watch, jnp.arange(12), block_rows)
    assert seen == expected
