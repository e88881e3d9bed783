"""Data sets prepared as TFDS's ArrayRecord files without TensorFlow: embedded, downloaded, or from a user's files.

All writing happens under a temporary name followed by a rename, which makes half-written data sets impossible to see
and lets processes race.
"""

import contextlib
import io
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

__all__ = ["DIGITS", "PREPARABLE", "how_to_prepare", "prepare", "prepared", "quiet", "root_folder"]

DIGITS = "digits"
PREPARABLE = (
    "cifar10",
    "cifar100",
    "emnist/balanced",
    "emnist/byclass",
    "emnist/bymerge",
    "emnist/digits",
    "emnist/letters",
    "emnist/mnist",
    "fashion_mnist",
    "kmnist",
    "mnist",
    "svhn_cropped",
)
_PATIENCE = 5.0  # seconds that a server may take to answer


def prepare(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, manual_dir: str | os.PathLike[str] | None = None
) -> Path:
    """Download a data set and prepare it for `load`, once; TensorFlow is not needed.

    The files equal those that TFDS prepares: same examples, order, features, version. Other programs may read them
    with `tensorflow_datasets.data_source(name, data_dir=...)`.

    Args:
        name: "mnist", "fashion_mnist", "kmnist", "emnist/balanced" (or byclass, bymerge, digits, letters, mnist),
            "cifar10", "cifar100", "svhn_cropped" or the embedded "digits". EMNIST's images lie on their side, as
            NIST published them and TFDS leaves them; the labels of "emnist/letters" start at 1.
        data_dir: where the data sets lie; None: $JAXMEM_DATA_DIR, or else ~/.cache/jaxmem.
        manual_dir: a folder with the publisher's files, by their own names, that a browser downloaded; then no
            network is used. Their checksums must be those of TFDS. Only extra_32x32.mat may be missing, and with it
            the split "extra", which `load` does not read.

    Returns:
        The folder of the prepared data set.

    Raises:
        ValueError: for an unknown name, a server that does not answer within seconds, files that `manual_dir` lacks,
            or a wrong checksum. Nothing is left behind then.

    Example:
        >>> from jaxmem.data import PREPARABLE, load, prepare
        >>> "mnist" in PREPARABLE
        True
        >>> where = prepare("mnist")  # doctest: +SKIP
        >>> mnist = load("mnist")  # doctest: +SKIP
    """
    if name not in (DIGITS, *PREPARABLE):
        raise ValueError(f"{name!r} cannot be prepared without TensorFlow; expected {DIGITS}, {', '.join(PREPARABLE)}.")
    root = root_folder(data_dir)
    return prepared(root).get(name) or _prepare(name, root, manual_dir)


def how_to_prepare(name: str, root: Path) -> str:
    """What to run for a data set of `PREPARABLE`, and what to do with the result."""
    folder = name.split("/")[0]
    return (
        f"To prepare {name!r}, run, on a machine with network (TensorFlow is not needed), "
        f"`jaxmem prepare {name}`, "
        f"and have the folder {folder} here as {root / folder}; or download the publisher's files with a browser "
        "and name their folder in manual_dir=."
    )


def root_folder(data_dir: str | os.PathLike[str] | None) -> Path:
    """Where data sets lie, unless the caller says otherwise."""
    return Path(data_dir or os.environ.get("JAXMEM_DATA_DIR") or "~/.cache/jaxmem").expanduser()


def prepared(root: Path) -> dict[str, Path]:
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


@contextlib.contextmanager
def quiet():
    """Keep TFDS's progress bars and advice off the terminal; its errors are exceptions and pass."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _prepare(name: str, root: Path, manual_dir: str | os.PathLike[str] | None) -> Path:
    """Write a data set in a hidden folder beside its place, and move it there when it is whole."""
    from jaxmem.data.builders import BUILDERS

    base, _, config = name.partition("/")
    workshop = root / f".{base}-{uuid.uuid4().hex}"
    builder = BUILDERS[base](data_dir=str(workshop), config=config or None, file_format="array_record")
    if manual_dir is not None:
        _check_files(name, builder, Path(manual_dir).expanduser())
    elif builder.urls():
        _check_network(name, builder, root)
    workshop.mkdir(parents=True)
    try:
        _run(builder, workshop, manual_dir)
        finished = Path(builder.data_dir)
        target = root / finished.relative_to(workshop)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            finished.rename(target)
        except OSError as error:  # the folder exists: another process was faster, which is as good
            if not (target / "features.json").exists():
                raise ValueError(f"{target} is in the way and holds no data set: remove it.") from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return target


def _run(builder: Any, workshop: Path, manual_dir: str | os.PathLike[str] | None) -> None:
    """Let TFDS download and write; what goes wrong with the files is said in one sentence."""
    import requests
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    # Progress is worth seeing only where megabytes come from afar.
    silence = quiet() if manual_dir is not None or not builder.urls() else contextlib.nullcontext()
    config = tfds.download.DownloadConfig(
        manual_dir=None if manual_dir is None else os.fspath(Path(manual_dir).expanduser()), try_download_gcs=False
    )
    try:
        with silence:
            builder.download_and_prepare(download_dir=str(workshop / "downloads"), download_config=config)
    except NonMatchingChecksumError as error:
        raise ValueError(
            f"{error}\nIt is not the file that the publisher of {builder.name!r} put there, or not all of it: download "
            "it again. IDX files of another origin are read with load(FOLDER)."
        ) from None
    except (tfds.download.DownloadError, requests.RequestException) as error:
        raise ValueError(f"the download of {builder.name!r} broke off: {error}. Run it again.") from None


def _check_files(name: str, builder: Any, folder: Path) -> None:
    """See to it that TFDS will not miss a file in the user's folder, for it would download it."""
    missing = {part: url for part, url in builder.urls().items() if not (folder / _file_name(url)).is_file()}
    builder.left_out = missing.keys() & getattr(builder, "optional", ())
    needed = [url for part, url in missing.items() if part not in builder.left_out]
    if needed:
        raise ValueError(
            f"{folder} lacks {', '.join(map(_file_name, needed))} for {name!r}: download from {', '.join(needed)}."
        )


def _check_network(name: str, builder: Any, root: Path) -> None:
    """Ask for the first file and let go: TFDS by itself would retry for minutes."""
    import requests

    url = next(iter(builder.urls().values()))
    try:
        # Through requests, as TFDS does, so that proxies and certificates are the same.
        with requests.get(url, stream=True, timeout=_PATIENCE) as answer:
            answer.raise_for_status()
    except requests.RequestException as error:
        files = ", ".join(map(_file_name, builder.urls().values()))
        raise ValueError(
            f"{url} cannot be reached ({error}), so {name!r} was not downloaded. {how_to_prepare(name, root)} "
            f"The files are {files}."
        ) from None


def _file_name(url: str) -> str:
    return url.rsplit("/", 1)[1]
