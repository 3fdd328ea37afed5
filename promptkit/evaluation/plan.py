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
from promptkit.evaluation.results import RunTitle
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task


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
    fit: tuple[LabeledExample, ...]
    """The rows of the fit part, if a calibration uses them."""
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

    @property
    def title(self) -> RunTitle:
        """The contents of the run's summary that are known before its results."""
        return {"task": self.task.name, "split": self.split, "n": len(self.rows), "model": self.model.name}


def plan_run(
    predictors: Predictor | Sequence[Predictor],
    task: Task,
    *,
    split: str | None = None,
    limit: int | None = None,
    allow_seen: bool = False,
) -> RunPlan:
    """Returns the plan of a run.

    Args:
        predictors: The branches, which must share their model, manipulation and first aligner.
        task: The task.
        split: The evaluated split; the task's default if None.
        limit: Evaluate only the rows with the smallest hash of id.
        allow_seen: Whether rows that a predictor was fitted on can be evaluated.

    Raises:
        PromptkitError: If the predictors cannot be evaluated on the task.
    """
    branches = tuple(predictors) if isinstance(predictors, Sequence) else (predictors,)
    checks.check_predictors(branches)
    reader = branches[0].reader
    split = task.spec.split if split is None else split
    rows = by_hash(task.rows(split), limit)
    needs = needs_of([predictor.chain for predictor in branches])
    fit = by_hash(task.part("fit"), None) if uses_fit_part(needs) else []
    checks.check_task_kind(task, reader)
    checks.check_labels(task, reader.labels, [*rows, *fit])
    checks.check_calibrations(branches, evaluated=len(rows), fit=fit, split=task.rows(split))
    seen = checks.seen_rows(branches, task, rows, allowed=allow_seen)
    return RunPlan(
        predictors=branches, task=task, split=split, limit=limit, rows=tuple(rows), fit=tuple(fit), needs=needs, seen=seen
    )
