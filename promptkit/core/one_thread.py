"""Limits BLAS to one thread during fits on few rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits BLAS to one thread, so that results do not depend on the number of threads.

    The matrices of a fit on few rows are so small that threads mostly wait for each other: while other programs use the
    machine, a fit by L-BFGS with two threads takes 50 times as long as with one.
    """
    with _blas().limit(limits=1, user_api="blas"):
        yield


@cache
def _blas() -> ThreadpoolController:
    """Returns the controller of the BLAS libraries that are loaded at the first call."""
    import scipy.linalg  # noqa: F401 - has its own BLAS
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
