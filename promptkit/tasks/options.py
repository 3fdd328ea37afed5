"""The options for the source of a task's rows, on the command line and in study files."""

from __future__ import annotations

from pathlib import Path

from promptkit.tasks.strict_model import StrictModel


class DataOptions(StrictModel):
    """Where the rows of a task come from. All but `split` and `data` apply to data files, which have no task file."""

    split: str | None = None
    """Split to evaluate; by default the one that the task defines."""
    data: Path | None = None
    """Folder with a local mirror of the datasets; by default PROMPTKIT_DATA."""
    label_column: str | None = None
    """For a data file: column with the labels; by default `label`."""
    labels: str | None = None
    """For a data file: its labels in order, separated by commas; by default the values of the label column."""
    answer_column: str | None = None
    """For a data file with answers to generate: column with the correct answer."""
    train: Path | None = None
    """For a data file: file with the demonstrations; by default half of the rows, split by hash."""
