"""Ctrl-C while another library works: heard even where that library's own code swallows it."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN = 1.0
"""Seconds after which an interrupt that was not heard is raised again."""
PATIENCE = 5.0
"""Seconds that a process has to end by itself."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, Ctrl-C is raised again each second until it leaves, whatever error its own effects raise before it does.

    Processes that were begun inside end with any exception.
    """
    before = set(multiprocessing.active_children())
    with _insisting() as heard:
        try:
            yield
        except BaseException:
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
                child.join(PATIENCE)
                child.kill()
            if heard:
                raise KeyboardInterrupt from None
            raise


@contextmanager
def _insisting() -> Iterator[list[int]]:
    """Yields the signals that have been heard so far."""
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # where no signal is ever handled
        yield heard
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        raise KeyboardInterrupt

    previous = [(number, signal.signal(number, interrupt)) for number in (signal.SIGINT, signal.SIGALRM)]
    try:
        yield heard
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous:
            signal.signal(number, handler)
