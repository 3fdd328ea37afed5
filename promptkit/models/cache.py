"""What models have answered before, kept on disk under the content of the question, so that nobody pays twice.

One SQLite file. An answer's key is a hash of the model's identity, every token id of the input and every setting of the
request that changes the result; of texts, each sample has a key of its own. The cache never stops a run: an entry that is
damaged is a miss, a damaged file is set aside, and one that cannot be written is done without.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import sqlite3
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from promptkit.core.arrays import Array
from promptkit.core.errors import RunError
from promptkit.core.inputs import HiddenEdit, KVPrefix
from promptkit.core.paths import cache_folder, expanded
from promptkit.core.requests import Generate, GenerateOutput, Generation, Output, Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.core.version import __version__

BOUND = 2 * 2**30
"""Bytes; what was not used for longest goes when the file is larger."""
KEPT = 0.75
"""The share of the bound that is left then."""
DAY = 86400
"""Seconds; the time of last use is kept to the day, so that most reads write nothing."""
AT_ONCE = 500
"""Keys looked up by one statement."""
WAIT = 30.0
"""Seconds that one process waits for another's writing."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheContents:
    """What a cache holds."""

    path: Path
    entries: int
    size: int
    """Bytes of the file that hold something."""
    max_bytes: int
    """Bytes that it may have."""


class ScoreCache:
    """The answers of every model, in one file."""

    def __init__(self, path: str | Path | None = None, *, bound: int = BOUND) -> None:
        """`path` is PROMPTKIT_SCORES, or `scores.sqlite` in the cache folder, unless given; `bound` is in bytes."""
        given = path or os.environ.get("PROMPTKIT_SCORES") or cache_folder() / "scores.sqlite"
        self.path = expanded(given)
        self._bound = bound

    def find(self, model: Mapping[str, object], requests: Sequence[Request]) -> dict[int, Output]:
        """The answers that are known already: index of the request -> output."""
        known = enumerate(zip(requests, self._values(model, requests), strict=True))
        outputs = {index: _output(request, values) for index, (request, values) in known if None not in values}
        return {index: output for index, output in outputs.items() if output is not None}

    def find_partial(self, model: Mapping[str, object], requests: Sequence[Request]) -> dict[int, GenerateOutput]:
        """Of the requests for several texts that are not known whole, the first texts that are."""
        found = {}
        for index, (request, values) in enumerate(zip(requests, self._values(model, requests), strict=True)):
            first = values[: values.index(None)] if None in values else []
            output = _output(request, first) if first else None
            if isinstance(output, GenerateOutput):
                found[index] = output
        return found

    def _values(self, model: Mapping[str, object], requests: Sequence[Request]) -> list[list[Any]]:
        """What is kept under each key of each request, or None."""
        keys = [_keys(_digest(model), request) for request in requests]
        kept: dict[bytes, Any] = {}
        with self._open() as connection:
            if connection is not None:
                kept = _kept(connection, [key for each in keys for key in each])
        return [[kept.get(key) for key in each] for each in keys]

    def add(self, model: Mapping[str, object], requests: Sequence[Request], outputs: Sequence[Output]) -> None:
        """Keep answers."""
        digest, today = _digest(model), int(time.time() // DAY)
        rows = []
        for request, output in zip(requests, outputs, strict=True):
            for key, value in zip(_keys(digest, request), _values(output), strict=True):
                text = json.dumps(value, separators=(",", ":"))
                rows.append((key, _check(key, text), text, today))
        with self._open() as connection:
            if connection is not None:
                connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", rows)
                self._shrink(connection)

    def contents(self) -> CacheContents:
        """How much it holds."""
        entries = size = 0
        if self.path.is_file():
            with self._open() as connection:
                if connection is not None:
                    entries = connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
                    size = _size(connection)
        return CacheContents(path=self.path, entries=entries, size=size, max_bytes=self._bound)

    def clear(self) -> None:
        """Forget everything."""
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

    def _shrink(self, connection: sqlite3.Connection) -> None:
        """Delete what was not used for longest, if the file has outgrown its bound."""
        if _size(connection) <= self._bound:
            return
        room = int(self._bound * KEPT)
        connection.execute(
            "DELETE FROM answers WHERE key IN (SELECT key FROM (SELECT key, SUM(LENGTH(value) + 100) OVER "
            "(ORDER BY used DESC, rowid DESC) AS newer FROM answers) WHERE newer > ?)",
            (room,),
        )
        connection.commit()
        connection.execute("PRAGMA incremental_vacuum").fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        """A connection whose changes are kept at the end; None where the cache must be done without."""
        connection = None
        try:
            connection = self._connected()
            yield connection
            connection.commit()
        except (sqlite3.OperationalError, OSError) as error:  # no room, no right, or too busy: the file itself is sound
            _log.warning("The score cache %s is done without: %s.", self.path, error)
            if connection is None:
                yield None
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            if connection is None:
                yield None
        finally:
            if connection is not None:
                connection.close()

    def _connected(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=WAIT)
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, sum BLOB, value TEXT, used INTEGER)")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _set_aside(self, error: Exception) -> None:
        """Rename a damaged file, so that the next use begins a new one."""
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        _log.warning("The score cache %s is damaged (%s) and is set aside as %s.", self.path, error, aside.name)
        for suffix in ("", "-wal", "-shm"):
            try:
                Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
            except OSError:  # another process has set it aside, or it has none
                continue


def _kept(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Any]:
    """Key -> value of those that are there and whole; marks them as used today."""
    today = int(time.time() // DAY)
    values: dict[bytes, Any] = {}
    stale: list[tuple[int, bytes]] = []
    for begin in range(0, len(keys), AT_ONCE):
        some = keys[begin : begin + AT_ONCE]
        marks = ", ".join("?" * len(some))
        for key, check, text, used in connection.execute(
            f"SELECT key, sum, value, used FROM answers WHERE key IN ({marks})", some
        ):
            if isinstance(text, str) and check == _check(key, text):
                values[key] = json.loads(text)
                if used != today:
                    stale.append((today, key))
    if stale:
        connection.executemany("UPDATE answers SET used = ? WHERE key = ?", stale)
    return values


def _size(connection: sqlite3.Connection) -> int:
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _PAGES)
    return int((pages - free) * size)


_PAGES = ("page_count", "freelist_count", "page_size")


def _digest(model: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps([__version__, model], sort_keys=True).encode()).hexdigest()


def _keys(model: str, request: Request) -> list[bytes]:
    """One key, or one for each sample of a text that is drawn."""
    verb, held = request.verb, request.input
    learned = hashlib.sha256(held.vectors.data).hexdigest() if held.vectors else ""
    learned += _layers_digest(held.prefixes, held.edits) if held.prefixes or held.edits else ""
    if isinstance(verb, Generate):
        drawn = verb.temperature > 0
        verb = verb if drawn else replace(verb, seed=0)
        asked = [(sample if drawn else 0, repr(replace(verb, n=1, known=0))) for sample in range(verb.known, verb.n)]
    else:
        asked = [(0, repr(verb))]
    return [
        hashlib.sha256(f"{model}\0{held.ids}\0{learned}\0{told}\0{sample}".encode("utf-8", "surrogatepass")).digest()
        for sample, told in asked
    ]


@lru_cache(maxsize=4)
def _layers_digest(prefixes: tuple[KVPrefix[Array], ...], edits: tuple[HiddenEdit[Array], ...]) -> str:
    """Of what stands in layers; a run asks it of every request, and all of them hold the same."""
    return hashlib.sha256(f"{prefixes}\0{edits}".encode()).hexdigest()


def without_known(request: Request, known: GenerateOutput) -> Request:
    """The request for those of its texts that are not known yet."""
    assert isinstance(request.verb, Generate)
    return replace(request, verb=replace(request.verb, known=len(known.generations)))


def merge_generations(known: GenerateOutput, output: Output) -> GenerateOutput:
    """The known texts and the further ones."""
    assert isinstance(output, GenerateOutput)
    return GenerateOutput(generations=known.generations + output.generations)


def _check(key: bytes, text: str) -> bytes:
    return hashlib.blake2b(key + text.encode(), digest_size=8).digest()


def _values(output: Output) -> list[Any]:
    """What is kept under each of a request's keys."""
    if isinstance(output, ScoreOutput):
        return [output.logprobs]
    if isinstance(output, ReadOutput):
        return [[output.logprobs, output.top, _packed(output.hidden)]]
    return [[text.ids, text.text, text.ended] for text in output.generations]


def _output(request: Request, values: Sequence[Any]) -> Output | None:
    """The answer that the values say, or None if they answer another question."""
    verb = request.verb
    try:
        if isinstance(verb, Score):
            logprobs = tuple(tuple(map(float, row)) for row in values[0])
            return ScoreOutput(logprobs=logprobs) if [*map(len, logprobs)] == [*map(len, verb.continuations)] else None
        if isinstance(verb, Read):
            told, top, hidden = values[0]
            return ReadOutput(logprobs=tuple(told), top=tuple((int(i), float(x)) for i, x in top), hidden=_unpacked(hidden))
        return GenerateOutput(
            generations=tuple(Generation(ids=tuple(ids), text=text, ended=ended) for ids, text, ended in values)
        )
    except (TypeError, ValueError, struct.error):
        return None


def _packed(numbers: Sequence[float]) -> str:
    """Numbers as float32, little-endian, in base64: a hidden state takes a quarter of what its digits would."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _unpacked(text: str) -> tuple[float, ...]:
    data = base64.b64decode(text, validate=True)
    return struct.unpack(f"<{len(data) // 4}f", data)
