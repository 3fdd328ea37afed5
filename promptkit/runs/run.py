"""Finished runs as objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from promptkit.core.arguments import check_arguments
from promptkit.core.reporting import write_report
from promptkit.display.in_blocks import for_terminal
from promptkit.display.notes import note_lines
from promptkit.display.table import to_dataframe
from promptkit.display.text_table import as_text
from promptkit.runs.load import read_run
from promptkit.runs.run_data import RunData
from promptkit.runs.run_rows import RunRow, run_rows
from promptkit.runs.run_table import run_table

if TYPE_CHECKING:
    from pandas import DataFrame


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

    @property
    def rows(self) -> list[RunRow]:
        """The rows with the prediction and the probabilities of each branch, in the run's order."""
        return [*run_rows(self)]

    def to_pandas(self) -> DataFrame:
        """Returns the rows as a pandas DataFrame.

        The columns are the id, the own id if a column of ids was named, the inputs, the gold answer, and for each branch its
        prediction, whether it is correct, and the probability of each label, such as `batch p(positive)`. A run with a single
        branch has the columns `prediction`, `correct` and `p(positive)`.

        Raises:
            MissingPackage: pandas is not installed.
        """
        names = [result.align for result in self.results]
        prefixes = {name: f"{name} " if len(names) > 1 else "" for name in names}
        return to_dataframe([row.columns(prefixes) for row in run_rows(self)])

    @check_arguments("Run.report")
    def report(self, path: str | Path, *, text: bool = True) -> Path:
        """Writes an HTML page with the figures and the rows of the run, from the files in its folder.

        Args:
            path: The file to write.
            text: Whether the page contains the texts of the data, of prompts and of generated answers.

        Returns:
            The path of the file.

        Raises:
            RunError: A file of the run is missing or was changed.
            MissingPackage: The package that draws charts is not installed.
        """
        return write_report(self.path, path, text=text)

    def __str__(self) -> str:
        return "\n".join([as_text(for_terminal(run_table(self))), *note_lines(self.notes)])

    __repr__ = __str__
