"""Writes reports for packages below `promptkit.reports`, such as runs, which may not import it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

_MODULE = "promptkit.reports.report"


class _ReportModule(Protocol):
    """The part of the module `promptkit.reports.report` that is used here."""

    def report(self, folders: Sequence[str | Path], path: str | Path, *, text: bool) -> Path:
        """Writes a report; see `pk.report`."""
        ...


def write_report(folder: Path, path: str | Path, *, text: bool) -> Path:
    """Writes the report of a folder with a result.

    Args:
        folder: The folder of a run, a study, tuning or a training run.
        path: The file to write.
        text: Whether the page contains the texts of the data.

    Returns:
        The path of the file.
    """
    return cast("_ReportModule", import_module(_MODULE)).report([folder], path, text=text)
