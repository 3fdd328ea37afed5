"""Evaluates baselines without a pretrained model on the rows of a run.

They are fitted on all labeled rows that a predictor can use: the parts pool and fit of the train split, without the rows whose
inputs are also evaluated. In a run with folds, each row is predicted from the rows of the other folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from promptkit.classical.baseline import AnyBaseline, Rows
from promptkit.classical.table import baselines_for
from promptkit.core.errors import PromptkitError, RunError
from promptkit.core.examples import LabeledExample
from promptkit.core.hashing import short_hash
from promptkit.core.metric_input import MetricInput
from promptkit.core.output_reader import OutputReader
from promptkit.core.records import record_head
from promptkit.core.version import __version__
from promptkit.evaluation.baseline_records import predicted_records
from promptkit.evaluation.plan import RunPlan
from promptkit.metrics.table import rounded_estimates
from promptkit.runs.baseline_files import (
    BaselineKind,
    BaselineRecord,
    metric_input,
    read_baselines,
    write_baselines,
    write_missing,
)
from promptkit.runs.baselines import BaselineResult, Baselines, count_predictions
from promptkit.runs.run import Run
from promptkit.tasks.task import Task, untested

OUTPUTS: Mapping[str, BaselineKind] = {
    "classification": "labels",
    "multi-label": "label_sets",
    "choice": "choices",
    "generation": "texts",
}
"""Kind of a task -> what its baselines predict."""
FORMAT = "5"
"""Changes if baselines are computed or stored in another way."""


class EvaluatedRun(Protocol):
    """What baselines need to know of a run."""

    @property
    def path(self) -> Path:
        """Its folder."""
        ...

    @property
    def split(self) -> str:
        """The evaluated split."""
        ...

    @property
    def folds(self) -> int:
        """The number of folds; 0 without folds."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """The ids of the evaluated rows, in the run's order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlannedRun:
    """A run whose rows are not answered yet."""

    path: Path
    split: str
    folds: int
    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Division:
    """Evaluated rows, and the rows that baselines are fitted on to predict them."""

    train: Rows
    evaluated: Rows
    fold: int
    """The number of the fold; 0 without folds."""


def with_baselines(run: Run, task: Task, reader: OutputReader) -> Run:
    """Returns a run with the results of baselines on its rows, which are also written into its folder.

    If the baselines cannot be fitted, such as for a task without train rows, the run has a note that says why.

    Args:
        run: The finished run.
        task: The task that was evaluated.
        reader: The first aligner of its branches, which judges free answers.
    """
    try:
        baselines = evaluate_baselines(run, task, reader)
    except PromptkitError as error:
        return missing_baselines(run, error)
    return run.with_baselines(baselines)


def prepare_baselines(plan: RunPlan, folder: Path) -> None:
    """Writes the results of baselines into the folder of a run before it is finished, where `with_baselines` finds them.

    An error is left to `with_baselines`.

    Args:
        plan: The run.
        folder: Its folder.
    """
    planned = _PlannedRun(path=folder, split=plan.split, folds=plan.of, ids=[row.id for row in plan.rows])
    with suppress(PromptkitError):
        evaluate_baselines(planned, plan.task, plan.reader)


def missing_baselines(run: Run, error: PromptkitError) -> Run:
    """Returns a run with a note that says why it has no baselines."""
    write_missing(run.path, str(error))
    return run.without_baselines(str(error))


def evaluate_baselines(run: EvaluatedRun, task: Task, reader: OutputReader) -> Baselines:
    """Returns the results of baselines on the rows of a run, and writes them into its folder.

    Args:
        run: The run.
        task: The task that was evaluated.
        reader: The first aligner of its branches, which judges free answers.

    Raises:
        PromptkitError: The task has no train rows, they cannot be read, or the data have changed since the run.
    """
    divisions, kind = _divide(run, task), OUTPUTS[task.spec.kind]
    baselines = baselines_for(task.spec)
    identity = _identity(divisions, baselines)
    known = read_baselines(run.path, identity)
    if known is not None:
        return known
    records = {
        record["id"]: cast("BaselineRecord", {**record_head(record["id"], division.fold), **record})
        for division in divisions
        for record in predicted_records(baselines, division.train, division.evaluated, task.spec, reader)
    }
    ordered = [records[row] for row in run.ids]
    rows = min(len(division.train) for division in divisions)
    results = tuple(_result(baseline, ordered, kind, task.labels, rows) for baseline in baselines)
    evaluated = Baselines(rows=rows, folds=run.folds, results=results)
    write_baselines(run.path, evaluated, ordered, identity=identity, kind=kind, labels=task.labels)
    return evaluated


def _divide(run: EvaluatedRun, task: Task) -> list[_Division]:
    """Returns the evaluated rows of each fold of a run, and the rows that its predictors can be fitted on."""
    rows = {row.id: row for row in (task.labeled_rows(run.split) if run.folds else task.rows(run.split))}
    if missing := [row for row in run.ids if row not in rows]:
        raise RunError(
            f"The data of the task {task.name} have changed since the run {run.path} was made",
            code="data-changed",
            got=f"no row {missing[0]}",
            hint="Evaluate it again",
            task=task.name,
            folder=str(run.path),
        )
    folds = {number: task.fold(number, run.folds, split=run.split) for number in range(1, run.folds + 1)} or {0: task}
    divisions = [_division(fold, number, run.split, [rows[row] for row in run.ids]) for number, fold in folds.items()]
    return [division for division in divisions if division.evaluated]


def _division(task: Task, fold: int, split: str, evaluated: Rows) -> _Division:
    """Returns the evaluated rows that belong to a split of a task, with the rows of its train split.

    Args:
        task: The task, or one fold of it.
        fold: The number of the fold; 0 without folds.
        split: The split.
        evaluated: The evaluated rows of all folds.
    """
    rows = task.rows(split)
    ids = {row.id for row in rows}
    train = untested([*task.part("pool"), *task.part("fit")], rows)
    if not train:
        raise task.no_rows_error("to fit baselines on", "pool")
    return _Division(train, [row for row in evaluated if row.id in ids], fold)


def _identity(divisions: Sequence[_Division], baselines: Sequence[AnyBaseline]) -> str:
    lines = [__version__, FORMAT, *(baseline.name for baseline in baselines)]
    for division in divisions:
        lines += sorted(map(_answer, division.train))
        lines += ["", *map(_answer, division.evaluated)]
    return short_hash("\n".join(lines))


def _answer(row: LabeledExample) -> str:
    return f"{row.id} {row.answers} {row.labels} {row.value}"


def _counts(inputs: MetricInput, predictions: Sequence[str]) -> dict[str, int]:
    """Returns how often each label or choice is predicted; nothing for free answers."""
    if inputs.kind == "label_sets":
        return dict(zip(inputs.labels, inputs.predicted_sets.sum(0).tolist(), strict=True))
    return {} if inputs.kind == "texts" else count_predictions(predictions, inputs.labels)


def _result(
    baseline: AnyBaseline, records: Sequence[BaselineRecord], kind: BaselineKind, labels: Sequence[str], rows: int
) -> BaselineResult:
    limit = f", {baseline.max_rows} of these rows" if baseline.max_rows is not None and baseline.max_rows < rows else ""
    inputs = metric_input(records, baseline.name, kind, labels)
    predictions = tuple(record["predictions"][baseline.name] for record in records)
    return BaselineResult(
        name=baseline.name,
        description=baseline.description + limit,
        metrics=rounded_estimates(inputs),
        predicted=_counts(inputs, predictions),
        predictions=predictions,
        metric_input=inputs,
    )
