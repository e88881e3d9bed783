"""Data sets in files of one's own: NumPy's .npz, and IDX, the format of MNIST.

Both end as a `Dataset`: bytes become float32 in [0, 1], grey images get a channel axis, classes are numbered from 0
and keep what the file called them as their names.
"""

import gzip
import math
import os
import re
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from jaxmem.data.arrays import Dataset, stratified_split

__all__ = ["from_idx", "from_npz", "idx_files", "parse_idx"]

_TRAIN_SHARE = 0.8
_IDX_NAME = re.compile(r"(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
_IDX_RANK = {"images": 3, "labels": 1}
_IDX_PARTS = {
    (split, kind): f"{split}-{kind}-idx{rank}-ubyte" for split in ("train", "t10k") for kind, rank in _IDX_RANK.items()
}
_IDX_BYTES = 0x08


def from_npz(path: str | os.PathLike[str], seed: int = 0) -> Dataset:
    """Read a data set from an .npz archive.

    Args:
        path: holds X_train, y_train, X_test and y_test (or x_train, x_test, as in Keras), or else one pair X, y, of
            which four fifths become the training rows, classes in equal shares. Images are uint8, or floats in
            [0, 1], of shape (n, h, w) or (n, h, w, c); labels are integers or strings of shape (n,) or (n, 1). Class
            c is the c-th of the sorted values that occur in the labels, and its name is that value.
        seed: which rows of X, y are trained on.

    Raises:
        ValueError: for a file that is missing, damaged or no archive, lacks an array, holds pickled objects, images
            of another type or shape, or labels that are no classes.
    """
    path = Path(path)
    arrays, names = _read_npz(path)
    parts = ("train", "test")
    if all(f"X_{part}" in arrays and f"y_{part}" in arrays for part in parts):
        X_train, X_test = (_images(f"{path}: X_{part}", arrays[f"X_{part}"]) for part in parts)
        y_train, y_test = (_labels(f"{path}: y_{part}", arrays[f"y_{part}"], arrays[f"X_{part}"]) for part in parts)
        return _dataset(path.stem, X_train, y_train, X_test, y_test)
    if {"X", "y"} <= arrays.keys():
        X = _images(f"{path}: X", arrays["X"])
        y = _labels(f"{path}: y", arrays["y"], X)
        train, test = stratified_split(np.unique(y, return_inverse=True)[1], round(_TRAIN_SHARE * len(y)), seed)
        return _dataset(path.stem, X[train], y[train], X[test], y[test])
    raise ValueError(
        f"{path} holds the arrays {sorted(names)}; expected X_train, y_train, X_test and y_test, or X and y: "
        "write them with np.savez(path, X=X, y=y)."
    )


def from_idx(paths: Iterable[str | os.PathLike[str]], name: str) -> Dataset:
    """Read a data set from four IDX files, gzipped or not.

    Args:
        paths: hold, among others, files called train-images-idx3-ubyte, train-labels-idx1-ubyte,
            t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, with or without .gz; "test" is read like "t10k".
        name: what to call the data set.

    Raises:
        ValueError: for a part that is missing, of another type or rank, or damaged.
    """
    found = idx_files(paths)
    missing = [file for part, file in _IDX_PARTS.items() if part not in found]
    if missing:
        raise ValueError(
            f"{name!r} lacks {', '.join(missing)}; found: {sorted(path.name for path in found.values())}. "
            "A set in IDX format has four files by these names, with or without .gz."
        )
    parts = []
    for split, kind in _IDX_PARTS:
        path = found[split, kind]
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error}.") from None
        parts.append(parse_idx(raw, str(path), _IDX_RANK[kind]))
    X_train, y_train, X_test, y_test = parts
    return _dataset(
        name,
        _images("train images", X_train),
        _labels("train labels", y_train, X_train),
        _images("test images", X_test),
        _labels("test labels", y_test, X_test),
    )


def idx_files(paths: Iterable[str | os.PathLike[str]]) -> dict[tuple[str, str], Path]:
    """The IDX files among paths, by (split, kind); where a file is there twice, gzipped and not, the plain one."""
    found = {}
    # Plain names sort before their .gz, so walking backwards leaves them.
    for path in sorted(map(Path, paths), reverse=True):
        if match := _IDX_NAME.fullmatch(path.name):
            split, kind, _ = match.groups()
            found["t10k" if split == "test" else split, kind] = path
    return found


def parse_idx(raw: bytes, where: str, rank: int) -> UInt8[np.ndarray, "..."]:
    """The array of bytes in an IDX file: two zero bytes, type, rank, a big-endian uint32 per axis, then the values.

    Args:
        raw: the file's content, gzipped or not.
        where: what to call it in errors.
        rank: how many axes it must have: 3 for images, 1 for labels.

    Raises:
        ValueError: for damaged gzip, another format, type or rank, or more or fewer values than announced.
    """
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{where} is damaged gzip ({error}): download it again.") from None
    magic = bytes([0, 0, _IDX_BYTES, rank])
    if raw[:4] != magic:
        raise ValueError(
            f"{where} begins with {raw[:4].hex(' ') or 'nothing'}; expected {magic.hex(' ')}, "
            f"IDX of unsigned bytes with {rank} axes: is it another file?"
        )
    start = 4 + 4 * rank
    if len(raw) < start:
        raise ValueError(f"{where} ends within its header: download it again.")
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", rank, offset=4))
    if len(raw) - start != math.prod(shape):
        raise ValueError(
            f"{where} announces {shape}, {math.prod(shape)} values, and holds {len(raw) - start}: download it again."
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of an archive that could be meant, with Keras's x written as X, and the names of all it holds."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}; expected an .npz archive of images and labels.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            wanted = [key for key in archive.files if re.fullmatch(r"[Xxy](_train|_test)?", key)]
            return {key.replace("x", "X"): archive[key] for key in wanted}, archive.files
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read as an .npz archive of plain arrays ({error}); expected one written by np.savez: "
            "arrays of Python objects are never loaded."
        ) from None


def _images(name: str, X: np.ndarray) -> np.ndarray:
    """Images as float32 with a channel axis; ranges and shapes are then judged by `Dataset`."""
    if X.dtype != np.uint8 and not np.issubdtype(X.dtype, np.floating):
        raise ValueError(
            f"{name} is {X.dtype}; expected uint8, or floats in [0, 1]: write X.astype('uint8') for bytes."
        )
    if X.ndim == 3:
        X = X[..., None]
    if X.ndim != 4:
        raise ValueError(
            f"{name} has shape {X.shape}; expected images of shape (n, h, w) or (n, h, w, c): reshape them."
        )
    if X.shape[1] in (1, 3) and X.shape[-1] > 4:
        raise ValueError(f"{name} has shape {X.shape}; expected channels last: write X.transpose(0, 2, 3, 1).")
    return X / np.float32(255) if X.dtype == np.uint8 else X.astype(np.float32)


def _labels(name: str, y: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Labels as a vector of integers or strings, one per image."""
    if y.ndim == 2 and y.shape[1] == 1:  # as Keras has them
        y = y[:, 0]
    if y.shape != (len(X),):
        raise ValueError(
            f"{name} has shape {y.shape}; expected ({len(X)},), one label per image: "
            "write y.argmax(1) where there is a column per class."
        )
    if y.dtype.kind not in "iuU":
        raise ValueError(f"{name} is {y.dtype}; expected integers or strings: write y.astype(int) for whole numbers.")
    return y if y.dtype.kind == "U" else y.astype(np.int64)


def _dataset(
    name: str,
    X_train: Float[np.ndarray, "n ..."],
    y_train: Shaped[np.ndarray, " n"],
    X_test: Float[np.ndarray, "m ..."],
    y_test: Shaped[np.ndarray, " m"],
) -> Dataset:
    """Number the classes from 0, in the order of their values, and keep the values as their names."""
    if y_train.dtype.kind != y_test.dtype.kind:
        y_train, y_test = y_train.astype(str), y_test.astype(str)
    values, codes = np.unique(np.concatenate([y_train, y_test]), return_inverse=True)
    train, test = np.split(codes.astype(np.int32), [len(y_train)])
    return Dataset(name, X_train, train, X_test, test, tuple(map(str, values)))
