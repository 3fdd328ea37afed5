"""Limits BLAS to one thread while something small is fitted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Computes with one thread, so that the result does not depend on their number.

    The matrices of a fit on few rows are so small that threads mostly wait for each other: while other programs use the
    machine, a fit by L-BFGS with two threads takes 50 times as long.
    """
    with _blas().limit(limits=1, user_api="blas"):
        yield


@cache
def _blas() -> ThreadpoolController:
    """Returns what sets the number of threads; it finds the libraries that are loaded when it is first called."""
    import scipy.linalg  # noqa: F401 - has its own BLAS
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
