"""Hashes of large files, kept on disk, so that an unchanged file is read only once.

A file counts as unchanged if its path, size, inode and times of modification and of change are the same. A file that was
changed less than two seconds before it was hashed is hashed again, since another change could have had the same times.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from promptkit.core.files import write_atomically
from promptkit.core.hashing import file_sha256_hex, short_hash
from promptkit.core.paths import cache_folder

FOLDER = "hashes"
"""The folder of the hashes in the cache folder."""
SMALL = 2**20
"""Smaller files are always read, in bytes."""
SETTLED = 2.0
"""Seconds after its last change from which the hash of a file is kept."""


def known_sha256_hex(path: Path) -> str:
    """Returns the SHA-256 of a file's content in hexadecimal, from the cache folder if the file has not changed.

    Raises:
        OSError: The file cannot be read.
    """
    status = path.stat()
    if status.st_size < SMALL:
        return file_sha256_hex(path)
    place = str(path.resolve())
    now, key = time.time(), [place, status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
    entry = cache_folder() / FOLDER / f"{short_hash(place)}.json"
    try:
        stored = json.loads(entry.read_text("utf-8"))
        if stored["file"] == key and isinstance(stored["sha256"], str):
            return str(stored["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = file_sha256_hex(path)
    if now - max(status.st_mtime, status.st_ctime) > SETTLED and _unchanged(path, status):
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(entry, json.dumps({"file": key, "sha256": found}).encode())
        except OSError:
            pass  # the file is hashed again the next time
    return found


def _unchanged(path: Path, status: os.stat_result) -> bool:
    """Returns whether a file is the same as before it was read."""
    after = path.stat()
    return (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
