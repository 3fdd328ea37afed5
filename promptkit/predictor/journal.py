"""A file that is written in steps and survives interruption: after a crash, writing continues after the last complete step."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from errno import EISDIR
from io import FileIO
from pathlib import Path

from promptkit.core.errors import RunError
from promptkit.core.files import acquire_lock, write_atomically


@dataclass(slots=True)
class JournaledFile:
    """A file whose steps are recorded in a journal next to it.

    The content is written to `.NAME.part`, which replaces the file when it is complete. `.NAME.journal` records the number of
    complete rows and bytes, and the key.

    Args:
        path: The file.
        key: A hash of everything that determines the content. A journal with another key is discarded.
    """

    path: Path
    key: str
    rows: int = 0
    """Number of complete rows."""
    counts: dict[str, int] = field(default_factory=dict)
    """Name -> count over the complete rows, stored in the journal."""

    @property
    def _partial(self) -> Path:
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def _journal(self) -> Path:
        return self.path.with_name(f".{self.path.name}.journal")

    @contextmanager
    def writing(self) -> Iterator[FileIO]:
        """Opens the content after its last complete step, and locks it for this process.

        Raises:
            RunError: Another process is writing the file, or it cannot be written.
        """
        locked = RunError(
            f"Another process is writing {self.path}",
            code="file-locked",
            hint="Wait for it to finish, or write to another file",
            file=str(self.path),
        )
        with self._explained():
            if self.path.is_dir():
                raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
            lock = acquire_lock(self.path.with_name(f".{self.path.name}.lock"), locked)
        try:
            length = self._resume()
            with self._explained():
                stream = self._partial.open("r+b" if length else "wb", buffering=0)  # closing it writes nothing
            with stream:
                stream.truncate(length)
                stream.seek(length)
                yield stream
        finally:
            lock.release()

    def complete_step(self, stream: FileIO, content: bytes, rows: int) -> None:
        """Appends the content of further rows. It is on disk when the function returns, with `counts`.

        Args:
            stream: The stream of `writing`.
            content: The content.
            rows: The number of rows.

        Raises:
            RunError: The file cannot be written.
        """
        with self._explained():
            rest = memoryview(content)
            while rest:  # a full disk may take a part
                rest = rest[write_some(stream, rest) :]
            os.fsync(stream.fileno())
            self.rows += rows
            state = {"key": self.key, "rows": self.rows, "bytes": stream.tell(), "counts": self.counts}
            write_atomically(self._journal, json.dumps(state).encode())

    def finish(self) -> None:
        """Replaces the file with the complete content and removes the journal.

        Raises:
            RunError: The file cannot be written.
        """
        with self._explained():
            self._partial.replace(self.path)
            self._journal.unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Names the file in an error of the operating system."""
        try:
            yield
        except OSError as error:
            raise RunError(
                f"The file {self.path} cannot be written: {error.strerror or error}",
                code="cannot-write",
                hint="The rows written so far are kept: fix the cause and run the command again, or choose another file",
                file=str(self.path),
                reason=error.strerror or str(error),
            ) from None

    def _resume(self) -> int:
        """Restores `rows` and `counts`, and returns the number of complete bytes; 0 without a journal with this key."""
        try:
            state = json.loads(self._journal.read_bytes())
            length = self._partial.stat().st_size
        except (OSError, ValueError):
            return 0
        if state.get("key") != self.key or length < state["bytes"]:
            return 0
        self.rows, self.counts = int(state["rows"]), dict(state["counts"])
        return int(state["bytes"])


def write_some(stream: FileIO, content: memoryview) -> int:
    """Writes as much of the content as the operating system takes at once, and returns how many bytes."""
    return stream.write(content)
