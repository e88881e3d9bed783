"""Strictness for every test: no silent rank promotion, several CPU devices, shapes checked at run time."""

import os
from importlib.metadata import version
from pathlib import Path

# Tests compile thousands of small programs and run each for a moment: compiling without optimisation saves a third of
# the time, and by XLA's plain loops in place of its emitters of fusions another third, in versions that know both: one
# that does not know a flag ends. One thread each, for two test processes share the cores. With
# `XLA_FLAGS=--xla_force_host_platform_device_count=2 pytest`, programs are as users have them.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false"
    + " --xla_cpu_use_fusion_emitters=false" * version("jaxlib").startswith("0.10."),
)

# What one test or run has compiled, the others find again: half of the time of a second run.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

from jaxtyping import install_import_hook

# The hook checks every annotated shape in jaxmem while tests run; users never pay for it.
_hook = install_import_hook("jaxmem", "beartype.beartype")

import chex  # noqa: E402
import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="module", autouse=True)
def _own_programs():
    """Let go of the programs of a file: tens of thousands in one process take gigabytes, and end in a crash."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def _fresh_trace_counter():
    """Let each test count its own compilations."""
    chex.clear_trace_counter()


@pytest.fixture
def float64():
    """Run one test in double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Run one test in single and in double precision."""
    with jax.enable_x64(request.param == "float64"):
        yield jax.numpy.dtype(request.param)


@pytest.fixture
def unchecked(monkeypatch):
    """Switch the shape checks off, as for users: what enters is then judged by jaxmem's own messages."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session", autouse=True)
def _own_data_dir(tmp_path_factory):
    """Prepare data sets in a folder of the tests' own, not in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXMEM_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        yield
