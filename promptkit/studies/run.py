"""Evaluates a grid of predictors over one task.

Cells with equal settings are one run, finished runs are read, and a cell that fails does not stop the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from promptkit.core.arguments import check_arguments
from promptkit.core.errors import PromptkitError, RunError
from promptkit.core.paths import OUT
from promptkit.display.table import Plain
from promptkit.evaluation.evaluate import evaluate
from promptkit.studies.cells import Failure
from promptkit.studies.grid import check_parameters, dimensions, format_values
from promptkit.studies.progress import NotebookBar, Progress, StudyProgress, in_notebook
from promptkit.studies.state import Build, GridState
from promptkit.studies.study import Study
from promptkit.tasks.task import Task

_log = logging.getLogger(__name__)


@check_arguments("study")
def study(
    build: Build,
    task: Task,
    /,
    *,
    out: str | Path = OUT,
    split: str | None = None,
    limit: int | None = None,
    allow_seen: bool = False,
    folds: int | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    **grid: object,
) -> Study:
    """Evaluates `build(**values)` for every combination of the values of a grid.

    Cells with equal settings are one run. Finished runs are read, an interrupted run continues, and prompts that cells share
    are sent to the model once. A cell that fails does not stop the others: it is logged as a warning and listed in `failures`.

    Args:
        build: A function that returns a predictor, or several that share a pass over the model; these then form one more
            dimension, `align`.
        task: The task.
        out: The folder of the runs.
        split: The split to evaluate; that of the task by default.
        limit: The number of items to evaluate; all by default.
        allow_seen: Whether to evaluate rows that the predictors were fitted on; the figures are then marked.
        folds: The number of folds, as for `evaluate`.
        cache: Whether to reuse answers of the model from the score cache.
        progress: Called with a `StudyProgress`; a notebook shows a progress bar by default.
        grid: Dimension -> its values. A list, a range or another iterable is a dimension; a text, a number or a mapping is a
            constant.

    Raises:
        InputError: If the grid does not fit the parameters of `build`.
        RunError: If all cells fail.
    """
    result = evaluate_grid(
        build, task, grid, out=out, split=split, limit=limit, folds=folds, allow_seen=allow_seen, cache=cache, progress=progress
    )
    if result.failures:
        _log.warning("%s", result.failure_summary)
    return result


def evaluate_grid(
    build: Build,
    task: Task,
    grid: Mapping[str, object],
    *,
    out: str | Path = OUT,
    split: str | None = None,
    limit: int | None = None,
    allow_seen: bool = False,
    folds: int | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> Study:
    """Evaluates a grid as `study` does, but does not log cells that fail."""
    values = dimensions(grid)
    check_parameters(build, values)
    report = progress or (NotebookBar() if in_notebook() else lambda progress: None)
    state = GridState(build, task, task.spec.split if split is None else split, limit, values)
    runs = state.runs_to_do()
    for number, (key, cell) in enumerate(runs.items()):
        report_rows = _row_reporter(report, number, len(runs), cell.values, state.study())
        report_rows(0, 0)
        try:
            state.runs[key] = evaluate(
                cell.predictors,
                task,
                split=split,
                limit=limit,
                folds=folds,
                allow_seen=allow_seen,
                out=out,
                cache=cache,
                progress=report_rows,
            )
        except PromptkitError as error:
            state.reasons[key] = str(error)
    result = state.study()
    report(StudyProgress(done=len(runs), total=len(runs), values={}, study=result))
    if result is None:
        raise _all_failed(state.failures())
    return result


def _all_failed(failures: Sequence[Failure]) -> RunError:
    return RunError(
        f"Every cell of the study failed. The first error, with {format_values(failures[0].values)}: {failures[0].reason}",
        code="all-cells-failed",
        failures=len(failures),
        reason=failures[0].reason,
    )


def _row_reporter(
    report: Progress, run: int, runs: int, values: Mapping[str, Plain], evaluated: Study | None
) -> Callable[[int, int], None]:
    """Returns a function that reports how many rows of a run are done."""

    def report_rows(done: int, total: int) -> None:
        report(StudyProgress(done=run, total=runs, values=values, rows=(done, total), study=evaluated))

    return report_rows
