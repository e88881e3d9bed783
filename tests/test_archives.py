"""Archives: whole or not there, whatever happens while they are written; damage is seen, and no code is run."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from jaxmem import archives
from jaxmem.archives import read_archive, write_archive

ARRAYS = {"a/b": np.arange(6.0).reshape(2, 3), "names": np.array(["x", "yz"]), "none": np.zeros((0, 3), np.uint8)}
HEADER = {"kind": "test", "numbers": [1, 2.5, None]}


def test_what_was_written_is_read(tmp_path):
    write_archive(tmp_path / "file", ARRAYS, HEADER)
    arrays, header = read_archive(tmp_path / "file", "archive")
    assert header == HEADER and list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
    assert os.listdir(tmp_path) == ["file"]


def test_every_bit_of_the_arrays_is_guarded(tmp_path):
    write_archive(tmp_path / "file", {"a": np.full(64, 7.0)}, {})
    whole = (tmp_path / "file").read_bytes()
    start = whole.index(np.full(64, 7.0).tobytes())
    for place in range(start, start + 512, 37):
        (tmp_path / "file").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="is no archive"):
            read_archive(tmp_path / "file", "archive")


def test_every_truncation_is_seen(tmp_path):
    write_archive(tmp_path / "file", {"a": np.arange(3)}, {})
    whole = (tmp_path / "file").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "file").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is no archive"):
            read_archive(tmp_path / "file", "archive")


def test_what_is_no_archive_is_refused(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "headless.npz", a=np.zeros(3))
    np.savez(tmp_path / "list.npz", __jaxmem__=np.array("[1]"))
    np.savez(tmp_path / "objects.npz", __jaxmem__=np.array("{}"), a=np.array([print], object))
    with zipfile.ZipFile(tmp_path / "raw.npz", "w") as archive:
        archive.writestr("a.npy", "nonsense")
        archive.writestr("__jaxmem__.npy", json.dumps({}))
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        description = "{'descr': '<f8', 'fortran_order': False, 'shape': (9" + "0" * 15 + ",), }"
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(description).to_bytes(2, "little") + description.encode())
    names = sorted(os.listdir(tmp_path))
    assert len(names) == 6
    for name in names:
        with pytest.raises(ValueError, match=f"{name} is no archive"):
            read_archive(tmp_path / name, "archive")
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "nowhere", "archive")


def test_a_member_that_was_lost_is_missed(tmp_path):
    write_archive(tmp_path / "file", ARRAYS, HEADER)
    for change in ("lost", "added"):
        with zipfile.ZipFile(tmp_path / "file") as archive, zipfile.ZipFile(tmp_path / change, "w") as other:
            for name in archive.namelist():
                if not (change == "lost" and name == "names.npy"):
                    other.writestr(name, archive.read(name))
            if change == "added":
                other.writestr("more.npy", archive.read("names.npy"))
        with pytest.raises(ValueError, match=f"{change} is no archive.*not all of its members, or more"):
            read_archive(tmp_path / change, "archive")


def test_objects_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_archive(tmp_path / "file", {"a": np.array([print], object)}, {})
    assert os.listdir(tmp_path) == []


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    """A real limit on the size of files, in a process of its own: a full disk looks the same."""
    write_archive(tmp_path / "file", {"a": np.arange(3)}, {})
    code = (
        "import numpy as np, resource, sys; from jaxmem.archives import write_archive\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: write_archive(sys.argv[1], {'a': np.zeros(10_000)}, {})\n"
        "except OSError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "file")]
    assert "File too large" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert os.listdir(tmp_path) == ["file"]
    np.testing.assert_array_equal(read_archive(tmp_path / "file", "archive")[0]["a"], np.arange(3))


def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(archives.os, "fsync", lambda _: seen.append(sorted(os.listdir(tmp_path))))
    write_archive(tmp_path / "file", ARRAYS, HEADER)
    ((workshop,),) = seen
    assert workshop.startswith(".file-") and os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="permission bits")
def test_a_file_is_as_readable_as_any_other(tmp_path):
    write_archive(tmp_path / "file", ARRAYS, HEADER)
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode
