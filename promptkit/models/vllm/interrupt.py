"""Handles Ctrl-C while another library runs, even if that library catches the interrupt and ignores it."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REPEAT_AFTER = 1.0
"""Seconds after which an interrupt that was ignored is raised again."""
EXIT_TIMEOUT = 5.0
"""Seconds that a terminated process has before it is killed."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises Ctrl-C again every second until it leaves the context, also in place of errors that it causes in the library.

    Any exception terminates the processes that were started inside the context.
    """
    before = set(multiprocessing.active_children())
    with _repeating_interrupts() as signals:
        try:
            yield
        except BaseException:
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
                child.join(EXIT_TIMEOUT)
                child.kill()
            if signals:
                raise KeyboardInterrupt from None
            raise


@contextmanager
def _repeating_interrupts() -> Iterator[list[int]]:
    """Yields the list of the signals that were received so far."""
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread handles signals
        yield signals
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        signal.setitimer(signal.ITIMER_REAL, REPEAT_AFTER)
        raise KeyboardInterrupt

    previous = [(number, signal.signal(number, interrupt)) for number in (signal.SIGINT, signal.SIGALRM)]
    try:
        yield signals
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous:
            signal.signal(number, handler)
