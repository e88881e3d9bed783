"""The levels of the library: imports point downwards, and importing it loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxmem

PACKAGE = Path(jaxmem.__file__).parent
FACE = "__init__"  # `import jaxmem` itself: the public names of everything up to `memorization` and `similarity`.

# From the ground up. A room may import rooms of its own level and of those below; a room joins by a word here.
LEVELS = [
    {
        "inputs",
        "notices",
        "settings",
        "blocks",
        "streaming",
        "compilation",
        "archives",
        "folders",
        "devices",
        "sharding",
        "digests",
        "threads",
    },
    {"permutations", "validation", "classifiers", "metrics", "inference", "results"},
    {"fits", "passes", "rematching", "tally", "batches", "checkpoint"},
    {"scoring"},
    {"engine"},
    {"costs", "rates", "family", "memorization", "similarity", "effects", "examples", "monitor", "dynamics", "subsets"},
    {FACE},
    {"data", "nets", "sklearn"},
    {"studies"},
    {"plots", "report", "cli", "__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# What a room must not import although it lies below (or beside) it.
ENGINE_AND_ABOVE = set().union(*LEVELS[2:7])
FORBIDDEN = {"data": ENGINE_AND_ABOVE, "nets": ENGINE_AND_ABOVE, "plots": {"cli", "__main__"}}
# Rooms that know JAX and NumPy only, and what else each may use inside its functions.
CORE = {room for rooms in LEVELS[:6] for room in rooms}
BASICS = {"jax", "numpy", "jaxtyping"} | sys.stdlib_module_names
WITHIN_FUNCTIONS = {
    "batches": {"tqdm"},
    "results": {"xarray", "pandas"},
    "classifiers": {"sklearn", "joblib", "optax"},
    "inference": {"scipy"},
    "effects": {"scipy"},
    "similarity": {"scipy"},
    "threads": {"scipy", "threadpoolctl"},
}


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """(dotted name, whether it stands at the top level) of everything that a file imports, at any depth."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room they come from"
            # `from jaxmem import plots` is an import of that room; `from jaxmem import Ridge` of the face.
            names = [f"jaxmem.{alias.name}" for alias in node.names] if node.module == "jaxmem" else [node.module]
            yield from ((name, id(node) in top) for name in names)


def rooms_imported(path):
    for name, _ in imports(path):
        if name.split(".")[0] == "jaxmem":
            room = [*name.split("."), FACE][1]
            yield room if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").exists() else FACE


FILES = sorted(path for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    room = room_of(path)
    assert room in LEVEL, f"a new room, {room}: give it a level"
    for other in rooms_imported(path):
        assert LEVEL[other] <= LEVEL[room], f"{room} imports {other}, which lies above it"
        assert other not in FORBIDDEN.get(room, ()), f"{room} must not know {other}"


def test_rooms_of_one_level_do_not_import_each_other_in_circles():
    below = {room: set() for room in LEVEL}
    for path in FILES:
        below[room_of(path)] |= set(rooms_imported(path)) - {room_of(path)}
    while below:
        free = [room for room, others in below.items() if not others & below.keys()]
        assert free, f"these import each other in a circle: {sorted(below)}"
        for room in free:
            del below[room]


@pytest.mark.parametrize(
    "path", [p for p in FILES if room_of(p) in CORE], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_the_core_knows_jax_and_numpy_only(path):
    for name, at_top in imports(path):
        package = name.split(".")[0]
        allowed = BASICS | {"jaxmem"} | (set() if at_top else WITHIN_FUNCTIONS.get(room_of(path), set()))
        assert package in allowed, f"{path.name} imports {name}"


def test_importing_jaxmem_loads_nothing_heavy():
    heavy = ["flax", "optax", "tensorflow", "tensorflow_datasets", "matplotlib", "xarray", "pandas", "sklearn", "scipy"]
    heavy += ["tqdm", "h5py", "PIL"]
    code = f"import sys, jaxmem; print(*(name for name in {heavy} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_the_public_names_exist():
    assert len(set(jaxmem.__all__)) == len(jaxmem.__all__)
    assert all(hasattr(jaxmem, name) for name in jaxmem.__all__)
