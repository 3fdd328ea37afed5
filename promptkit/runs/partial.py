"""Reads the records of a run that is not finished, without changing its files."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from promptkit.core.records import RowRecord
from promptkit.runs.files import parse_record


def partial_samples(folder: Path) -> list[RowRecord]:
    """Returns the records of evaluated rows so far; an incomplete last line is left out.

    Args:
        folder: The folder of the run.

    Raises:
        RunError: A line is damaged.
    """
    path = folder / "samples.jsonl"
    if not path.is_file():
        return []
    content = path.read_bytes()
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    return cast("list[RowRecord]", [parse_record(path, number, line) for number, line in enumerate(lines, start=1)])
