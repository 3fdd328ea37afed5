"""One branch of a finished run, or a baseline on its rows, for comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from promptkit.core.errors import RunError, unknown
from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Metric
from promptkit.runs.baselines import BaselineResult
from promptkit.runs.result import Result
from promptkit.runs.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The prediction of a branch for one row."""

    row_id: str | None = None
    """The row's id in the column that the user named."""
    gold: str
    predicted: str | None
    """None if the row has no answer."""
    correct: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The predictions of one branch of a finished run."""

    name: str
    align: str
    """Its name in the run, such as `contextual`."""
    task: str
    split: str
    rows: Mapping[str, Prediction]
    """Row id -> prediction."""
    metric_input: MetricInput
    """The input of its metrics, in the order of `rows`."""
    requested: tuple[Metric, ...] = ()
    """The metrics that were requested in its run."""
    seen_rows: int = 0
    """Number of the run's rows that its predictors were fitted on."""


def locate(spelling: str) -> tuple[Path, str | None]:
    """Returns the folder and the branch that RUN or RUN:BRANCH names; the branch is None if only a run is named.

    Raises:
        RunError: If there is no such folder (`no-such-folder`).
    """
    path = Path(spelling)
    if path.is_dir():
        return path, None
    for index in (index for index, character in enumerate(spelling) if character == ":"):
        path = Path(spelling[:index])
        if path.is_dir():
            return path, spelling[index + 1 :]
    raise RunError(
        f"There is no run folder {spelling}",
        code="no-such-folder",
        hint="Use a folder that promptkit eval printed, or RUN:BRANCH",
        folder=spelling,
    )


def read_branch(path: Path, branch: str | None, *, name: str) -> Branch:
    """Returns a branch of a finished run, or a baseline without a model that was evaluated on its rows.

    Args:
        path: Folder of the run.
        branch: Name of the branch, such as `contextual`, or of the baseline, such as `tfidf`; the run's first branch if None.
        name: The name that the result gets.

    Raises:
        InputError: If the run has no such branch.
        RunError: If the folder contains no finished run.
    """
    return branch_of(Run.load(path), branch, name=name)


def branch_of(run: Run, branch: str | None, *, name: str) -> Branch:
    """Returns a branch of a run; see `read_branch`."""
    results: dict[str, Result | BaselineResult] = {result.align: result for result in run.results}
    chosen = next(iter(results)) if branch is None else branch
    baselines = {} if run.baselines is None else {result.name: result for result in run.baselines.results}
    found = results.get(chosen) or baselines.get(chosen)
    if found is None:
        raise unknown(f"branch of the run {run.path}", chosen, results)
    answers = zip(run.evaluated, found.predictions, found.metric_input.correct, strict=True)
    return Branch(
        name=name,
        align=chosen,
        task=run.task,
        split=run.split,
        rows={
            row.id: Prediction(row_id=row.row_id, gold=row.gold, predicted=answer, correct=bool(right))
            for row, answer, right in answers
        },
        metric_input=found.metric_input,
        requested=run.results[0].requested,
        seen_rows=run.seen_rows if chosen in results else 0,
    )
