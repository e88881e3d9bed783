"""Digests of arrays and of functions, by which work that goes on knows whether it is the same work.

Functions are known by what they do, as far as that can be read: by their bytecode, constants, defaults and what they
close over. Neither can the functions that they call by a global name be read, nor the methods of objects, nor what is
compiled from another language: those are known by their names alone. So are jaxmem's own, which its version tells.
"""

import dataclasses
import hashlib
import re
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmem.sharding import ShardedRows
from jaxmem.streaming import RowBlocks

__all__ = ["described", "digest"]

# Parameters that change how fast a number comes, and no number.
_WITHOUT_EFFECT = {"n_jobs"}


def digest(tree: Any) -> str:
    """A digest of a tree: of the places in it, of arrays, of functions and parameters, and of how all else prints.

    Arrays count by shape, dtype and bytes, on disk as well; functions as said above; dataclasses, estimators of
    scikit-learn and objects that print as nothing but an address by type and by all that they hold, but for `n_jobs`.
    """
    return _digest(tree, {})


def described(value: Any) -> str:
    """The `repr` of a value without addresses in memory, which change from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _digest(tree: Any, known: dict[int, tuple[Any, str]]) -> str:
    """As `digest`; `known` are functions and objects met so far with their digests, by their ids."""
    total = hashlib.sha256()
    try:
        leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_leaf)
    except ValueError:  # A dictionary whose keys have no order.
        leaves = [((), described(tree))]
    for path, leaf in leaves:
        total.update(jax.tree_util.keystr(path).encode())
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if isinstance(leaf, (np.ndarray, np.generic, jax.Array)) and leaf.dtype != object:
            total.update(f" {leaf.dtype} {leaf.shape}".encode())
            total.update(np.ascontiguousarray(leaf).view(np.uint8).data)
        elif isinstance(leaf, (set, frozenset)):  # In an order that changes from process to process.
            total.update(f" set {sorted(_digest([one], known) for one in leaf)}".encode())
        elif id(leaf) in known:
            total.update(known[id(leaf)][1].encode())
        elif (parts := _parts(leaf)) is not None:
            # Objects may refer to each other in circles: a function that calls itself closes over itself. The object is
            # kept, for another one may get the id of one that is gone.
            known[id(leaf)] = leaf, "itself"
            known[id(leaf)] = leaf, _digest(parts, known)
            total.update(known[id(leaf)][1].encode())
        else:
            total.update(described(leaf).encode())
    return total.hexdigest()


def _is_leaf(value: Any) -> bool:
    # A dataclass that is a tree to JAX may have fields that are no leaves of it.
    return value is None or (dataclasses.is_dataclass(value) and not isinstance(value, type))


def _parts(value: Any) -> Any:
    """What makes a function or an object what it is; None where only its `repr` tells."""
    if isinstance(value, FunctionType) and str(value.__module__).startswith("jaxmem."):
        return None
    if isinstance(value, CodeType):
        return value.co_code, value.co_consts, value.co_names
    if isinstance(value, FunctionType):
        return value.__code__, value.__defaults__, value.__kwdefaults__, [_content(c) for c in value.__closure__ or ()]
    if isinstance(value, MethodType):
        return value.__func__, value.__self__
    if isinstance(value, RowBlocks):
        total = hashlib.sha256()
        for block in value:
            total.update(block.view(np.uint8).data)
        return "rows that are read by blocks", value.shape, str(value.dtype), total.hexdigest()
    if isinstance(value, ShardedRows):
        # Sums over other parts of the rows round otherwise: the same rows, but another run.
        return "rows that devices share out", value.shape, str(value.dtype), value.digests()
    if isinstance(value, partial):
        return value.func, value.args, value.keywords
    if isinstance(value, type) or value is None:
        return None
    if dataclasses.is_dataclass(value):
        return _holding(value, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if hasattr(value, "get_params"):
        return _holding(value, value.get_params(deep=False))
    if hasattr(value, "__wrapped__"):  # Of `jax.jit`, and the like.
        return value.__wrapped__
    if type(value).__repr__ is object.__repr__ and hasattr(value, "__dict__"):
        return _holding(value, vars(value))
    return None


def _holding(value: Any, held: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return described(type(value)), {name: part for name, part in held.items() if name not in _WITHOUT_EFFECT}


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # A name that has no value yet.
        return "empty"
