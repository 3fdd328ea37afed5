"""Atomic file writes, and locks of files.

After a crash a file has its old content or its new content, never a part of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.core.errors import CheckpointError, PromptkitError
from promptkit.core.hashing import Hasher

if TYPE_CHECKING:
    from filelock import BaseFileLock


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces the content of a file in one step, on disk before the function returns.

    Raises:
        OSError: The file cannot be written.
    """
    write_pieces(path, [content])


def write_pieces(path: Path, pieces: Iterable[bytes]) -> str:
    """Replaces the content of a file in one step with pieces that need not fit into memory together.

    Args:
        path: The file.
        pieces: The pieces of its content, in order.

    Returns:
        The SHA-256 of the content, in hexadecimal.

    Raises:
        OSError: The file cannot be written.
    """
    partial, hasher = path.with_name(f".{path.name}.part"), Hasher()
    with partial.open("wb") as stream:
        for piece in pieces:
            stream.write(piece)
            hasher.update(piece)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
    return hasher.hexdigest()


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files (name -> content) into a folder, each atomically. The folder is created if necessary.

    Raises:
        CheckpointError: The folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomically(folder / name, content)
    except OSError as error:
        raise CheckpointError(
            f"The folder {folder} cannot be written to: {error.strerror}",
            code="cannot-write",
            hint="Give another folder",
            folder=str(folder),
            reason=error.strerror,
        ) from None


def acquire_lock(path: Path, error: PromptkitError) -> BaseFileLock:
    """Locks a file for this process and returns the lock, which must be released.

    Args:
        path: The lock file, which is created if necessary.
        error: The error for a file that is locked by another process.

    Raises:
        PromptkitError: Another process has locked the file.
        OSError: The lock file cannot be created.
    """
    import filelock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise error from None
    return lock
