"""Files of arrays that are written whole or not at all, and read without running any code in them.

An archive is NumPy's .npz, a zip file whose members carry checksums, with a header of JSON in it that names them all,
for a zip file may lose a member without a trace. It is written under a name of its own, flushed to the disk and
renamed: whoever reads it, whenever the writer was killed, and however many write at once, finds one whole file, the
last that was finished. Nothing in it is pickled.
"""

import json
import os
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_archive", "why", "write_archive"]

_HEADER, _MEMBERS = "__jaxmem__", "members"


def write_archive(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write arrays by name, and a header that JSON can hold, to a file of exactly that name.

    Raises:
        OSError: it cannot be written; what was there before is there still.
        ValueError: an array of objects.
    """
    path = Path(path)
    text = np.array(json.dumps({**header, _MEMBERS: sorted(arrays)}))
    # Under a name that no other writer has, not even one on another machine; opened plainly, for a file as readable as
    # any other.
    workshop = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with open(workshop, "xb") as file:
            np.savez(file, allow_pickle=False, **{_HEADER: text}, **arrays)  # pyright: ignore[reportArgumentType]
            file.flush()
            os.fsync(file.fileno())
        workshop.replace(path)
    except BaseException:
        workshop.unlink(missing_ok=True)
        raise


def read_archive(path: str | os.PathLike[str], what: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_archive` wrote: the arrays, and the header.

    Args:
        path: the file.
        what: what it should be, for the message.

    Raises:
        OSError: there is no such file, or it cannot be opened.
        ValueError: it is no archive, or is damaged.
    """
    with open(path, "rb") as file:
        try:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no archive of arrays, or only the beginning of one")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive)
            if _HEADER not in arrays:
                raise ValueError("it is an archive that something else than jaxmem wrote")
            header = json.loads(str(arrays.pop(_HEADER)))
            if not (isinstance(header, dict) and all(isinstance(array, np.ndarray) for array in arrays.values())):
                raise ValueError("its members are no arrays")
            # The first results were saved without.
            if header.pop(_MEMBERS, sorted(arrays)) != sorted(arrays):
                raise ValueError("it has not all of its members, or more")
        except Exception as error:  # Damage may surface anywhere below, as any exception.
            raise ValueError(f"{path} is no {what}: {why(error)}.") from error
    return arrays, header


def why(error: Exception) -> str:
    """What a mistake says of itself, with its kind where that is not plain words."""
    return (str(error) if isinstance(error, (ValueError, zipfile.BadZipFile)) else repr(error)).rstrip(".")
