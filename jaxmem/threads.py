"""Threads of BLAS, while XLA has a thread for every core already."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

import jax

__all__ = ["one_blas_thread"]


_limited = threading.Lock()


@contextmanager
def one_blas_thread() -> Generator[None]:
    """Let BLAS have one thread in the whole process where JAX computes on a CPU, and what it had before afterwards.

    JAX takes factorisations on a CPU from SciPy's OpenBLAS, and XLA gives every core those of another part of a batch.
    Where each of them asks for all threads, they wait for each other: the singular values of 64 matrices of 256 x 256
    then take five times the processors' time. Of several threads at once, the first to come sets the limit, and takes
    it off as it goes: whoever came second would take for the old number what is the first one's limit.
    """
    if jax.default_backend() != "cpu" or not _limited.acquire(blocking=False):
        yield
        return
    try:
        with _blas().limit(limits=1, user_api="blas"):
            yield
    finally:
        _limited.release()


@cache
def _blas() -> Any:
    import scipy.linalg  # noqa: F401 - Only what is loaded already is found.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
