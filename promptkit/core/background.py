"""Computes something in a background thread that the main thread needs later, such as a model with its weights."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_running: set[object] = set()
"""What is computed now."""


def in_background(compute: Callable[[], T]) -> Future[T]:
    """Starts a thread that computes a value and then ends.

    Args:
        compute: Returns the value. `Future.result` waits for it, and raises the error if it failed.
    """
    running = object()
    _running.add(running)  # before the thread starts, so that an interrupt at any moment finds it

    def computed() -> T:
        try:
            return compute()
        finally:
            _running.discard(running)

    pool = ThreadPoolExecutor(1, thread_name_prefix="promptkit-background")
    future = pool.submit(computed)
    pool.shutdown(wait=False)
    return future


def is_computing() -> bool:
    """Returns whether a thread that `in_background` started is still running, so that the process cannot end."""
    return bool(_running)
