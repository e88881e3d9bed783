"""Threads of BLAS, while XLA has a thread for every core already."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import jax

__all__ = ["one_blas_thread"]


def one_blas_thread() -> AbstractContextManager[Any]:
    """Let BLAS have one thread in the whole process where JAX computes on a CPU, and what it had before afterwards.

    JAX takes factorisations on a CPU from SciPy's OpenBLAS, and XLA gives every core those of another part of a batch.
    Where each of them asks for all threads, they wait for each other: the singular values of 64 matrices of 256 x 256
    then take five times the processors' time.
    """
    return _blas().limit(limits=1, user_api="blas") if jax.default_backend() == "cpu" else nullcontext()


@cache
def _blas() -> Any:
    import scipy.linalg  # noqa: F401 - Only what is loaded already is found.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
