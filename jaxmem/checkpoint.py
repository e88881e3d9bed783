"""Tests that go on where they were killed: a file that holds what is known of the permutations so far.

Permutation b depends on the key and on b alone, and so does its score, given the features. So a test that goes on
behind the last permutation in the file ends with the null of one that was never interrupted; on the same devices and
with batches of the same size to the last bit, else up to rounding.

A file is whole at any moment (`jaxmem.archives`), whoever is killed and however many write to it. Two runs of the same
call write the same numbers, and the one that is ahead keeps the file; a run of another test leaves it alone.

It carries a fingerprint of all that decides the numbers: features, labels, designs, classifier, metric, permutations,
precision, and the kind of device and the versions of jaxmem and JAX, for the observed score must come out of the same
kernel as the null. How many permutations are asked for is not part of it, nor the rule that stops them: more of them
are the same ones and some, but where they are every labelling once. Nor is the batch size, which only rounds
differently, nor the number of processes.
"""

import os
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxmem.archives import read_archive, write_archive
from jaxmem.devices import agreed, by_all, leads, several_processes, wait_for_all
from jaxmem.digests import digest
from jaxmem.inputs import as_path
from jaxmem.notices import note, warn
from jaxmem.tally import Done, Tally

__all__ = ["Checkpoint", "KeptTally", "fingerprint"]

FORMAT = 1

# Between two saves a test works so many times as long as the last one took: saving takes 1% of the time.
_WORK_PER_SAVE = 100


def fingerprint(**parts: Any) -> dict[str, str]:
    """What makes a run this one, by name: a digest of each part, and of the versions of what computes it."""
    versions = [version(package) for package in ("jaxmem", "jax", "jaxlib")]
    # JAX draws other numbers from the same key where this is off.
    generator = bool(jax.config.jax_threefry_partitionable)  # pyright: ignore[reportAttributeAccessIssue]
    return {name: digest(part) for name, part in {**parts, "versions": versions, "generator": generator}.items()}


class Checkpoint:
    """The file of one test.

    Args:
        path: where it is; folders are made if need be.
        run: the `fingerprint` of the test.
        names: the names of the validations.

    Raises:
        ValueError: no path.
    """

    def __init__(self, path: str | os.PathLike[str], run: Mapping[str, str], names: Sequence[Any]) -> None:
        self.path = as_path(path, "checkpoint")
        self._given = str(path)
        self._run, self._names = dict(run), list(names)
        self._saved = 0
        self._next_save = 0.0
        self._seen: Any = None
        self._fails = False

    def load(self, total: int) -> Done | None:
        """What the file knows; None where there is none.

        None, too, where it holds random permutations but so many are wanted now that they are every labelling once: the
        file is then begun anew.

        Args:
            total: how many permutations are wanted, the observed one included.

        Raises:
            ValueError: the path is that of a folder, or lies in a file; or the file is of another run, of another
                format, damaged, or no checkpoint, and is left as it is.
        """
        if self.path.is_dir():
            raise ValueError(
                f"checkpoint must be the path of a file, but {self._given!r} is a folder: add a name to it."
            )
        above = next((folder for folder in self.path.parents if folder.exists()), None)
        if above is not None and not above.is_dir():
            raise ValueError(
                f"checkpoint {self._given!r} would lie in {above}, which is no folder: name another place."
            )
        self._seen = self._stamp()
        try:
            arrays, header = read_archive(self.path, _WHAT)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{error} It was left as it is. {_REMEDY}") from error
        if "checkpoint" not in header:
            raise ValueError(f"{self.path} is no {_WHAT}. It was left as it is. {_REMEDY}")
        if header["checkpoint"] != FORMAT:
            raise ValueError(
                f"The checkpoint {self.path} has format {header['checkpoint']}, but this jaxmem reads {FORMAT}. It was "
                f"left as it is, for the version of jaxmem that began it. {_REMEDY}"
            )
        try:
            run = dict(header["run"])
            others = sorted(name for name in {**run, **self._run} if run.get(name) != self._run.get(name))
            # How many validations there are, say, is the run's own.
            done = None if others else _unpacked(header["n_labellings"], arrays, self._names)
        except Exception as error:
            raise ValueError(
                f"The checkpoint {self.path} is damaged: {error!r}. It was left as it is. {_REMEDY}"
            ) from error
        if others == ["enumeration"] and self._run["enumeration"] == digest(True):
            return None
        if done is None:
            raise ValueError(
                f"The checkpoint {self.path} is of another test: it differs in {', '.join(others)} (features do, too, "
                "where rows are shared out in other parts). It was left as it is, for the call that made it. "
                f"{_REMEDY}"
            )
        if done.n_labellings > total:
            raise ValueError(
                f"The checkpoint {self.path} has {done.n_labellings - 1} permutations already, but n_permutations is "
                f"{total - 1}: ask for as many or more, or name another file."
            )
        self._saved = done.n_labellings
        note(__name__, "resumed", "{labellings} labellings are in {path} already", **self._facts())
        return done

    def save(self, done: Done, *, last: bool = False) -> bool:
        """Save if it is time to, or for the last time; whether all that is done is in the file.

        Where that fails, for lack of space or of memory say, a warning says so, and the file stays as it was.
        """
        if done.n_labellings > self._saved and (last or time.monotonic() >= self._next_save):
            start = time.monotonic()
            try:
                self._write(done)
                self._fails = False
            except (OSError, ValueError, MemoryError) as error:
                if not self._fails:
                    warn(
                        f"The checkpoint {self.path} cannot be written: {str(error) or 'out of memory'}. The test goes "
                        "on in memory and will try again; what is not saved when it is killed will have to be computed "
                        "again."
                    )
                self._fails = True
            now = time.monotonic()
            self._next_save = now + _WORK_PER_SAVE * (now - start)
        return done.n_labellings <= self._saved

    def _write(self, done: Done) -> None:
        if self._stamp() not in (None, self._seen):  # Another run has written to it.
            _, header = read_archive(self.path, _WHAT)
            if header.get("run") != self._run:
                raise ValueError("another test has written to it")
            self._saved, self._seen = header["n_labellings"], self._stamp()
        if done.n_labellings > self._saved:  # Of two runs, the one that is ahead keeps the file.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            header = {"checkpoint": FORMAT, "n_labellings": done.n_labellings, "run": self._run}
            write_archive(self.path, _packed(done, self._names), header)
            self._saved, self._seen = done.n_labellings, self._stamp()
            note(__name__, "saved", "{labellings} labellings are saved in {path}", debug=True, **self._facts())

    def _facts(self) -> dict[str, Any]:
        return {"labellings": self._saved, "path": str(self.path)}

    def _stamp(self) -> tuple[int, int] | None:
        """What changes whenever anybody writes to the file."""
        try:
            state = os.stat(self.path)
        except FileNotFoundError:
            return None
        return state.st_ino, state.st_mtime_ns


class KeptTally:
    """A tally that goes on from what is in a file, and is saved to it as it grows; without a file, a tally.

    Of several processes all go on from the same, and the one of the first device writes.

    Args:
        total: as of `Tally`.
        done: what is known already; where the file knows more, that is taken.
        file: of the test, if it has one.
        mesh: the devices.

    Raises:
        ValueError: as from `Checkpoint.load`, in any of the processes, or they do not find the same.
    """

    def __init__(self, total: int, done: Done | None, file: Checkpoint | None, mesh: Mesh | None) -> None:
        self._mesh, self._file = mesh, file
        if file is not None:
            kept = by_all(lambda: file.load(total), mesh)
            found = 0 if kept is None else kept.n_labellings
            if mesh is not None and several_processes(mesh) and not agreed(found, mesh):
                raise ValueError(
                    f"The processes do not find the same in the checkpoint {file.path}: process {jax.process_index()} "
                    f"finds {found} labellings. All have to see the file that one of them writes: name a folder that "
                    "they share."
                )
            if done is None or found > done.n_labellings:
                done = kept
        self._tally = Tally(total, done)

    @property
    def done(self) -> Done:
        """What is known by now, as in `Tally`."""
        return self._tally.done

    def add(self, start: int, batch: Done) -> None:
        """Add a batch, as `Tally.add`, and save it if it is time to."""
        self._tally.add(start, batch)
        self._save()

    @contextmanager
    def kept(self) -> Generator[None]:
        """Save what there is when the work in this context ends, in whatever way; after a good end, wait for all."""
        try:
            yield
        except BaseException as error:
            if self._save(last=True) and self.done.n_labellings > 1:
                assert self._file is not None
                error.add_note(
                    f"{self.done.n_labellings - 1} permutations are in {self._file.path}: the same call goes on from "
                    "there."
                )
            raise
        self._save(last=True)
        if self._file is not None:
            wait_for_all(self._mesh)  # Or one reads the file again before the last save is in it.

    def _save(self, *, last: bool = False) -> bool:
        return self._file is not None and leads(self._mesh) and self._file.save(self.done, last=last)


_WHAT = "checkpoint of a permutation test"
_REMEDY = "Remove it to begin anew, or name another file."


def _packed(done: Done, names: Sequence[Any]) -> dict[str, np.ndarray]:
    """All arrays by name; validations by their number, for their names may be anything."""
    number = {name: position for position, name in enumerate(names)}
    arrays = {
        f"scores/{number[name]}/{kind}": values for name, kinds in done.scores.items() for kind, values in kinds.items()
    }
    arrays |= {f"recovered/{number[name]}": counts for name, counts in done.recovered.items()}
    return arrays | {f"diagnostics/{name}": values for name, values in done.diagnostics.items()}


def _unpacked(n: int, arrays: Mapping[str, np.ndarray], names: Sequence[Any]) -> Done:
    """What was packed, checked: anything may stand in a file."""
    if type(n) is not int or n < 1:
        raise ValueError(f"it is of {n!r} labellings")
    by_number = {str(number): name for number, name in enumerate(names)}
    done = Done(n, {}, {}, {})
    kinds = {"converged": "b"}  # Of which it is told how many are not.
    for name, array in arrays.items():
        what, _, rest = name.partition("/")
        number, _, kind = rest.partition("/")
        if what == "scores" and kind in ("paired", "broken") and array.shape[:1] == (n,) and array.dtype == float:
            done.scores.setdefault(by_number[number], {})[kind] = array
        elif what == "recovered" and array.ndim == 1 and array.dtype.kind == "i":
            done.recovered[by_number[rest]] = array
        elif what == "diagnostics" and array.shape == (n,) and array.dtype.kind in kinds.get(rest, "bif"):
            done.diagnostics[rest] = array
        else:
            raise ValueError(f"{name} has shape {array.shape} and dtype {array.dtype}")
    if not all("paired" in done.scores.get(name, {}) for name in names):
        raise ValueError(f"it has the scores of {len(done.scores)} of {len(names)} validations")
    return done
