"""A data set as four arrays, the split that makes one out of labelled rows, and the keys that belong to rows.

Everything after this file sees images as float32 in [0, 1] of shape (n, h, w, c), whatever the data set was.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Key, PRNGKeyArray

__all__ = ["Dataset", "row_keys", "stratified_split"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of one classification problem, on the host.

    Args:
        name: what the data set is called, for tables and file names.
        X_train: float32 (n, h, w, c), pixels in [0, 1].
        y_train: int32 (n,), class numbers that index `class_names`.
        X_test: float32 (m, h, w, c), rows independent of the training rows.
        y_test: int32 (m,).
        class_names: one name per class.

    Raises:
        ValueError: for a wrong shape, dtype, pixel range or class number, or an empty part.

    Example:
        >>> import numpy as np
        >>> from jaxmem.data import Dataset
        >>> X, y = np.zeros((4, 8, 8, 1), np.float32), np.array([0, 1, 0, 1], np.int32)
        >>> data = Dataset("blank", X, y, X_test=X, y_test=y, class_names=("even", "odd"))
        >>> data.X_train.shape
        (4, 8, 8, 1)
    """

    name: str
    X_train: Float[np.ndarray, "n h w c"] = field(repr=False)
    y_train: Int[np.ndarray, " n"] = field(repr=False)
    X_test: Float[np.ndarray, "m h w c"] = field(repr=False)
    y_test: Int[np.ndarray, " m"] = field(repr=False)
    class_names: tuple[str, ...]

    def __post_init__(self):
        for part, X, y in (("train", self.X_train, self.y_train), ("test", self.X_test, self.y_test)):
            _check_images(f"X_{part}", X)
            _check_labels(f"y_{part}", y, len(X), len(self.class_names))
        if self.X_train.shape[1:] != self.X_test.shape[1:]:
            raise ValueError(
                f"X_train holds images of shape {self.X_train.shape[1:]}, X_test of {self.X_test.shape[1:]}; "
                "one network must read both: bring them to one size."
            )


def stratified_split(y: Int[np.ndarray, " n"], n_train: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Split rows in two parts of exact sizes that keep the class proportions.

    Class c gives floor(n_train * n_c / n) rows to the first part; the few rows still missing come from the
    classes with the largest remainders. Both parts are shuffled, so that any prefix is a fair small sample.

    Args:
        y: (n,) integer labels.
        n_train: rows in the first part, 0 < n_train < n.
        seed: chooses the split; the same seed gives the same split.

    Returns:
        Two disjoint int64 index arrays, (n_train,) and (n - n_train,), which together hold every row once.

    Raises:
        ValueError: when a part, or a class within a part, would be empty.

    Example:
        >>> import numpy as np
        >>> from jaxmem.data import stratified_split
        >>> y = np.repeat([0, 1], [40, 10])
        >>> train, test = stratified_split(y, n_train=25)
        >>> np.bincount(y[train])
        array([20,  5])
    """
    n = len(y)
    if not 0 < n_train < n:
        raise ValueError(f"n_train is {n_train} of {n} rows; both parts need rows: choose 1 to {n - 1}.")
    classes, counts = np.unique(y, return_counts=True)
    quota, remainder = np.divmod(counts * n_train, n)
    missing = n_train - quota.sum()
    quota[np.argsort(-remainder, kind="stable")[:missing]] += 1
    for label, count, taken in zip(classes, counts, quota, strict=True):
        if not 0 < taken < count:
            raise ValueError(
                f"class {label} has {count} rows and would give {taken} to the {n_train} training rows; "
                "each part needs one of every class: drop the class or move n_train towards the middle."
            )
    # Only NumPy's raw bit streams are promised to stay the same for ever, its shuffles are not.
    order = np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")
    in_train = np.zeros(n, bool)
    for label, taken in zip(classes, quota, strict=True):
        in_train[order[y[order] == label][:taken]] = True
    return order[in_train[order]], order[~in_train[order]]


def row_keys(key: PRNGKeyArray, n: int, first: int | Int[Array, ""] = 0) -> Key[Array, " n"]:
    """One key per row, from the row's number alone: rows `first` to `first + n - 1` of a longer array.

    Row i draws the same whether it comes alone, in a block, or with every other row.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(first + jnp.arange(n, dtype=jnp.int32))


def _check_images(name: str, X: np.ndarray) -> None:
    if X.ndim != 4 or 0 in X.shape:
        raise ValueError(
            f"{name} has shape {X.shape}; expected non-empty (n, h, w, c): grey images need a last axis of 1."
        )
    if X.dtype != np.float32:
        raise ValueError(f"{name} is {X.dtype}; expected float32: write X.astype('float32') / 255 for bytes.")
    low, high = X.min(), X.max()
    if not (low >= 0 and high <= 1):  # written so that a NaN fails as well
        raise ValueError(f"{name} has pixels from {low} to {high}; expected [0, 1]: rescale them.")


def _check_labels(name: str, y: np.ndarray, n: int, n_classes: int) -> None:
    if y.shape != (n,):
        raise ValueError(f"{name} has shape {y.shape}; expected ({n},), one label per image.")
    if y.dtype != np.int32:
        raise ValueError(f"{name} is {y.dtype}; expected int32: write y.astype('int32').")
    if y.min() < 0 or y.max() >= n_classes:
        raise ValueError(
            f"{name} runs from {y.min()} to {y.max()} with {n_classes} class names; "
            f"expected 0 to {n_classes - 1}: number the classes from 0 and name each."
        )
