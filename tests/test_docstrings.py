"""Every public name shows how it is used, and what it shows is so."""

import doctest
import importlib
import inspect

import jax
import pytest
from matplotlib import pyplot as plt

# The rooms whose names are public; each says which in its `__all__`.
ROOMS = [
    "jaxmem",
    "jaxmem.classifiers",
    "jaxmem.costs",
    "jaxmem.data",
    "jaxmem.inference",
    "jaxmem.metrics",
    "jaxmem.nets",
    "jaxmem.plots",
    "jaxmem.results",
    "jaxmem.similarity",
    "jaxmem.sklearn",
    "jaxmem.studies",
]
# How results are written, for the rooms that make them.
WITHIN = {"jaxmem.results.as_saved", "jaxmem.results.key_fields"}


def public():
    """Functions and classes by the shortest dotted name that they go by."""
    named = {}
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                named.setdefault(thing, f"{room}.{name}")
    return {name: thing for thing, name in named.items() if name not in WITHIN}


PUBLIC = public()


@pytest.fixture
def nothing_left():
    """What an example switches on is switched off again, and what it draws is closed."""
    tail = ("compilation_cache_dir", "persistent_cache_min_compile_time_secs", "persistent_cache_min_entry_size_bytes")
    before = {name: getattr(jax.config, name) for name in (f"jax_{end}" for end in tail)}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    plt.close("all")


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_runs_as_it_stands(name, nothing_left):
    thing = PUBLIC[name]
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    (of_itself, *of_methods) = sorted(
        doctest.DocTestFinder(exclude_empty=False).find(thing, name, globs={}), key=lambda test: test.name
    )
    assert of_itself.name == name and of_itself.examples, f"the docstring of {name} has no example"
    said = []
    for test in (of_itself, *of_methods):
        runner.run(test, out=said.append)
    assert not runner.summarize(verbose=False).failed, "".join(said)
