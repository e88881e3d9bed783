"""What enters the library, checked once at the door: features, labels, keys, and the words for options."""

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxtyping import Array, Float, Int, Integer, Key

__all__ = [
    "Labels",
    "Several",
    "all_as_features",
    "as_array",
    "as_features",
    "as_key",
    "as_labels",
    "as_number",
    "as_path",
    "beside",
    "check_shape",
    "check_values",
    "float_type",
    "on_one_device",
    "one_of",
]

# Bytes of arrays that are handed over faster as one copy than one by one.
_SMALL = 2**24

# So many classes are never too many, even where each has but one row: small examples are like that.
_FEW_CLASSES = 1_000


# Several arrays of features: a list, or one array with a leading axis of them.
Several = list[Float[Array, "_ _"]] | Float[Array, "k n d"]


class Labels(NamedTuple):
    """Labels as integers below the number of classes, in the order of the sorted classes."""

    codes: Integer[Array, " n"]
    classes: np.ndarray


def as_features(X: Any, name: str = "X") -> Float[Array, "n d"]:
    """Take features from NumPy, JAX or PyTorch as a JAX array of floats.

    Floats keep their precision where JAX allows it (float64 needs `jax.config.update("jax_enable_x64", True)`, and is
    read as float32 otherwise); integers and half precision become float32.

    Args:
        X: shape (n, d), finite numbers.
        name: how the caller knows this array, for the messages.

    Raises:
        ValueError: not two-dimensional, no rows or columns, not numbers, not finite, or too large to be squared.
    """
    return all_as_features([X], [name])[0]


def all_as_features(arrays: Sequence[Any], names: Sequence[str]) -> Several:
    """Take several as `as_features` does, but in few calls, which for small ones are what counts.

    Returns:
        A list; of small ones of one shape that came from NumPy, one array with a leading axis of them.
    """
    arrays = [as_array(X) for X in arrays]
    if _go_together(arrays):
        dtype, stack = float_type(arrays[0].dtype, names[0]), np.stack(arrays)
        # NaN is the largest and the smallest of all.
        largest = np.maximum(stack.max(axis=(1, 2)).astype(float), -stack.min(axis=(1, 2)).astype(float))
        with np.errstate(over="ignore"):
            features = jnp.asarray(stack, dtype=dtype)
    else:
        features = [_as_floats(X, name) for X, name in zip(arrays, names, strict=True)]
        features = [beside(features[0], X) for X in features]
        largest = np.asarray(_largest(features))
    for place, of_one in enumerate(largest.tolist()):
        dtype = float_type(arrays[place].dtype, names[place])
        if not of_one * of_one * arrays[place].size <= float(jnp.finfo(dtype).max):
            check_values([features[place]], names[place])
    return features


def _go_together(arrays: Sequence[np.ndarray | Array]) -> bool:
    """Whether these are several arrays of NumPy, alike, and small enough for a copy to be worth it."""
    kinds = {(type(X), X.shape, X.dtype) for X in arrays}
    alike = len(arrays) > 1 and len(kinds) == 1 and isinstance(arrays[0], np.ndarray)
    return alike and len(arrays) * arrays[0].nbytes <= _SMALL and arrays[0].ndim == 2 and arrays[0].size > 0


def _as_floats(array: np.ndarray | Array, name: str) -> Float[Array, "n d"]:
    """Features as `as_features` takes them, of whatever values."""
    check_shape(array.shape, name)
    dtype = float_type(array.dtype, name)
    if isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated):
        raise ValueError(
            f"{name} lies on devices of several processes: pass them as devices, in a mesh with an axis 'rows', "
            'devices=jax.make_mesh((1, jax.device_count()), ("permutations", "rows")) say.'
        )
    array = on_one_device(array)
    with np.errstate(over="ignore"):  # What overflows is refused later, as infinite.
        return jnp.asarray(array, dtype=dtype)


def on_one_device(array: np.ndarray | Array) -> np.ndarray | Array:
    """An array of several devices, on the first of them."""
    if not isinstance(array, jax.Array) or len(array.devices()) == 1:
        return array
    # Told a device alone, JAX keeps an explicit sharding of the array in its type.
    first = min(array.devices(), key=lambda device: device.id)
    return jax.device_put(array, SingleDeviceSharding(first))


def beside(one: Array, other: Array) -> Array:
    """The other array, where the one is: networks may be on a device each."""
    return other if other.devices() == one.devices() else jax.device_put(other, one.sharding)


def as_array(X: Any) -> np.ndarray | Array:
    """Take an array of NumPy, JAX or PyTorch, or what NumPy makes one of, where it is."""
    if hasattr(X, "detach"):  # A PyTorch tensor; its gradient is of no use here.
        X = X.detach()
        # Half precision becomes single in any case, and NumPy has no bfloat16 of PyTorch's.
        X = X.float() if X.is_floating_point() and X.element_size() < 4 else X
        X = X.cpu().numpy() if X.device.type == "cpu" else jnp.from_dlpack(X)
    return X if isinstance(X, jax.Array) else np.asarray(X)


def check_shape(shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError unless it is that of features."""
    if len(shape) != 2 or 0 in shape:
        raise ValueError(
            f"{name} must hold one row of features per example, shape (n, d) with n, d >= 1, but has shape "
            f"{shape}. Flatten images: images.reshape(len(images), -1)."
        )


def float_type(dtype: Any, name: str) -> np.dtype:
    """The type that numbers of this one are taken in; raises ValueError where they are no real numbers."""
    numbers = jnp.issubdtype(dtype, jnp.number) and not jnp.issubdtype(dtype, jnp.complexfloating)
    if not (numbers or jnp.issubdtype(dtype, np.bool_)):
        raise ValueError(f"{name} must hold real numbers, but its dtype is {dtype}.")
    wide = dtype == np.float64 and jax.dtypes.canonicalize_dtype(float) == np.float64
    return np.dtype(np.float64 if wide else np.float32)


def check_values(blocks: Iterable[Any], name: str) -> None:
    """Raise ValueError unless all features, in blocks of rows, are finite and not too large to be squared."""
    n, size, n_bad, first_bad, largest, dtype = 0, 0, 0, 0, 0.0, np.dtype(float)
    for block in blocks:
        of_block = float(_largest([block])[0])
        if not np.isfinite(of_block):
            bad, first = _bad_rows(block)
            first_bad = first_bad if n_bad else n + int(first)
            n_bad += int(bad)
        n, size, largest, dtype = n + len(block), size + block.size, max(largest, of_block), block.dtype
    if n_bad:
        raise ValueError(
            f"{name} has NaN or infinite features in {n_bad} of {n} rows, the first in row {first_bad}. Drop or impute "
            "them before the test."
        )
    if largest * largest * size > float(jnp.finfo(dtype).max):
        raise ValueError(
            f"{name} has features as large as {largest:.1e}: their squares overflow in {dtype}. "
            "Divide them by a constant; it changes no distance or direction between rows."
        )


@jax.jit
def _largest(arrays: list[Float[Array, "_ _"]]) -> Float[Array, " arrays"]:
    """Largest magnitude of each, infinite where one is NaN: a single pass."""
    # Between devices, the maximum of NaN and a number may be the number.
    return jnp.array([jnp.where(jnp.isnan(X), jnp.inf, jnp.abs(X)).max() for X in arrays])


@jax.jit
def _bad_rows(features: Float[Array, "n d"]) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """How many rows are not finite, and the first of them."""
    finite = jnp.isfinite(features).all(axis=1)
    return (~finite).sum(), finite.argmin()


def as_labels(y: Any, name: str = "y", classes: np.ndarray | None = None) -> Labels:
    """Take labels (integers, booleans or strings) as integer codes.

    Args:
        y: shape (n,).
        name: how the caller knows this array, for the messages.
        classes: the sorted classes that may occur; by default those of `y`, of which there must be two or more.

    Raises:
        ValueError: not one-dimensional, not integers or strings, one class only, more classes than half the rows (and
            than 1,000), or a class that is not in `classes`.
    """
    array = np.asarray(y)
    if array.dtype == object and all(isinstance(value, str) for value in array.ravel()):
        array = array.astype(str)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must hold one label per row, shape (n,), but has shape {array.shape}.")
    if array.dtype.kind not in "iubUS":
        raise ValueError(
            f"{name} must hold integers or strings, but its dtype is {array.dtype}. "
            f"If these are classes stored as numbers, pass {name}.astype(int)."
        )
    if classes is None:
        classes = np.unique(array)
        if classes.size < 2:
            raise ValueError(f"{name} must hold at least two classes, but every label is {classes[0]!r}.")
        if classes.size > max(_FEW_CLASSES, array.size // 2):
            raise ValueError(
                f"{name} has {classes.size} classes for {array.size} rows: these look like identifiers or a continuous "
                "target, of which no classifier learns anything. Group them into fewer classes."
            )
    codes = np.searchsorted(classes, array)
    known = classes[np.minimum(codes, classes.size - 1)] == array
    if not np.all(known):
        strangers = np.unique(array[~known])[:5].tolist()
        raise ValueError(f"{name} has classes that the training labels lack: {strangers}. Drop those rows.")
    # One byte a label where it is enough: shuffling labels is bound by how many bytes move.
    return Labels(jnp.asarray(codes, jnp.uint8 if classes.size <= 256 else jnp.int32), classes)


def as_key(key: Any) -> Key[Array, ""]:
    """Take a seed (an integer) or a JAX key as a new-style JAX key.

    Raises:
        ValueError: neither an integer nor one key.
    """
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        try:
            return jax.random.key(int(key))
        except OverflowError as error:
            raise ValueError(f"key must be an integer seed of 64 bits at most, but is {key!r}.") from error
    if isinstance(key, jax.Array):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
            return key
        if key.dtype == jnp.uint32 and key.shape == (2,):
            return jax.random.wrap_key_data(key)
    raise ValueError(f"key must be an integer seed or one JAX key (jax.random.key(0)), but is {key!r}.")


def as_number(value: Any, name: str, at_least: int = 1) -> int:
    """Take a number of things, Python's or NumPy's, as a Python integer.

    Raises:
        ValueError: no integer, or too small a one.
    """
    if isinstance(value, bool) or not (isinstance(value, (int, np.integer)) and value >= at_least):
        raise ValueError(f"{name} must be an integer >= {at_least}, but is {value!r}.")
    return int(value)


def as_path(value: Any, name: str) -> Path:
    """Take the path of a file or folder, `~` for the home folder.

    Raises:
        ValueError: neither a string nor a path.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"{name} must be a path, or None, but is {value!r}.")
    return Path(value).expanduser()


def one_of(value: str, options: Iterable[str], name: str) -> str:
    """Return `value` if it is one of `options`.

    Raises:
        ValueError: it is not; the message names the nearest options.
    """
    options = list(options)
    if value in options:
        return value
    near = difflib.get_close_matches(str(value), options, n=3)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, but is {value!r}.{hint}")
