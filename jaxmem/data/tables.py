"""Features and labels in files: arrays of NumPy, HDF5 and Zarr, and tables, whose columns have names.

A file of several arrays is asked for one of them as FILE:NAME. In a table every column is a feature, but for those that
are named as something else. Features of .npy, HDF5 and Zarr files stay there, to be read a block at a time; all else is
read.
"""

import zipfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmem.inputs import one_of

__all__ = ["Features", "is_file", "read_features", "read_labels"]


class Features(NamedTuple):
    """Features as they stand in a file.

    Attributes:
        values: shape (n, d); a memory map, an array of HDF5 or of Zarr, or an array in memory.
        columns: the names of the features; None where they have none.
    """

    values: Any
    columns: tuple[str, ...] | None


class _File(NamedTuple):
    """What is in a file, by name, to be read when it is asked for; `table`: whether names are those of columns."""

    path: Path
    names: list[str]
    read: Callable[[str], Any]
    table: bool = False


def read_features(
    where: str,
    *,
    without: Collection[str] = (),
    drop: Iterable[str] = (),
    columns: tuple[str, ...] | None = None,
) -> Features:
    """Read one row of features per example.

    Args:
        where: a file, FILE or FILE:NAME: .npy, .npz, .csv, .tsv, .parquet, .h5, .hdf5 or .zarr.
        without: columns of a table that are no features; those that it does not have are passed over.
        drop: columns that are no features either, and that a table has to have where all of it are wanted.
        columns: the columns that are wanted, in this order; None: all of them, as they stand.

    Raises:
        ValueError: a file that is missing, damaged, or of another kind; no such array, or several; columns that are
            lacking, or no numbers.
    """
    path, name = _split(where)
    file = _open(path)
    if not file.table:
        return Features(file.read(_member(file, name, ("X", "features"))), None)
    if name is not None:
        raise ValueError(f"{path} is a table, of which all columns are read: leave out {name!r}.")
    drop = list(drop)
    for column in drop if columns is None else ():
        one_of(column, file.names, f"a column of {path} to drop")
    names = tuple(column for column in file.names if column not in (*without, *drop))
    if columns is not None:
        if lacking := [column for column in columns if column not in names]:
            raise ValueError(f"{path} lacks columns that the other features have: {_listed(lacking)}.")
        names = columns
    if not names:
        raise ValueError(f"{path} has no columns left for features: all of {_listed(file.names)} are something else.")
    values = {column: np.asarray(file.read(column)) for column in names}
    if words := [column for column, found in values.items() if found.dtype.kind not in "biuf"]:
        raise ValueError(
            f"{path} has columns that are not numbers: {_listed(words)}. Name one of them as the labels, and leave the "
            "others out with --drop."
        )
    return Features(np.stack([found.astype(float) for found in values.values()], axis=1), names)


def read_labels(where: str, beside: str, what: str = "labels") -> np.ndarray:
    """Read one label per example.

    Args:
        where: a file as for `read_features`, or the name of a column or an array in the file beside it.
        beside: the file of the features.
        what: how the caller knows these labels, for the messages.

    Returns:
        Integers or strings, shape (n,); whole numbers that were stored as floats become integers.

    Raises:
        ValueError: as `read_features`; labels that are missing in some rows, or numbers that are not whole.
    """
    path, name = _split(where) if is_file(where) else (_split(beside)[0], where)
    file = _open(path)
    kinds = ", ".join(_READERS)
    found = is_file(where) or not Path(where).expanduser().is_file()
    no_file = f"there is no file {where}" if found else f"the file {where} is of no kind that is read"
    if not is_file(where) and file.names == [""]:
        raise ValueError(
            f"{what} in {path} cannot be {where!r}, for that file is one array without a name; and {no_file}. Give a "
            f"file of them: {kinds}."
        )
    try:
        member = _member(file, name, ("y", "labels"), what)
    except ValueError as error:
        raise ValueError(f"{error} Or name a file of them." if found else f"{error} And {no_file}: {kinds}.") from error
    values = np.asarray(file.read(member))
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(f"{what}: {path} holds an array of shape {values.shape}, expected one a row, shape (n,).")
    if values.dtype == object:
        missing = np.array([value is None or value != value for value in values.ravel()])
        if missing.any():
            raise ValueError(f"{what}: missing in {missing.sum()} of {len(missing)} rows of {path}: drop these rows.")
        values = np.array([value.decode() if isinstance(value, bytes) else str(value) for value in values.ravel()])
    if values.dtype.kind == "f":
        if np.isnan(values).any():
            raise ValueError(f"{what}: missing in {np.isnan(values).sum()} of {len(values)} rows of {path}: drop them.")
        if not (np.isfinite(values) & (values == np.round(values))).all():
            remedy = " Group a continuous target into classes." if "labels" in what else ""
            raise ValueError(
                f"{what}: {path} has numbers that are not whole, but whole numbers or words are expected.{remedy}"
            )
        values = values.astype(np.int64)
    return values


def is_file(where: str) -> bool:
    """Whether labels are a file, FILE or FILE:NAME, and no column or array in the file beside them."""
    return _is_kind_that_is_read(_split(where)[0])


def _split(where: str) -> tuple[Path, str | None]:
    """FILE:NAME in its parts; NAME is None where there is none."""
    head, _, tail = where.rpartition(":")
    if head and not _is_kind_that_is_read(Path(where)) and _is_kind_that_is_read(Path(head)):
        return Path(head).expanduser(), tail
    return Path(where).expanduser(), None


def _is_kind_that_is_read(path: Path) -> bool:
    return path.suffix.lower() in _READERS


def _open(path: Path) -> _File:
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise ValueError(f"{path} is of no kind that is read: expected {', '.join(_READERS)}.")
    if not path.exists():
        raise ValueError(f"there is no file {path}.")
    try:
        return _READERS[suffix](path)
    except ImportError as error:
        raise ValueError(f"{path}: reading {suffix} takes a package more: pip install 'jaxmem[files]'.") from error
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        why = " ".join(str(error).split())[:200].rstrip(".")
        if "object" in why.lower():
            why += ". Objects of Python may run code and are not read: save numbers, or strings as array.astype(str)"
        raise ValueError(f"{path} cannot be read as {suffix}: {why}.") from error


def _member(file: _File, name: str | None, usual: Iterable[str], what: str = "the array") -> str:
    """Which of the names in a file is meant."""
    if name is not None and file.names == [""]:
        raise ValueError(
            f"{what} in {file.path} cannot be {name!r}, for that file is one array without a name: write {file.path} "
            "alone."
        )
    if name is not None:
        return one_of(name, file.names, f"{what} in {file.path}")
    if len(file.names) == 1:
        return file.names[0]
    for candidate in usual:
        if candidate in file.names:
            return candidate
    raise ValueError(f"{file.path} holds {_listed(file.names)}: say which is meant as {what}, {file.path}:NAME.")


def _listed(names: Iterable[str]) -> str:
    names = [repr(str(name)) for name in names]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _npy(path: Path) -> _File:
    array = np.lib.format.open_memmap(path, mode="r")
    return _File(path, [""], lambda _: array)


def _npz(path: Path) -> _File:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is not a zip archive, as np.savez writes them")
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    return _File(path, list(arrays), arrays.__getitem__)


def _hdf5(path: Path) -> _File:
    import h5py

    names: list[str] = []
    file = h5py.File(path)  # Open as long as one of its arrays is held.
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return _File(path, names, file.__getitem__)


def _zarr(path: Path) -> _File:
    import zarr

    found = zarr.open(path, mode="r")
    if isinstance(found, zarr.Array):
        return _File(path, [""], lambda _: found)
    arrays = dict(found.arrays())
    return _File(path, list(arrays), arrays.__getitem__)


def _table(frame: Any, path: Path) -> _File:
    if frame.empty:
        raise ValueError("it has no rows")
    names = [str(column) for column in frame.columns]
    if several := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"several columns are called {_listed(several)}: give each a name of its own")
    frame.columns = names
    return _File(path, names, lambda name: frame[name].to_numpy(), table=True)


def _csv(path: Path) -> _File:
    import pandas

    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    first = pandas.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0]
    if len(first) == 1 and any(other in str(first.iloc[0]) for other in ";\t"):
        raise ValueError(
            f"{first.iloc[0]!r} is one column: columns of .csv are separated by commas and those of .tsv by tabs, and "
            "numbers have a decimal point"
        )
    numbers = all(_is_number(value) for value in first)  # A table without a head: columns are called 0, 1, ...
    if not numbers and first.isna().any():
        raise ValueError(
            f"column {int(first.isna().argmax())}, counted from 0, has no name. An index, say, is no feature: name it "
            "and leave it out, or write the table without, DataFrame.to_csv(..., index=False)"
        )
    frame = pandas.read_csv(path, sep=separator, header=None if numbers else 0)
    if not numbers:
        frame.columns = first.tolist()  # pandas gives columns of one name others in silence.
    return _table(frame, path)


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet(path: Path) -> _File:
    import pandas

    return _table(pandas.read_parquet(path), path)


_READERS: dict[str, Callable[[Path], _File]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".zarr": _zarr,
}
