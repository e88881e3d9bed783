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
from jaxtyping import Array, Float, Integer, Key

from jaxmem.notices import warn

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
    "as_positive",
    "beside",
    "check_shape",
    "check_values",
    "float_type",
    "on_one_device",
    "one_of",
    "unmasked",
]

# Bytes of arrays that are handed over faster as one copy than one by one.
_SMALL = 2**24

# A column that varies by a smaller share of its size has few digits of single precision for that.
_CLOSE = 2**-12

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
        ValueError: not two-dimensional, no rows or columns, not numbers, not finite, masked, or too large or too small
            to be squared.

    Warns:
        RuntimeWarning: columns of a wider type differ so little beside their size that few digits are left of it.
    """
    return all_as_features([X], [name], small=False)[0]


def all_as_features(arrays: Sequence[Any], names: Sequence[str], *, small: bool = True) -> Several:
    """Take several as `as_features` does, but in few calls, which for small ones are what counts.

    Args:
        arrays: features, one array a name.
        names: how the caller knows them.
        small: take features whose squares vanish too, for who brings them to unit length first.

    Returns:
        A list; of small ones of one shape and type, one array with a leading axis of them.
    """
    arrays = [as_array(X, name) for X, name in zip(arrays, names, strict=True)]
    if _go_together(arrays):
        dtype, stack = float_type(arrays[0].dtype, names[0]), np.stack(jax.device_get(arrays))
        with np.errstate(over="ignore"):
            features = jnp.asarray(stack, dtype=dtype)
        if isinstance(arrays[0], jax.Array):
            features = beside(arrays[0], features)
        # Where no digits can be lost, of all columns together: NumPy takes less than a call does.
        whole = [stack.max(axis=(1, 2))[:, None], stack.min(axis=(1, 2))[:, None]] if stack.dtype == dtype else None
        seen = _seen(*(whole or jax.device_get(_ends(features))))
    else:
        features = [_as_floats(X, name) for X, name in zip(arrays, names, strict=True)]
        features = [beside(features[0], X) for X in features]
        seen = zip(*(_seen(*ends) for ends in jax.device_get([_ends(X) for X in features])), strict=True)
    for X, name, largest, close in zip(arrays, names, *seen, strict=True):
        dtype, square = float_type(X.dtype, name), float(largest) * float(largest)
        in_range = square * X.size <= float(jnp.finfo(dtype).max) and (small or square >= _least_square(dtype))
        if not in_range:
            check_values([np.asarray(X)], name, dtype)
        if close.any() and X.dtype.itemsize >= dtype.itemsize and X.dtype != dtype:
            _tell_lost_digits(np.asarray(X), np.flatnonzero(close), name, dtype)
    return features


def _go_together(arrays: Sequence[np.ndarray | Array]) -> bool:
    """Whether these are several arrays, alike, and small enough for a copy to be worth it."""
    kinds = {(isinstance(X, jax.Array), X.shape, X.dtype) for X in arrays}
    alike = len(arrays) > 1 and len(kinds) == 1 and len(arrays) * arrays[0].nbytes <= _SMALL
    here = all(X.is_fully_addressable for X in arrays if isinstance(X, jax.Array))
    return alike and here and arrays[0].ndim == 2 and arrays[0].size > 0


@jax.jit
def _ends(X: Float[Array, "*k n d"]) -> tuple[Float[Array, "*k d"], Float[Array, "*k d"]]:
    """The largest and the smallest of each column, NaN if one is; a pass that is faster than one over all numbers."""
    return X.max(axis=-2), X.min(axis=-2)


def _seen(high: np.ndarray, low: np.ndarray) -> tuple[Any, np.ndarray]:
    """The largest magnitude of all columns, and which of them vary but little beside their size."""
    high, low = high.astype(float), low.astype(float)
    with np.errstate(invalid="ignore"):  # What is not finite is refused later.
        sizes = np.maximum(high, -low)
        return sizes.max(axis=-1), high - low < _CLOSE * sizes


def _least_square(dtype: np.dtype) -> float:
    """Of squares below it, sums and differences have no digits."""
    limits = jnp.finfo(dtype)
    return float(limits.tiny) / float(limits.eps)


def _tell_lost_digits(array: np.ndarray, columns: np.ndarray, name: str, dtype: np.dtype) -> None:
    """Warn where some of these columns vary by digits that they lose when they are taken in another type."""
    told = []
    for some in np.array_split(columns, -(-len(columns) // 64)):  # All of them may be as large as the array itself.
        given = array[:, some]
        with np.errstate(invalid="ignore"):
            taken = given.astype(dtype)
            lost = (taken.astype(given.dtype) != given).any(axis=0) & (np.ptp(given, axis=0) > 0)
        steps = np.ptp(taken, axis=0) / np.spacing(np.abs(taken).max(axis=0))
        told += [
            f"column {column} {f'keeps {np.log10(left):.1f} digits' if left else 'becomes constant'}"
            for column, left in zip(some[lost], steps[lost], strict=True)
        ]
    if told:
        more = f", and {len(told) - 3} more columns are like these" if len(told) > 3 else ""
        warn(
            f"{name} varies by little beside its size, of which {dtype} loses what {array.dtype} had: "
            f"{', '.join(told[:3])}{more}. Subtract X.mean(axis=0) from all features before, or pass them as float64 "
            'under jax.config.update("jax_enable_x64", True).'
        )


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


def as_array(X: Any, name: str = "X") -> np.ndarray | Array:
    """Take an array of NumPy, JAX or PyTorch, or what NumPy makes one of, where it is.

    Raises:
        ValueError: a sparse matrix, or an array with entries that are masked.
    """
    if hasattr(X, "detach"):  # A PyTorch tensor; its gradient is of no use here.
        X = X.detach()
        # Half precision becomes single in any case, and NumPy has no bfloat16 of PyTorch's.
        X = X.float() if X.is_floating_point() and X.element_size() < 4 else X
        X = X.cpu().numpy() if X.device.type == "cpu" else jnp.from_dlpack(X)
    if hasattr(X, "toarray") and hasattr(X, "nnz"):
        raise ValueError(f"{name} is a sparse matrix of SciPy, but features are dense arrays: pass {name}.toarray().")
    return X if isinstance(X, jax.Array) else np.asarray(unmasked(X, name))


def unmasked(array: Any, name: str) -> Any:
    """The same array; raises ValueError where entries of it are masked, which NumPy would pass over in silence."""
    if isinstance(array, np.ma.MaskedArray) and (n_masked := np.ma.count_masked(array)):
        raise ValueError(
            f"{name} has {n_masked} masked entries of {array.size}: drop these rows, or fill them in, "
            f"{name}.filled(...) say."
        )
    return array


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


def check_values(blocks: Iterable[Any], name: str, dtype: Any = None) -> None:
    """Raise ValueError unless all features, in blocks of rows, are finite, and neither too large nor too small.

    Args:
        blocks: in the order of their rows.
        name: how the caller knows the features.
        dtype: in which they are to be squared; None: that of the blocks.
    """
    n, size, n_bad, first_bad, largest, streamed = 0, 0, 0, 0, 0.0, dtype is None
    for block in blocks:
        of_block = float(_largest(block))
        if not np.isfinite(of_block):
            bad, first = (_bad_rows if isinstance(block, np.ndarray) else jax.jit(_bad_rows))(block)
            first_bad = first_bad if n_bad else n + int(first)
            n_bad += int(bad)
        n, size, largest, dtype = n + len(block), size + block.size, max(largest, of_block), dtype or block.dtype
    if n_bad:
        beyond = f" What is beyond {jnp.finfo(dtype).max:.1e} is infinite in {dtype}." if streamed else ""
        raise ValueError(
            f"{name} has NaN or infinite features in {n_bad} of {n} rows, the first in row {first_bad}. Drop or impute "
            f"them before the test.{beyond}"
        )
    if largest * largest * size > float(jnp.finfo(dtype).max):
        raise ValueError(
            f"{name} has features as large as {largest:.1e}: their squares overflow in {dtype}. "
            "Divide them by a constant; it changes no distance or direction between rows."
        )
    if largest > 0 and largest * largest < _least_square(dtype):
        raise ValueError(
            f"{name} has no feature larger than {largest:.1e}: their squares vanish in {dtype}. Multiply {name} by a "
            "constant, so that its largest features are near 1."
        )


def _largest(block: np.ndarray | Array) -> Any:
    """Largest magnitude, not finite where one is NaN."""
    if isinstance(block, np.ndarray):
        return max(float(block.max()), -float(block.min()))
    return _largest_of_all(block)


@jax.jit
def _largest_of_all(features: Float[Array, "n d"]) -> Float[Array, ""]:
    # Between devices, the maximum of NaN and a number may be the number.
    return jnp.where(jnp.isnan(features), jnp.inf, jnp.abs(features)).max()


def _bad_rows(features: np.ndarray | Array) -> tuple[Any, Any]:
    """How many rows are not finite, and the first of them."""
    finite = (np if isinstance(features, np.ndarray) else jnp).isfinite(features).all(axis=1)
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
    array = np.asarray(unmasked(y, name))
    if array.dtype == object and all(isinstance(value, str) for value in array.ravel()):
        array = array.astype(str)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must hold one label per row, shape (n,), but has shape {array.shape}.")
    if n_missing := _n_missing(array):
        raise ValueError(f"{name} is missing in {n_missing} of {len(array)} rows (NaN or None): drop these rows.")
    if array.dtype.kind not in "iubUS":
        raise ValueError(
            f"{name} must hold integers or strings, but its dtype is {array.dtype}. "
            f"If these are classes stored as numbers, pass {name}.astype(int)."
        )
    if classes is None:
        classes = np.unique(array)
        if classes.size < 2:
            raise ValueError(f"{name} must hold at least two classes, but every label is {classes[0].item()!r}.")
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


def _n_missing(labels: np.ndarray) -> int:
    if labels.dtype.kind == "f":
        return int(np.isnan(labels).sum())
    # The missing value of pandas is neither equal nor unequal to anything.
    return sum(
        one is None or type(one).__name__ == "NAType" or (isinstance(one, float) and one != one)
        for one in (labels if labels.dtype == object else ())
    )


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


def as_positive(value: Any, name: str, expected: str = "a finite number > 0", remedy: str = "") -> float:
    """Take a positive number, Python's, NumPy's or JAX's, as Python's, which has a hash.

    Raises:
        ValueError: no number, or none that is positive and finite.
    """
    try:
        number = float("nan") if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 < number < float("inf"):
        raise ValueError(f"{name} must be {expected}, but is {value!r}.{remedy}")
    return value if isinstance(value, (int, float)) else number


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
