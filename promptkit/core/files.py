"""Atomic file writes: after a crash a file has its old content or its new content, never a part of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from promptkit.core.errors import CheckpointError


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces the content of a file in one step, on disk before the function returns.

    Raises:
        OSError: The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    with partial.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


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
