"""Keeps requests of two kinds apart, so that a server never computes both in one batch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Lets any number of requests of one kind run at the same time, but never two kinds; thread-safe."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._kind = ""
        self._running = 0

    @contextmanager
    def of(self, kind: str) -> Iterator[None]:
        """Waits until no request of another kind runs, and keeps others waiting inside the context."""
        with self._condition:
            self._condition.wait_for(lambda: not self._running or self._kind == kind)
            self._kind = kind
            self._running += 1
        try:
            yield
        finally:
            with self._condition:
                self._running -= 1
                self._condition.notify_all()
