"""Captures what a process and its children write to their standard streams: vLLM's engine logs a lot."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_REASON = re.compile(r"\b(\w+(?:Error|Exception)): (.+)")
_CAUSE_ELSEWHERE = re.compile(r"See (?:root cause|stack trace) above|Engine core initialization failed")


class CapturedLog:
    """The text that was captured."""

    def __init__(self, file: int) -> None:
        """Creates a log from the descriptor of an open file."""
        self._file = file

    def last_error(self) -> str:
        """Returns the message of the last error in the log, or an empty string."""
        size = os.fstat(self._file).st_size
        text = os.pread(self._file, size, 0).decode("utf-8", "replace")
        errors = [match[2].strip() for match in _REASON.finditer(text) if not _CAUSE_ELSEWHERE.search(match[2])]
        return errors[-1] if errors else ""


@contextmanager
def captured() -> Iterator[CapturedLog]:
    """Redirects standard output and error to a temporary file.

    Processes that are started inside the context keep writing to that file. It is deleted when the last of them ends.
    """
    _flush()
    saved = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield CapturedLog(file.fileno())
        finally:
            _flush()
            for descriptor, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
