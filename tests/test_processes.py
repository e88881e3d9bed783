"""One test by several processes: each has rows of its own, all get the same result, and one of them writes."""

import json
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import blobs

import jaxmem as jm
from jaxmem.batches import in_batches
from jaxmem.devices import agreed, by_all, leads, mesh_of, several_processes

X, y, X_val = (part.astype(np.float32) if part.ndim == 2 else part for part in blobs(80, 4, 3, separation=0.5))
ONE = jax.devices()[:1]

_PROCESS = """
import json, os, signal, sys, time
from pathlib import Path
import jax, numpy as np, jaxmem as jm
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec
from jaxmem import checkpoint, passes

folder, address, n_processes, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
jax.distributed.initialize(address, n_processes, number)
every = jax.devices()
rows = jax.make_mesh((1, len(every)), ("permutations", "rows"))
both = jax.make_mesh((2, len(every) // 2), ("permutations", "rows"))
y = np.load(folder / "y.npy")
n, d = 80, 4
found, wrote = {"devices": len(every)}, []

# Half of the rows, or a quarter of them: those of this process. There are no others here.
size = n // n_processes
own = slice(number * size, (number + 1) * size)
mine = {name: np.load(folder / f"{name}-{number}.npy") for name in ("X", "X_val")}

class Own:
    def __init__(self, rows):
        self.rows, self.shape, self.dtype = rows, (n, rows.shape[1]), rows.dtype
    def __getitem__(self, asked):
        assert own.start <= asked.start <= asked.stop <= own.stop, "rows of another process"
        return self.rows[asked.start - own.start : asked.stop - own.start]

class Gone(Own):
    def __getitem__(self, asked):
        if number == 1:
            raise OSError("the disk is gone")
        return super().__getitem__(asked)

def test(X, validation, classifier=jm.Ridge(), **options):
    options = {"y": y, "devices": rows, "n_permutations": 199, "progress": False} | options
    return jm.permutation_test(classifier, X, validation=validation, **options)

def keep(name, test):
    examples = None if test.example_scores is None else test.example_scores.tolist()
    found[name] = [test.statistic, test.null_distribution.tolist(), test.pvalue, examples]

def refuse(name, *arguments, test=test, **options):
    try:
        test(*arguments, **options)
    except (ValueError, OSError) as error:
        found[name] = type(error).__name__, str(error)

sliced = {name: jm.RowBlocks(Own(part)) for name, part in mine.items()}
copies = jm.SharedStructure(sliced["X_val"])
keep("sliced", test(sliced["X"], copies, example_scores=True))
placed = {
    name: jax.make_array_from_process_local_data(NamedSharding(rows, PartitionSpec("rows")), part)
    for name, part in mine.items()
}
assert placed["X"].shape == (n, d) and not placed["X"].is_fully_addressable
keep("placed", test(placed["X"], jm.Holdout(placed["X_val"], y)))
refuse("not passed as devices", placed["X"], jm.Holdout(placed["X_val"], y), devices=None)

def spoilt(rows, row):
    return np.where(np.arange(len(rows))[:, None] == row, np.nan, rows) if number == 1 else rows

refuse("nan", jm.RowBlocks(Own(spoilt(mine["X"], 3))), copies)
refuse("unreadable", jm.RowBlocks(Gone(mine["X"])), copies)

# Whatever has all rows may hand them over whole; a device takes its own, or all if there is but the other axis.
whole = {name: np.load(folder / f"{name}.npy") for name in ("X", "X_val")}
copies_of_all = jm.SharedStructure(whole["X_val"])
keep("both axes", test(whole["X"], copies_of_all, jm.LDA(), devices=both))
keep("permutations", test(whole["X"], copies_of_all, jm.KNeighbors(3), devices=every, example_scores=True))
refuse("nan in a whole", spoilt(whole["X"], 3), copies_of_all, devices=every)
refuse("nan in copies", whole["X"], jm.SharedStructure(spoilt(whole["X_val"], 7)), devices=every)

# Of rows that devices cannot share out evenly, all have those that are left, and nobody the others'.
most, even = n - 1, (n - 1) // len(every) * len(every)
of_others = (np.arange(most) < even) & (np.arange(most) // (even // n_processes) != number)
left = {name: np.where(of_others[:, None], np.nan, part[:most]) for name, part in whole.items()}
keep("left over", test(left["X"], jm.SharedStructure(left["X_val"]), y=y[:most], example_scores=True))
refuse("nan in what is left", spoilt(left["X"], most - 1), jm.SharedStructure(left["X_val"]), y=y[:most])

keep("stopping", test(sliced["X"], copies, stopping=jm.BesagClifford(20), alternative="less", batch_size=8))
narrow = {name: jm.RowBlocks(Own(part[:, :2])) for name, part in mine.items()}
family = {"a": (sliced["X"], copies), "b": (narrow["X"], jm.Holdout(narrow["X_val"], y))}
if n_processes > 2:  # By night.
    with jax.enable_x64(True):
        wide = {name: part.astype(float) for name, part in whole.items()}
        keep("double", test(wide["X"], jm.SharedStructure(wide["X_val"]), metric="margin"))
    for name in ("family", "family again"):  # The second out of the files of the first.
        tests = jm.permutation_tests(
            family, y, n_permutations=199, devices=rows, checkpoint=folder / "family", progress=False
        )
        found[name] = [tests.pvalue_adjusted.tolist(), tests.null_distribution.tolist()]
memorization = jm.memorization_test(
    jm.GaussianNB(), sliced["X"], y, copies, n_permutations=39, devices=rows, progress=False
)
found["memorization"] = [memorization.memorization_pvalue, memorization.chance_distribution.tolist()]
draw = passes._draw

def full(stream, codes, start, size, mesh):
    if mesh is None:  # Which is where copies are matched anew.
        raise MemoryError("full")
    return draw(stream, codes, start, size, mesh)

passes._draw = full
try:
    jm.memorization_test(jm.GaussianNB(), sliced["X"], y, copies, n_permutations=39, devices=rows, progress=False)
except MemoryError as error:
    found["full"] = error.__notes__

# SIGTERM to one of them, in the middle of it.
write, drawn = checkpoint.write_archive, []
checkpoint.write_archive = lambda *arguments: (wrote.append(1), write(*arguments))

def interrupted(*arguments):
    drawn.append(1)
    if len(drawn) == 3 and number == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.02)  # For the news to spread.
    return draw(*arguments)

passes._draw = interrupted
path = folder / "checkpoint.npz"
try:
    test(sliced["X"], copies, n_permutations=4_000, batch_size=4, checkpoint=path)
except KeyboardInterrupt:
    found["interrupted"] = len(drawn)
passes._draw = draw
multihost_utils.sync_global_devices("the first of them has saved")
found["file"] = path.exists()
keep("went on", test(sliced["X"], copies, n_permutations=4_000, checkpoint=path))
found["wrote"] = len(wrote) > 0
# Calls that are not the same everywhere.
refuse("other labels", sliced["X"], copies, y=np.roll(y, number))
refuse("fewer labels", sliced["X"], copies, y=y[number:])
refuse("other permutations", sliced["X"], copies, n_permutations=199 - number, key=number, metric="r2")
# A file that only the others see.
mine_alone = folder / f"of-{number}.npz"
if number == 1:
    mine_alone.write_bytes(path.read_bytes())
refuse("not shared", sliced["X"], copies, n_permutations=4_000, checkpoint=mine_alone)
refuse("a file for a folder", family, y, test=jm.permutation_tests, devices=rows, checkpoint=mine_alone)
refuse("in a file", sliced["X"], copies, checkpoint=mine_alone / "file")
# A folder that only one of them sees.
mine_alone = folder / f"place-{number}"
if number == 1:
    mine_alone.mkdir()
refuse("a folder", sliced["X"], copies, checkpoint=mine_alone)
print(json.dumps(found))
"""


def processes(n, folder):
    """Start them, wait for all, and return what each of them found."""
    for name, rows in {"X": X, "X_val": X_val}.items():
        np.save(folder / f"{name}.npy", rows)
        for number, part in enumerate(np.split(rows, n)):
            np.save(folder / f"{name}-{number}.npy", part)
    np.save(folder / "y.npy", y)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    flags = (
        "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false"
    )
    command = [sys.executable, "-c", _PROCESS, str(folder), address, str(n)]
    started = [
        subprocess.Popen(
            [*command, str(number)],
            env=os.environ | {"XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(n)
    ]
    try:
        ended = [one.communicate(timeout=500) for one in started]
    finally:
        for one in started:
            one.kill()
    assert all(one.returncode == 0 for one in started), "\n".join(errors for _, errors in ended)
    return [json.loads(said.splitlines()[-1]) for said, _ in ended]


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.nightly)])
def found(request, tmp_path_factory):
    return processes(request.param, tmp_path_factory.mktemp("processes"))


# What takes long is tried with four of them only.
four_by_night = pytest.mark.parametrize("found", [pytest.param(4, marks=pytest.mark.nightly)], indirect=True)


def run(classifier, validation, **options):
    options = {"X": X, "y": y, "n_permutations": 199, "progress": False, "devices": ONE} | options
    return jm.permutation_test(classifier, validation=validation, **options)


@pytest.mark.parametrize(
    ("name", "classifier", "validation", "options"),
    [
        ("sliced", jm.Ridge(), jm.SharedStructure(X_val), {"example_scores": True}),
        ("placed", jm.Ridge(), jm.Holdout(X_val, y), {}),
        ("both axes", jm.LDA(), jm.SharedStructure(X_val), {}),
        ("permutations", jm.KNeighbors(3), jm.SharedStructure(X_val), {"example_scores": True}),
        ("left over", jm.Ridge(), jm.SharedStructure(X_val[:79]), {"X": X[:79], "y": y[:79], "example_scores": True}),
        (
            "stopping",
            jm.Ridge(),
            jm.SharedStructure(X_val),
            {"stopping": jm.BesagClifford(20), "alternative": "less", "batch_size": 8},
        ),
        ("went on", jm.Ridge(), jm.SharedStructure(X_val), {"n_permutations": 4_000}),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_every_process_gets_the_test_of_one(name, classifier, validation, options, found):
    one = run(classifier, validation, **options)
    examples = None if one.example_scores is None else one.example_scores.tolist()
    expected = [one.statistic, one.null_distribution.tolist(), one.pvalue, examples]
    assert len(found) >= 2 and all(each["devices"] == 2 * len(found) for each in found)
    assert all(each[name] == expected for each in found)
    assert (len(expected[1]) < 199) == (name == "stopping")


@four_by_night
def test_double_precision_is_double_precision(found, float64):
    one = run(jm.Ridge(), jm.SharedStructure(X_val.astype(float)), X=X.astype(float), metric="margin")
    for each in found:
        statistic, null, pvalue, _ = each["double"]
        np.testing.assert_allclose([statistic, *null], [one.statistic, *one.null_distribution], rtol=1e-10)
        assert pvalue == one.pvalue


@four_by_night
def test_a_family_is_that_of_one(found):
    family = {"a": (X, X_val), "b": (X[:, :2], jm.Holdout(X_val[:, :2], y))}
    one = jm.permutation_tests(family, y, n_permutations=199, devices=ONE, progress=False)
    expected = [one.pvalue_adjusted.tolist(), one.null_distribution.tolist()]
    assert all(each["family"] == each["family again"] == expected for each in found)


def test_memorization_is_that_of_one(found):
    copies = jm.SharedStructure(X_val)
    one = jm.memorization_test(jm.GaussianNB(), X, y, copies, n_permutations=39, devices=ONE, progress=False)
    expected = [one.memorization_pvalue, one.chance_distribution.tolist()]
    assert all(each["memorization"] == expected for each in found)


def test_the_signal_that_one_gets_ends_all_after_the_same_batch(found):
    batches = {each["interrupted"] for each in found}
    assert len(batches) == 1 and 3 <= batches.pop() < 1_000


def test_one_of_them_writes(found):
    assert [each["wrote"] for each in found] == [True] + [False] * (len(found) - 1)
    assert all(each["file"] for each in found)


def test_a_checkpoint_that_not_all_can_see_is_refused_by_all(found):
    for number, each in enumerate(found):
        _, message = each["not shared"]
        assert f"process {number} finds {4_001 * (number == 1)} labellings" in message
        assert "name a folder that they share" in message


def test_what_they_find_together_all_are_told(found):
    for each in found:
        assert "NaN or infinite features in 1 of 80 rows, the first in row" in each["nan"][1]
        assert "X lies on devices of several processes: pass them as devices" in each["not passed as devices"][1]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("unreadable", "OSError", "the disk is gone"),
        ("nan in a whole", "ValueError", "X has NaN or infinite features in 1 of 80 rows, the first in row 3."),
        ("nan in copies", "ValueError", "X_val has NaN or infinite features in 1 of 80 rows, the first in row 7."),
        ("nan in what is left", "ValueError", "X has NaN or infinite features in 1 of 79 rows, the first in row 78."),
        ("a folder", "ValueError", "place-1' is a folder: add a name to it."),
        ("in a file", "ValueError", "of-1.npz, which is no folder: name another place."),
        ("a file for a folder", "ValueError", "of-1.npz is a file: name another place."),
    ],
)
def test_what_one_of_them_finds_alone_all_are_told(name, error, message, found):
    for number, each in enumerate(found):
        kind, said = each[name]
        assert kind == (error if number == 1 else "ValueError") and message in said
        assert said.startswith("Process 1 cannot go on, and so none of them can: ") == (number != 1)


@pytest.mark.parametrize(
    ("name", "others"),
    [("other labels", "labels"), ("fewer labels", "labels"), ("other permutations", "permutations, n_permutations")],
)
def test_calls_that_are_not_the_same_everywhere_are_refused_by_all(name, others, found):
    for each in found:
        kind, said = each[name]
        assert kind == "ValueError" and f"theirs differ in {others}: give the same" in said


def test_memory_that_is_full_is_an_error_where_batches_cannot_be_halved():
    def launch(start, size):
        raise MemoryError("full")

    def never(*_):
        raise AssertionError

    with pytest.raises(MemoryError) as raised:
        in_batches(launch, never, never, first=0, total=9, size=4, halve=False)
    assert "memory of one of several processes" in raised.value.__notes__[0]
    assert "batch_size=2 say" in raised.value.__notes__[0]


def test_memory_that_is_full_is_an_error_where_copies_are_matched_anew(found):
    for each in found:
        (note,) = each["full"]
        assert "does not fit into the memory of one of several processes" in note


def test_one_process_leads_and_agrees_with_itself():
    mesh = mesh_of(jax.devices()[:2])
    assert leads(None) and leads(mesh) and not several_processes(mesh) and not several_processes(None)
    assert agreed(3, mesh) and by_all(lambda: 3, mesh) == by_all(lambda: 3, None) == 3
