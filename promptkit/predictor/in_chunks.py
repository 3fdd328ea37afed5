"""Predicts rows of any container in chunks, and reports how many rows are done."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from promptkit.display.progress import Progress, reporting
from promptkit.predictor.columns import Columns
from promptkit.predictor.predictions import Predictions
from promptkit.predictor.session import Session, read_rows
from promptkit.predictor.tables import chunks, rows_of

CHUNK = 1024
"""The number of rows that are predicted together."""


def predict_in_chunks(
    session: Session, columns: Columns, rows: object, progress: Progress | Literal[False] | None
) -> list[Predictions]:
    """Returns the predictions of each chunk of rows.

    Args:
        session: Predicts the rows of a chunk.
        columns: The columns that are read.
        rows: The rows, as for `Predictor.predict`.
        progress: Called with the number of finished rows and of all rows; False shows nothing. By default the progress is
            shown, unless there is only one row.

    Raises:
        PromptkitError: These are not rows, or the model fails.
    """
    given = rows if isinstance(rows, Sequence) else [*rows_of(rows, columns)]
    total = len(given)
    parts: list[Predictions] = []
    with reporting(False if progress is None and total < 2 else progress) as report:
        done = 0
        for chunk in chunks(rows_of(given, columns), CHUNK):
            examples = read_rows(columns, chunk, done + 1, Path())
            parts.append(session.predict(examples, partial(_report_chunk, report, done, total)))
            done += len(chunk)
            report(done, total)
    return parts


def _report_chunk(report: Progress, before: int, total: int, done: int, _: int) -> None:
    """Reports the number of finished rows of a chunk as a part of all rows."""
    report(before + done, total)
