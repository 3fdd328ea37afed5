"""Plans a run: the predictors and the rows that it evaluates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptkit.align.chain import Chain
from promptkit.collect.requirements import needs_of, uses_fit_part
from promptkit.core.examples import LabeledExample
from promptkit.core.model import Model
from promptkit.core.needs import Needs
from promptkit.core.output_reader import OutputReader
from promptkit.evaluation import checks
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.single_table import EvaluatedRows, evaluated_rows, number_of_folds, rows_of_run
from promptkit.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldPlan:
    """The rows of one fold and the rows that it is predicted from, or all rows of a run without folds."""

    number: int
    """The fold, from 1; 0 for a run without folds."""
    task: Task
    """The task with the fold as its evaluated split and the rows of the other folds as its train split."""
    split: Sequence[LabeledExample]
    """All rows of the fold, whose labels no fit may use."""
    rows: tuple[LabeledExample, ...]
    """The evaluated rows of the fold, in the run's order."""
    fit: tuple[LabeledExample, ...]
    """The rows of the fit part, if a calibration uses them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """One pass of a model over the rows of a task. All predictors use its outputs."""

    predictors: tuple[Predictor, ...]
    """The branches of the run."""
    task: Task
    split: str
    limit: int | None
    rows: tuple[LabeledExample, ...]
    """The evaluated rows, in the run's order."""
    folds: tuple[FoldPlan, ...]
    """The folds with evaluated rows; a single one for a run without folds."""
    of: int
    """Number of folds that the rows are divided into; 0 without folds."""
    needs: Needs
    """The needs of all calibrations and the needs that they require."""
    seen: frozenset[str] = frozenset()
    """The ids of the evaluated rows that a predictor was fitted on."""

    @property
    def predictor(self) -> Predictor:
        """The first predictor. All predictors share its model, manipulation and first aligner."""
        return self.predictors[0]

    @property
    def model(self) -> Model:
        """The model of all predictors."""
        return self.predictor.model

    @property
    def reader(self) -> OutputReader:
        """The first aligner of all predictors."""
        return self.predictor.reader

    @property
    def chains(self) -> tuple[Chain, ...]:
        """The aligners of each branch."""
        return tuple(predictor.chain for predictor in self.predictors)


def plan_run(
    predictors: Predictor | Sequence[Predictor],
    task: Task,
    *,
    split: str | None = None,
    limit: int | None = None,
    allow_seen: bool = False,
    folds: int | None = None,
) -> RunPlan:
    """Returns the plan of a run.

    Args:
        predictors: The branches, which must share their model, manipulation and first aligner.
        task: The task.
        split: The evaluated split; the task's default if None.
        limit: Evaluate only the rows with the smallest hash of id.
        allow_seen: Whether rows that a predictor was fitted on can be evaluated.
        folds: Number of folds, see `evaluate`.

    Raises:
        PromptkitError: If the predictors cannot be evaluated on the task.
    """
    branches = tuple(predictors) if isinstance(predictors, Sequence) else (predictors,)
    checks.check_predictors(branches)
    reader = branches[0].reader
    split = task.spec.split if split is None else split
    checks.check_task_kind(task, reader)
    needs = needs_of([predictor.chain for predictor in branches])
    evaluated = evaluated_rows(task, split, folds=folds, limit=limit, parts=branches[0].manipulate.parts)
    rows = rows_of_run(evaluated)
    plans = tuple(_plan_fold(each, split, needs) for each in evaluated if each.rows)
    for each in plans:
        checks.check_labels(task, reader.labels, [*each.rows, *each.fit])
        checks.check_calibrations(branches, evaluated=len(each.rows), fit=each.fit, split=each.split)
    return RunPlan(
        predictors=branches,
        task=task,
        split=split,
        limit=limit,
        rows=tuple(rows),
        folds=plans,
        of=number_of_folds(task, split, folds),
        needs=needs,
        seen=checks.seen_rows(branches, task, rows, allowed=allow_seen),
    )


def _plan_fold(evaluated: EvaluatedRows, split: str, needs: Needs) -> FoldPlan:
    """Returns the plan of a fold.

    Args:
        evaluated: The evaluated rows of the fold.
        split: The name of the split.
        needs: The needs of all calibrations.
    """
    task = evaluated.task
    fit = by_hash(task.part("fit"), None) if uses_fit_part(needs) else []
    return FoldPlan(number=evaluated.number, task=task, split=task.rows(split), rows=evaluated.rows, fit=tuple(fit))
