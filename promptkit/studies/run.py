"""Evaluates a grid of predictors over one task or several.

Cells with equal settings are one run, finished runs are read, and a cell that fails does not stop the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError, PromptkitError, RunError
from promptkit.core.paths import OUT
from promptkit.display.progress import Display, Progress, state_reporter
from promptkit.display.table import Plain
from promptkit.evaluation.evaluate import evaluate
from promptkit.metrics.requested import MetricLike
from promptkit.studies.cells import TASK, Failure, StudiedTask
from promptkit.studies.folder import write_study
from promptkit.studies.grid import check_parameters, dimensions, format_values, is_collection
from promptkit.studies.progress import StudyProgress, shown_by_default
from promptkit.studies.state import Build, GridState
from promptkit.studies.study import Study
from promptkit.tasks.load import task as load_task
from promptkit.tasks.task import Task

_log = logging.getLogger(__name__)


@check_arguments("study")
def study(
    build: Build,
    task: Task | None = None,
    /,
    *,
    out: str | Path = OUT,
    split: str | None = None,
    limit: int | None = None,
    allow_seen: bool = False,
    folds: int | None = None,
    metrics: Sequence[MetricLike] | MetricLike | None = None,
    cache: bool = True,
    progress: Progress | Display[StudyProgress] | Literal[False] | None = None,
    **grid: object,
) -> Study:
    """Evaluates `build(**values)` for every combination of the values of a grid.

    Cells with equal settings are one run. Finished runs are read, an interrupted run continues, and prompts that cells share
    are sent to the model once. A cell that fails does not stop the others: it is logged as a warning and listed in `failures`.

    Several tasks are the dimension `task` of the grid, whose values `build` gets as `pk.Task`. If several models are used, the
    cells of a model are evaluated one after the other, and only one model is in memory at a time.

    Args:
        build: A function that returns a predictor, or several that share a pass over the model; these then form one more
            dimension, `align`.
        task: The task; None if the grid has the dimension `task`.
        out: The folder of the runs.
        split: The split to evaluate; that of the task by default.
        limit: The number of items of each task to evaluate; all by default.
        allow_seen: Whether to evaluate rows that the predictors were fitted on; the figures are then marked.
        folds: The number of folds, as for `evaluate`.
        metrics: Metrics besides the default ones, as for `evaluate`; the first is the one that tables show by default.
        cache: Whether to reuse answers of the model from the score cache.
        progress: Called with the number of finished runs and of all runs, also while a run is evaluated, or a `Display` of
            `StudyProgress`; False shows nothing. By default a bar, or without a terminal a line every 30 seconds, is shown.
        grid: Dimension -> its values. A list, a range or another iterable is a dimension; a text, a number or a mapping is a
            constant. The values of `task` are tasks, or what `pk.task` loads them from.

    Raises:
        InputError: If the grid does not fit the parameters of `build`.
        RunError: If all cells fail.
    """
    result = evaluate_grid(
        build,
        grid,
        task=task,
        out=out,
        split=split,
        limit=limit,
        folds=folds,
        allow_seen=allow_seen,
        metrics=metrics,
        cache=cache,
        progress=progress,
    )
    if result.failures:
        _log.warning("%s", result.failure_summary)
    return result


def evaluate_grid(
    build: Build,
    grid: Mapping[str, object],
    *,
    task: Task | None = None,
    out: str | Path = OUT,
    split: str | None = None,
    limit: int | None = None,
    allow_seen: bool = False,
    folds: int | None = None,
    metrics: Sequence[MetricLike] | MetricLike | None = None,
    cache: bool = True,
    progress: Progress | Display[StudyProgress] | Literal[False] | None = None,
) -> Study:
    """Evaluates a grid as `study` does, but does not log cells that fail."""
    tasks, grid = _tasks_of(task, grid)
    values = dimensions(grid)
    check_parameters(build, values)
    report = state_reporter(shown_by_default() if progress is None else progress)
    studied = [StudiedTask.of(each, each.spec.split if split is None else split) for each in tasks]
    state = GridState(build, studied, limit, values)
    runs = state.runs_to_do()
    for number, (key, cell) in enumerate(runs.items()):
        state.switch_model(cell)
        report_rows = _row_reporter(report, number, len(runs), cell.values, state.study())
        report_rows(0, 0)
        try:
            state.runs[key] = evaluate(
                cell.predictors,
                cell.studied.task,
                split=split,
                limit=limit,
                folds=folds,
                allow_seen=allow_seen,
                baselines=False,  # a study has its own
                metrics=metrics,
                out=out,
                cache=cache,
                progress=report_rows,
            )
        except PromptkitError as error:
            state.reasons[key] = str(error)
    state.switch_model(None)
    result = state.study()
    report(StudyProgress(done=len(runs), total=len(runs), values={}, study=result))
    if result is None:
        raise _all_failed(state.failures())
    write_study(result)
    return result


def _tasks_of(task: Task | None, grid: Mapping[str, object]) -> tuple[list[Task], Mapping[str, object]]:
    """Returns the tasks of a study, and the grid with tasks as the values of its dimension `task`, if it has one."""
    if (task is None) is (TASK not in grid):
        raise InputError(
            "A study needs a task" if task is None else "The task of a study is given twice",
            code="missing-task" if task is None else "duplicate-task",
            hint="Write pk.study(build, task, k=[0, 4]), or pk.study(build, task=[task, other], k=[0, 4])",
            dimensions=tuple(grid),
        )
    if task is not None:
        return [task], grid
    given = grid[TASK]
    values = list(given) if is_collection(given) and not isinstance(given, Task) else [given]
    tasks = [value if isinstance(value, Task) else load_task(value) for value in values]
    return tasks, {**grid, TASK: tasks}


def _all_failed(failures: Sequence[Failure]) -> RunError:
    return RunError(
        f"Every cell of the study failed. The first error, with {format_values(failures[0].values)}: {failures[0].reason}",
        code="all-cells-failed",
        failures=len(failures),
        reason=failures[0].reason,
    )


def _row_reporter(
    report: Callable[[StudyProgress], None], run: int, runs: int, values: Mapping[str, Plain], evaluated: Study | None
) -> Callable[[int, int], None]:
    """Returns a function that reports how many rows of a run are done."""

    def report_rows(done: int, total: int) -> None:
        report(StudyProgress(done=run, total=runs, values=values, rows=(done, total), study=evaluated))

    return report_rows
