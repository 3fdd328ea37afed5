"""The score cache: model outputs on disk, by the content of the request, so that nothing is computed or paid for twice.

The cache is one SQLite file. The key of an output is a hash of the model's identity, every token id of the input and every
setting of the request that changes the result; each sample of a generation has a separate key. The cache never stops a run:
a damaged entry is a miss, a damaged file is renamed, and if the file cannot be used, the process continues without it, with
one warning.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from promptkit.core.errors import RunError
from promptkit.core.hashing import blake2b
from promptkit.core.paths import cache_folder, expanded
from promptkit.core.requests import Generate, GenerateOutput, Output, Request, is_finite
from promptkit.models.cache_entries import Value, decode, encode, entry_keys, model_digest

MAX_BYTES = 2 * 2**30
"""The default maximum size of the file; the least recently used entries are deleted when it is larger."""
SHRINK_TO = 0.75
"""The share of the maximum size that remains after entries are deleted."""
DAY = 86400
"""Seconds of a day; the time of last use is stored in days, so that most reads write nothing."""
KEYS_PER_QUERY = 500
"""Maximum number of keys in one SQL statement."""
LOCK_TIMEOUT = 30.0
"""Seconds that one process waits while another writes."""

_disabled: set[Path] = set()
"""The files that could not be used in this process."""
_disabling = threading.Lock()
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheContents:
    """The size of a cache."""

    path: Path
    entries: int
    """Number of stored outputs."""
    size: int
    """Used bytes of the file."""
    max_bytes: int
    """Maximum size of the file in bytes."""


class ScoreCache:
    """The outputs of every model, in one file."""

    def __init__(self, path: str | Path | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        """Creates a cache; the file is opened at the first use.

        Args:
            path: The file. Default: the environment variable PROMPTKIT_SCORES, or `scores.sqlite` in the cache folder.
            max_bytes: The maximum size of the file; the least recently used entries are deleted when it is larger.
        """
        self.path = expanded(path or os.environ.get("PROMPTKIT_SCORES") or cache_folder() / "scores.sqlite")
        self._max_bytes = max_bytes

    def find(self, model: Mapping[str, object], requests: Sequence[Request]) -> dict[int, Output]:
        """Returns the stored outputs by the index of their request.

        Args:
            model: The identity of the model.
            requests: The requests to look up.
        """
        outputs = {}
        for index, (request, values) in enumerate(zip(requests, self._lookup(model, requests), strict=True)):
            present = [value for value in values if value is not None]
            output = decode(request, present) if len(present) == len(values) else None
            if output is not None:
                outputs[index] = output
        return outputs

    def find_partial(self, model: Mapping[str, object], requests: Sequence[Request]) -> dict[int, GenerateOutput]:
        """Returns the stored texts of the requests for which only the first of several texts are stored."""
        outputs = {}
        for index, (request, values) in enumerate(zip(requests, self._lookup(model, requests), strict=True)):
            first = []
            for value in values:
                if value is None:
                    break
                first.append(value)
            output = decode(request, first) if first and len(first) < len(values) else None
            if isinstance(output, GenerateOutput):
                outputs[index] = output
        return outputs

    def add(self, model: Mapping[str, object], requests: Sequence[Request], outputs: Sequence[Output]) -> None:
        """Stores the outputs of requests, except those that are not finite."""
        digest, today = model_digest(model), int(time.time() // DAY)
        rows = []
        for request, output in zip(requests, outputs, strict=True):
            if not is_finite(output):
                continue
            for key, value in zip(entry_keys(digest, request), encode(output), strict=True):
                text = json.dumps(value, separators=(",", ":"))
                rows.append((key, _checksum(key, text), text, today))
        with self._open() as connection:
            if connection is not None:
                connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", rows)
                self._shrink(connection)

    def contents(self) -> CacheContents:
        """Returns the number of entries and the size of the file."""
        entries = size = 0
        if self.path.is_file():
            with self._open() as connection:
                if connection is not None:
                    entries = connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
                    size = _used_bytes(connection)
        return CacheContents(path=self.path, entries=entries, size=size, max_bytes=self._max_bytes)

    def clear(self) -> None:
        """Deletes all entries.

        Raises:
            RunError: The file cannot be written.
        """
        if self.path.is_file():
            with self._open() as connection:
                if connection is None:
                    raise RunError(
                        f"The score cache {self.path} cannot be cleared",
                        code="cache-not-cleared",
                        hint="Delete that file",
                        file=str(self.path),
                    )
                connection.execute("DELETE FROM answers")
                connection.commit()
                connection.execute("VACUUM")

    def _lookup(self, model: Mapping[str, object], requests: Sequence[Request]) -> list[list[Value | None]]:
        """Returns the stored value of each key of each request, or None where there is none."""
        digest = model_digest(model)
        keys = [entry_keys(digest, request) for request in requests]
        values: dict[bytes, Value] = {}
        with self._open() as connection:
            if connection is not None:
                values = _select(connection, [key for request_keys in keys for key in request_keys])
        return [[values.get(key) for key in request_keys] for request_keys in keys]

    def _shrink(self, connection: sqlite3.Connection) -> None:
        """Deletes the least recently used entries if the file is larger than its maximum size."""
        if _used_bytes(connection) <= self._max_bytes:
            return
        connection.execute(
            "DELETE FROM answers WHERE key IN (SELECT key FROM (SELECT key, SUM(LENGTH(value) + 100) OVER "
            "(ORDER BY used DESC, rowid DESC) AS newer FROM answers) WHERE newer > ?)",
            (int(self._max_bytes * SHRINK_TO),),
        )
        connection.commit()
        connection.execute("PRAGMA incremental_vacuum").fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        """Yields a connection, committed at the end, or None if the cache cannot be used."""
        if self.path in _disabled:
            yield None
            return
        connection = None
        try:
            connection = self._connect()
            yield connection
            connection.commit()
        except (sqlite3.OperationalError, OSError) as error:  # no space, no permission or a timeout: the file is intact
            self._disable(error)
            if connection is None:
                yield None
        except sqlite3.DatabaseError as error:
            self._rename_damaged(error)
            if connection is None:
                yield None
        finally:
            if connection is not None:
                connection.close()

    def _disable(self, error: Exception) -> None:
        """Disables the file for the rest of the process, so that there is one warning and no further waiting."""
        with _disabling:
            if self.path not in _disabled:
                _log.warning("The score cache %s cannot be used and is disabled for this process: %s.", self.path, error)
            _disabled.add(self.path)

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=LOCK_TIMEOUT)
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, sum BLOB, value TEXT, used INTEGER)")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _rename_damaged(self, error: Exception) -> None:
        """Renames a damaged file, so that the next use creates a new one."""
        new_path = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        try:
            self.path.rename(new_path)
        except FileNotFoundError:  # another process has renamed it
            return
        except OSError:
            self._disable(error)
            return
        _log.warning("The score cache %s is damaged (%s) and was renamed to %s.", self.path, error, new_path.name)
        for suffix in ("-wal", "-shm"):
            with suppress(OSError):  # it does not exist
                Path(f"{self.path}{suffix}").rename(f"{new_path}{suffix}")


def without_known(request: Request, known: GenerateOutput) -> Request:
    """Returns the request for the texts that are not known yet."""
    assert isinstance(request.verb, Generate)
    return replace(request, verb=replace(request.verb, known=len(known.generations)))


def merge_generations(known: GenerateOutput, output: Output) -> GenerateOutput:
    """Returns the known texts followed by the new ones."""
    assert isinstance(output, GenerateOutput)
    return GenerateOutput(generations=known.generations + output.generations)


def _select(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Value]:
    """Returns the undamaged entries of the keys and marks them as used today."""
    today = int(time.time() // DAY)
    values: dict[bytes, Value] = {}
    stale: list[tuple[int, bytes]] = []
    for begin in range(0, len(keys), KEYS_PER_QUERY):
        chunk = keys[begin : begin + KEYS_PER_QUERY]
        marks = ", ".join("?" * len(chunk))
        query = f"SELECT key, sum, value, used FROM answers WHERE key IN ({marks})"
        for key, checksum, text, used in connection.execute(query, chunk):
            if isinstance(text, str) and checksum == _checksum(key, text):
                values[key] = json.loads(text)
                if used != today:
                    stale.append((today, key))
    if stale:
        connection.executemany("UPDATE answers SET used = ? WHERE key = ?", stale)
    return values


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages, free, page_size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page_size)


def _checksum(key: bytes, text: str) -> bytes:
    return blake2b(key + text.encode(), size=8)
