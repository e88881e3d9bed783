"""The true builders, fed by a loopback server with tiny files in the publishers' formats, beside upstream's own."""

import gzip
import hashlib
import http.server
import importlib
import io
import socket
import struct
import sys
import tarfile
import threading
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.hashing import Hasher
from tensorflow_datasets.image_classification import cifar
from tensorflow_datasets.image_classification import mnist as upstream_mnist

import jaxmem.data as data
from jaxmem.data import builders, preparing

SVHN = importlib.import_module("tensorflow_datasets.datasets.svhn_cropped.svhn_cropped_dataset_builder")
N_TRAIN, N_TEST = 20, 10
CASES = ["mnist", "fashion_mnist", "kmnist", "emnist/letters", "cifar10", "cifar100", "svhn_cropped"]
EMNIST_CONFIG = upstream_mnist.EMNISTConfig(
    name="letters", class_number=37, train_examples=N_TRAIN, test_examples=N_TEST
)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.tobytes())


def archive(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def publish(name):
    """What the publisher offers, by file name: random pixels and labels in its format."""
    rng = np.random.default_rng(len(name))

    def pixels(*shape):
        return rng.integers(0, 256, shape, dtype=np.uint8)

    def labels(n, first=0, stop=10):
        return rng.integers(first, stop, n, dtype=np.uint8)

    def four(extra=0, test="t10k", first=0, stop=10):
        for split, n in (("train", N_TRAIN + extra), (test, N_TEST + extra)):
            yield f"{split}-images-idx3-ubyte.gz", idx(pixels(n, 28, 28))
            yield f"{split}-labels-idx1-ubyte.gz", idx(labels(n, first, stop))

    def rows(n, *classes):
        return np.hstack([*(labels((n, 1), 0, stop) for stop in classes), pixels(n, 3072)]).tobytes()

    if name.startswith("emnist"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as zipped:  # with rows to spare, as in the true letters
            for member, content in four(extra=3, test="test", first=1, stop=27):
                zipped.writestr(f"gzip/emnist-letters-{member}", content)
        return {"gzip.zip": file.getvalue()}
    if name == "cifar10":
        names = "\n".join(f"kind {label}" for label in range(10)) + "\n\n"
        # Out of order, as in the true archive.
        members = {f"data_batch_{batch}.bin": rows(N_TRAIN // 5, 10) for batch in (1, 5, 2, 4, 3)}
        members = {"batches.meta.txt": names.encode(), **members, "test_batch.bin": rows(N_TEST, 10)}
        return {"cifar-10-binary.tar.gz": archive({f"cifar-10-batches-bin/{m}": c for m, c in members.items()})}
    if name == "cifar100":
        members = {
            "coarse_label_names.txt": "\n".join(f"coarse {label}" for label in range(20)).encode(),
            "fine_label_names.txt": "\n".join(f"fine {label}" for label in range(100)).encode(),
            "train.bin": rows(N_TRAIN, 20, 100),
            "test.bin": rows(N_TEST, 20, 100),
        }
        return {"cifar-100-binary.tar.gz": archive({f"cifar-100-binary/{m}": c for m, c in members.items()})}
    if name == "svhn_cropped":
        published = {}
        for split, n in (("train", N_TRAIN), ("test", N_TEST), ("extra", 6)):
            file = io.BytesIO()
            y = np.arange(n, dtype=np.uint8)[:, None] % 10 + 1
            scipy.io.savemat(file, {"X": pixels(32, 32, 3, n), "y": y}, do_compression=True)
            published[f"{split}_32x32.mat"] = file.getvalue()
        return published
    return dict(four())


class Publisher:
    """A server on this machine alone that counts what it is asked for."""

    def __init__(self):
        self.files, self.asked, self.status, self.cut = {}, [], 200, False
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rsplit("/", 1)[1]
                publisher.asked.append(name)
                content = publisher.files.get(name)
                self.send_response(publisher.status if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                if self.command == "GET" and content is not None:
                    self.wfile.write(content[: len(content) // 2] if publisher.cut else content)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/set/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def publisher(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    publisher = Publisher()
    yield publisher
    publisher.close()


@pytest.fixture
def offline(monkeypatch):
    """The address of a port on which nobody listens, and a TFDS that must not try the network."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    def refuse(*args, **kwargs):
        raise AssertionError("TFDS tried to download")

    monkeypatch.setattr(downloader._Downloader, "download", refuse)
    return f"http://127.0.0.1:{port}/set/"


def move(monkeypatch, name, files, url):
    """Let a builder of jaxmem find `files` under `url`, with their checksums; everything else is as it is."""
    base = name.split("/")[0]
    original = builders.BUILDERS[base]
    infos = {
        url + file: UrlInfo(tfds.core.utils.Size(len(content)), hashlib.sha256(content).hexdigest(), file)
        for file, content in files.items()
    }
    changes = {"name": base, "URL": url, "url_infos": infos}
    if base == "emnist":
        changes |= {"URL": url + "gzip.zip", "BUILDER_CONFIGS": [EMNIST_CONFIG]}
    if base.startswith("cifar"):
        info = original._cifar_info.fget(types.SimpleNamespace(name=base))
        changes["_cifar_info"] = info._replace(url=url + next(iter(files)))
    moved = types.new_class("Moved", (original,), {"skip_registration": True}, lambda body: body.update(changes))
    monkeypatch.setitem(builders.BUILDERS, base, moved)


class Extracting:
    """What upstream asks of a download manager, without TensorFlow."""

    def __init__(self, files, folder):
        self.files, self.folder = files, folder

    def download(self, urls):
        return self._each(self._download, urls)

    def extract(self, paths):
        return self._each(self._extract, paths)

    def download_and_extract(self, urls):
        return self.extract(self.download(urls))

    def _each(self, function, one_or_many):
        if isinstance(one_or_many, dict):
            return {key: function(one) for key, one in one_or_many.items()}
        return function(one_or_many)

    def _download(self, url):
        path = self.folder / url.rsplit("/", 1)[1]
        path.write_bytes(self.files[path.name])
        return path

    def _extract(self, path):
        path = Path(path)
        target = path.with_suffix(".out")
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as tar:
                tar.extractall(target, filter="data")
        elif path.suffix == ".zip":
            zipfile.ZipFile(path).extractall(target)
        else:
            target.write_bytes(gzip.decompress(path.read_bytes()))
        return target


def upstream_examples(monkeypatch, name, files, folder):
    """Features and, by split, the examples in the order in which TFDS writes them, by upstream's own code."""
    opening = types.SimpleNamespace(io=types.SimpleNamespace(gfile=types.SimpleNamespace(GFile=open)))
    for module in (upstream_mnist, cifar, SVHN):
        monkeypatch.setattr(module, "tf", opening)
    monkeypatch.setattr(upstream_mnist, "_TRAIN_EXAMPLES", N_TRAIN)
    monkeypatch.setattr(upstream_mnist, "_TEST_EXAMPLES", N_TEST)
    builder_class = tfds.builder_cls(name.split("/")[0])
    if name.startswith("emnist"):
        changes = {"name": "emnist", "BUILDER_CONFIGS": [EMNIST_CONFIG]}
        builder_class = types.new_class(
            "Short", (builder_class,), {"skip_registration": True}, lambda body: body.update(changes)
        )
    builder = builder_class(data_dir=str(folder))
    splits = builder._split_generators(Extracting(files, folder))
    if isinstance(splits, list):
        splits = {split.name: builder._generate_examples(**split.gen_kwargs) for split in splits}
    ordered = {}
    for split, examples in splits.items():
        hasher = Hasher(str(split))
        ordered[str(split)] = [record for _, record in sorted(examples, key=lambda pair: hasher.hash_key(pair[0]))]
    return builder, ordered


@pytest.mark.parametrize("name", CASES)
def test_what_is_downloaded_and_prepared_equals_upstreams(name, publisher, monkeypatch, tmp_path):
    publisher.files = publish(name)
    move(monkeypatch, name, publisher.files, publisher.url)
    root, own = tmp_path / "root", tmp_path / "own"
    own.mkdir()
    folder = data.prepare(name, data_dir=root)
    upstream, expected = upstream_examples(monkeypatch, name, publisher.files, own)

    assert folder == root / name / str(upstream.version)
    assert data.names(root) == tuple(sorted(("digits", name)))
    assert not [path for path in root.iterdir() if path.name.startswith(".") or path.name == "downloads"]
    builder = tfds.builder_from_directory(folder)
    assert builder.info.features.to_json() == upstream.info.features.to_json()
    assert {split: len(expected[split]) for split in expected} == {
        split: info.num_examples for split, info in builder.info.splits.items()
    }
    for split, records in expected.items():  # as TFDS reads it, every feature of every example
        for got, want in zip(builder.as_data_source(split), records, strict=True):
            assert got.keys() == want.keys()
            np.testing.assert_array_equal(got["image"], want["image"])
            for key in got.keys() - {"image"}:
                value = got[key].decode() if isinstance(got[key], bytes) else got[key]
                assert value == want[key]

    loaded = data.load(name, data_dir=root)
    for X, y, split in ((loaded.X_train, loaded.y_train, "train"), (loaded.X_test, loaded.y_test, "test")):
        np.testing.assert_array_equal(X, np.stack([record["image"] for record in expected[split]]) / np.float32(255))
        np.testing.assert_array_equal(y, [record["label"] for record in expected[split]])
    assert loaded.class_names == tuple(upstream.info.features["label"].names)
    assert "tensorflow" not in sys.modules


def test_upstreams_name_finds_what_was_prepared(publisher, monkeypatch, tmp_path):
    publisher.files = publish("mnist")
    move(monkeypatch, "mnist", publisher.files, publisher.url)
    data.prepare("mnist", data_dir=tmp_path)
    source = tfds.data_source("mnist", split="test", data_dir=tmp_path)
    np.testing.assert_array_equal([record["label"] for record in source], data.load("mnist", data_dir=tmp_path).y_test)


def test_a_pixel_and_a_label_by_hand(publisher, monkeypatch, tmp_path):
    """Row 1 of CIFAR's first file: red at row 2, column 3 is byte 1 + 2 * 32 + 3 of the second row."""
    publisher.files = publish("cifar10")
    move(monkeypatch, "cifar10", publisher.files, publisher.url)
    data.prepare("cifar10", data_dir=tmp_path)
    with tarfile.open(fileobj=io.BytesIO(publisher.files["cifar-10-binary.tar.gz"])) as tar:
        raw = tar.extractfile("cifar-10-batches-bin/data_batch_1.bin").read()
    (row,) = (r for r in tfds.data_source("cifar10", split="train", data_dir=tmp_path) if r["id"] == b"train_00001")
    assert row["label"] == raw[3073]
    assert row["image"][2, 3].tolist() == [raw[3073 + 1 + plane * 1024 + 2 * 32 + 3] for plane in range(3)]


def test_the_names_offered_are_those_of_the_builders():
    offered = {"digits"}
    for name, builder in builders.BUILDERS.items():
        offered |= {f"{name}/{config.name}" for config in builder.BUILDER_CONFIGS} or {name}
    assert offered == {"digits", *preparing.PREPARABLE}


@pytest.mark.parametrize("name", [name for name in preparing.PREPARABLE if name.count("/") == 0] + ["emnist/letters"])
def test_addresses_and_checksums_are_upstreams(name, tmp_path):
    base, _, config = name.partition("/")
    mine = builders.BUILDERS[base](data_dir=str(tmp_path), config=config or None)
    upstream = tfds.builder(name, data_dir=str(tmp_path))
    known = tfds.core.download.checksums.get_all_url_infos() | (mine.url_infos or {})
    assert set(mine.urls().values()) == set(upstream.url_infos)
    assert {url: known[url] for url in upstream.url_infos} == upstream.url_infos
    assert {url.rsplit("/", 1)[1] for url in upstream.url_infos} == {i.filename for i in upstream.url_infos.values()}
    assert (mine.name, mine.version) == (upstream.name, upstream.version)


def test_what_is_prepared_is_not_prepared_again(publisher, monkeypatch, tmp_path):
    publisher.files = publish("mnist")
    move(monkeypatch, "mnist", publisher.files, publisher.url)
    first = data.prepare("mnist", data_dir=tmp_path)
    n_asked = len(publisher.asked)
    assert data.prepare("mnist", data_dir=tmp_path) == first
    assert len(publisher.asked) == n_asked == 5  # each of four files, and the question whether there is a network


def test_without_network_it_says_at_once_what_to_do(offline, monkeypatch, tmp_path):
    move(monkeypatch, "mnist", publish("mnist"), offline)
    with pytest.raises(ValueError, match="cannot be reached") as refused:
        data.prepare("mnist", data_dir=tmp_path / "root")
    for words in (
        "on a machine with network",
        "jaxmem prepare mnist",
        str(tmp_path / "root" / "mnist"),
        "manual_dir=",
        "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz",
    ):
        assert words in str(refused.value)
    assert not (tmp_path / "root").exists()


def test_a_server_that_says_nothing_is_not_waited_for(offline, monkeypatch, tmp_path):
    monkeypatch.setattr(preparing, "_PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        move(monkeypatch, "kmnist", publish("kmnist"), f"http://127.0.0.1:{mute.getsockname()[1]}/")
        with pytest.raises(ValueError, match=r"cannot be reached \(.*timed out"):
            data.prepare("kmnist", data_dir=tmp_path)


@pytest.mark.parametrize("status", [404, 503])
def test_a_server_that_refuses_is_quoted(publisher, monkeypatch, tmp_path, status):
    files = publish("cifar10")
    publisher.files, publisher.status = files if status == 503 else {}, status
    move(monkeypatch, "cifar10", files, publisher.url)
    with pytest.raises(ValueError, match=f"cannot be reached \\({status}"):
        data.prepare("cifar10", data_dir=tmp_path)
    assert len(publisher.asked) == 1 and not list(tmp_path.iterdir())


def test_a_file_that_is_gone_or_breaks_off_is_named_and_nothing_is_left(publisher, monkeypatch, tmp_path):
    files = publish("mnist")
    move(monkeypatch, "mnist", files, publisher.url)
    publisher.files = {name: content for name, content in files.items() if "t10k-labels" not in name}
    with pytest.raises(ValueError, match=r"'mnist' broke off: .*t10k-labels-idx1-ubyte.gz. HTTP code: 404"):
        data.prepare("mnist", data_dir=tmp_path)
    publisher.files, publisher.cut = files, True
    with pytest.raises(ValueError, match=r"'mnist' broke off: .*Run it again"):
        data.prepare("mnist", data_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_file_under_the_same_name_is_refused(publisher, monkeypatch, tmp_path):
    move(monkeypatch, "mnist", publish("mnist"), publisher.url)
    publisher.files = publish("fashion_mnist")
    with pytest.raises(ValueError, match="wrong checksum"):
        data.prepare("mnist", data_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def save(files, folder):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", ["kmnist", "emnist/letters", "cifar100"])
def test_files_that_the_user_has_need_no_network(name, offline, monkeypatch, tmp_path, capfd):
    files = publish(name)
    move(monkeypatch, name, files, offline)
    manual = save(files, tmp_path / "manual")
    with pytest.raises(ValueError, match="is not prepared"):
        data.load(name, data_dir=tmp_path / "root")
    capfd.readouterr()
    first = data.load(name, data_dir=tmp_path / "root", manual_dir=manual)
    assert capfd.readouterr() == ("", "")
    again = data.load(name, data_dir=tmp_path / "root")
    np.testing.assert_array_equal(first.X_train, again.X_train)
    assert len(first.X_train) == N_TRAIN and len(first.X_test) == N_TEST
    assert sorted(path.name for path in manual.iterdir()) == sorted(files)
    assert [path.name for path in (tmp_path / "root").iterdir()] == [name.split("/")[0]]


def test_a_file_that_the_user_lacks_is_named_with_its_address(offline, monkeypatch, tmp_path):
    files = publish("mnist")
    move(monkeypatch, "mnist", files, offline)
    del files["t10k-labels-idx1-ubyte.gz"]
    manual = save(files, tmp_path / "manual")
    with pytest.raises(ValueError, match=f"lacks t10k-labels-idx1-ubyte.gz for 'mnist': download from {offline}t10k"):
        data.prepare("mnist", data_dir=tmp_path / "root", manual_dir=manual)
    with pytest.raises(ValueError, match=r"lacks train-images-idx3-ubyte.gz, train-labels"):
        data.load("mnist", data_dir=tmp_path / "root", manual_dir=tmp_path / "nowhere")


def test_a_file_of_the_user_that_is_damaged_is_refused(offline, monkeypatch, tmp_path):
    files = publish("mnist")
    move(monkeypatch, "mnist", files, offline)
    manual = save(files | {"train-labels-idx1-ubyte.gz": b"half"}, tmp_path / "manual")
    with pytest.raises(ValueError, match="wrong checksum"):
        data.load("mnist", data_dir=tmp_path / "root", manual_dir=manual)
    assert not list((tmp_path / "root").iterdir())


def test_the_user_may_do_without_the_extra_house_numbers(offline, monkeypatch, tmp_path):
    files = publish("svhn_cropped")
    move(monkeypatch, "svhn_cropped", files, offline)
    del files["extra_32x32.mat"]
    manual = save(files, tmp_path / "manual")
    house_numbers = data.load("svhn_cropped", data_dir=tmp_path / "root", manual_dir=manual)
    assert sorted(house_numbers.y_test.tolist()) == list(range(10))
    (manual / "test_32x32.mat").unlink()
    with pytest.raises(ValueError, match=r"lacks test_32x32.mat for"):
        data.prepare("svhn_cropped", data_dir=tmp_path / "elsewhere", manual_dir=manual)


@pytest.mark.parametrize("name", ["emnist", "emnist/capitals", "imagenette", "", "../mnist"])
def test_what_cannot_be_prepared_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"cannot be prepared without TensorFlow; expected digits, cifar10,.*svhn"):
        data.prepare(name, data_dir=tmp_path)
