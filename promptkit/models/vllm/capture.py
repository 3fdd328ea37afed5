"""What a process and its children write on their standard streams, kept in a file: vLLM's engine says a great deal."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_REASON = re.compile(r"\b(\w+(?:Error|Exception)): (.+)")
_CAUSE_ELSEWHERE = re.compile(r"See (?:root cause|stack trace) above|Engine core initialization failed")


class Captured:
    """A log that was captured."""

    def __init__(self, file: int) -> None:
        """`file` is the descriptor of an open file."""
        self._file = file

    def reason(self) -> str:
        """The last error that the log tells, or nothing."""
        size = os.fstat(self._file).st_size
        text = os.pread(self._file, size, 0).decode("utf-8", "replace")
        told = [match[2].strip() for match in _REASON.finditer(text) if not _CAUSE_ELSEWHERE.search(match[2])]
        return told[-1] if told else ""


@contextmanager
def captured() -> Iterator[Captured]:
    """Inside, standard output and error go to a file that is deleted when nobody writes to it any more.

    Processes that are started inside go on writing there.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield Captured(file.fileno())
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for descriptor, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
