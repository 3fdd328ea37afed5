"""Reads and writes the JSON files of run folders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from promptkit.core.caller import setting
from promptkit.core.errors import RunError, json_reason

REPEAT = "repeat the command that created the run (such as promptkit eval)"
"""The advice of error messages about an incomplete or damaged run."""


def to_line(value: Mapping[str, object]) -> str:
    """Returns JSON on one line, without a line break at its end."""
    return json.dumps(value, ensure_ascii=True, separators=(", ", ": "))


def to_file(value: Mapping[str, object]) -> bytes:
    """Returns JSON as the indented contents of a file."""
    return (json.dumps(value, ensure_ascii=True, indent=1) + "\n").encode()


def read_json(path: Path) -> object:
    """Returns the value in a JSON file, or None if there is no such file.

    Raises:
        RunError: If the file is not JSON (`damaged-file`).
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from None


def parse_record(path: Path, number: int, line: bytes) -> dict[str, object]:
    """Returns the record on a line of a `.jsonl` file.

    Raises:
        RunError: If the line is not a JSON object with a text as its `id` (`damaged-line`).
    """
    try:
        value = json.loads(line)
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            return value
        reason = "it is not a row of a run"
    except (ValueError, RecursionError) as error:
        reason = json_reason(error)
    raise RunError(
        f"{path} is damaged at line {number}: {reason}",
        code="damaged-line",
        hint=f"Delete that line and {REPEAT}: the other lines are kept",
        file=str(path),
        line=number,
    )


def damaged(path: Path, reason: str) -> RunError:
    """Returns the error for a file of a run that cannot be read."""
    return RunError(
        f"{path} is damaged: {reason}",
        code="damaged-file",
        hint=f"Delete that file and {REPEAT}, which writes it again and keeps the rows",
        file=str(path),
    )


@contextmanager
def expect(path: Path, contents: str) -> Iterator[None]:
    """Reports a file as damaged if the code in the block finds that its values are missing or of the wrong type.

    Args:
        path: The file.
        contents: What the file should contain, such as `the settings of a run`.

    Raises:
        RunError: With the code `damaged-file`.
    """
    try:
        yield
    except (TypeError, LookupError, AttributeError):
        raise damaged(path, f"it does not contain {contents}") from None


@contextmanager
def writing(folder: Path, noun: str) -> Iterator[None]:
    """Reports a folder as not writable if the code in the block cannot write it.

    Args:
        folder: The folder.
        noun: What it is called in the message, such as `run folder`.

    Raises:
        RunError: With the code `cannot-write`.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"The {noun} {folder} cannot be written: {error.strerror or error}",
            code="cannot-write",
            hint=f"Existing files are kept: fix the cause and try again, or choose another {setting('out')}",
            folder=str(folder),
            reason=error.strerror or str(error),
        ) from None
