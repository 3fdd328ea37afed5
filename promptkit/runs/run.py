"""Finished runs as objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from promptkit.core.arguments import check_arguments
from promptkit.display.text_table import as_text
from promptkit.runs.load import read_run
from promptkit.runs.run_data import RunData
from promptkit.runs.run_table import run_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(RunData):
    """A finished run: its rows, results and notes. `print(run)` shows a table of its metrics and the notes."""

    @classmethod
    @check_arguments("Run.load")
    def load(cls, folder: str | Path) -> Self:
        """Reads a finished run from its files. Neither the task nor the model is needed.

        Args:
            folder: The folder of the run.

        Raises:
            RunError: The folder contains no finished run, or one of its files is missing or was changed.
        """
        return read_run(cls, folder)

    def __str__(self) -> str:
        return "\n".join([as_text(run_table(self)), *(f"note: {note}" for note in self.notes)])

    __repr__ = __str__
