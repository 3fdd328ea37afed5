"""The options of an evaluation, which evaluations and the cells of studies share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from promptkit.config.answer import AnswerOptions
from promptkit.config.calibrations import CalibrationOptions
from promptkit.config.manipulations import ManipulationOptions
from promptkit.config.metrics import MetricOptions
from promptkit.config.model import EngineOptions, ModelOptions
from promptkit.config.options import Options
from promptkit.config.reasoning import ReasoningPromptOptions
from promptkit.config.task import RowOptions, TaskOptions
from promptkit.tasks.options import DataOptions
from promptkit.tasks.resolve import resolve_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from promptkit.core.examples import Part
    from promptkit.tasks.single_table import EvaluatedRows
    from promptkit.tasks.task import Task


class SelectedRows(TypedDict):
    """The keywords of `evaluate` that select the evaluated rows."""

    split: str | None
    limit: int | None
    folds: int | None
    allow_seen: bool


class EvalOptions(  # pydantic orders the fields from the last group to the first
    MetricOptions,
    RowOptions,
    DataOptions,
    CalibrationOptions,
    AnswerOptions,
    ManipulationOptions,
    ReasoningPromptOptions,
    EngineOptions,
    ModelOptions,
    TaskOptions,
    Options,
):
    """The options of an evaluation."""

    def default_shots(self) -> int:
        """Returns the number of demonstrations if it is not given: none with a learned prompt."""
        return 0 if self.prompt else super().default_shots()

    def evaluated_folds(self, task: Task, *, parts: tuple[Part, ...]) -> Sequence[EvaluatedRows]:
        """Returns the rows of the run, by fold."""
        from promptkit.tasks.single_table import evaluated_rows

        return evaluated_rows(task, self.split or task.spec.split, folds=self.folds, limit=self.limit, parts=parts)

    def selected_rows(self) -> SelectedRows:
        """Returns the keywords of `evaluate` that select the evaluated rows."""
        return {"split": self.split, "limit": self.limit, "folds": self.folds, "allow_seen": self.allow_seen}

    def load_task(self) -> Task:
        """Loads the task.

        Raises:
            PromptkitError: There is no such task, its data cannot be read, or an option does not apply to it.
        """
        return resolve_task(self.task, self, template=self.template)
