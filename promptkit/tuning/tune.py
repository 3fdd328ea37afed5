"""Tunes: labeled rows in, the best manipulation and alignment out, with an honest estimate of its quality."""

from __future__ import annotations

from pathlib import Path

from promptkit.models.cache import ScoreCache
from promptkit.tuning.execution import Execution
from promptkit.tuning.folder import TUNED, TuningFolder
from promptkit.tuning.result import Tuned
from promptkit.tuning.rows import check_rows
from promptkit.tuning.tuning import Progress, Tuning


def tune_space(tuning: Tuning, *, out: str | Path = TUNED, cache: bool = True, progress: Progress | None = None) -> Tuned:
    """Finds the best candidate of a space, or reads the result if it was found before.

    An interrupted run continues, with the rest of its budget. After Ctrl-C, the folder contains the best predictor so far.

    Args:
        tuning: What is tuned.
        out: The folder of tuning runs.
        cache: Whether to take answers from the score cache and to add new ones.
        progress: Called after each block of rows, and in the first one after each prompt.

    Raises:
        TaskError: Candidates cannot be compared on the rows.
        PromptkitError: A model fails, or the folder cannot be used.
    """
    check_rows(tuning.task, tuning.rows)
    folder = TuningFolder(out, tuning.task.name, tuning.identity())
    with folder.locked():
        if not folder.is_finished():
            Execution(tuning, folder, ScoreCache() if cache else None, progress or _ignore).run()
    return Tuned.load(folder.path)


def _ignore(progress: object) -> None:
    pass
