"""Suppresses messages and progress bars of transformers while a model loads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import ERROR
from threading import Lock


class _Quiet:
    """How many threads are loading, and how to restore the settings of transformers after the last one."""

    lock = Lock()
    count = 0
    restore: Callable[[], None]


@contextmanager
def quiet() -> Iterator[None]:
    """Context manager in which transformers shows only errors; its settings are restored when no thread is in it."""
    with _Quiet.lock:
        if not _Quiet.count:
            _Quiet.restore = _silence()
        _Quiet.count += 1
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.count -= 1
            if not _Quiet.count:
                _Quiet.restore()


def _silence() -> Callable[[], None]:
    """Silences transformers, and returns a function that restores its settings."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(ERROR)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    def restore() -> None:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]

    return restore
