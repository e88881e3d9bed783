"""Digests of arrays, by which work that goes on knows whether it is the same work."""

import hashlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["described", "digest"]


def digest(tree: Any) -> str:
    """A digest of a tree: of the places in it, of shapes, dtypes and bytes of arrays, and of how all else prints."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        total.update(jax.tree_util.keystr(path).encode())
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if isinstance(leaf, (np.ndarray, np.generic, jax.Array)) and leaf.dtype != object:
            total.update(f" {leaf.dtype} {leaf.shape}".encode())
            total.update(np.ascontiguousarray(leaf).view(np.uint8).data)
        else:
            total.update(described(leaf).encode())
    return total.hexdigest()


def described(value: Any) -> str:
    """The `repr` of a value without addresses in memory, which change from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
