"""The evaluated cells of a study: access to them by the values of their dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Self

from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError, unknown
from promptkit.display.table import Plain, text_of
from promptkit.runs.result import Result
from promptkit.runs.run import Run
from promptkit.studies.grid import format_values, is_collection, plain_value
from promptkit.tasks.task import Task

TASK = "task"
"""The dimension of tasks, over which figures are macro averages: the mean of the figures of each task."""
SEED = "seed"
"""The dimension of random seeds, whose values are a sample of all possible ones."""
MAX_REASONS = 3
"""The most different reasons of failed cells that a summary lists."""

Names = str | Sequence[str]
"""The name of one dimension, or of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One evaluated combination of a study's values."""

    values: Mapping[str, Plain]
    """Dimension -> value."""
    run: Run
    """The run with the cell's results; cells with equal settings share a run."""
    result: Result
    """The cell's results: one chain of aligners of the run."""

    @property
    def task(self) -> str:
        """The name of its task."""
        return self.run.task


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A combination of values that could not be evaluated."""

    values: Mapping[str, Plain]
    """Dimension -> value."""
    reason: str
    """The message of the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudiedTask:
    """A task of a study."""

    name: str
    split: str
    """The split that is evaluated."""
    loaded: Task | None = None
    """The task; None in a study that was read from its folder, which contains results only."""

    @classmethod
    def of(cls, task: Task, split: str) -> Self:
        """Returns a task that is evaluated on a split."""
        return cls(name=task.name, split=split, loaded=task)

    @property
    def task(self) -> Task:
        """The task.

        Raises:
            InputError: The study was read from its folder.
        """
        if self.loaded is None:
            raise InputError(
                f"The task {self.name} is not known to a study that was read from its folder",
                code="no-task",
                hint="Run the study again: finished runs are read",
                task=self.name,
            )
        return self.loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedGrid:
    """The cells of a study; the cells of one task are evaluated on the same items."""

    tasks: tuple[StudiedTask, ...]
    """The tasks, in the order in which they were given."""
    limit: int | None
    """The limit on the number of items of each task; None for all items."""
    dimensions: Mapping[str, tuple[Plain, ...]]
    """Dimension -> its values, in the order in which they were given; `align` comes last, if predictors share a pass."""
    cells: tuple[Cell, ...]
    """The cells that were evaluated, in the order of their values."""
    failures: tuple[Failure, ...] = ()
    """The cells that could not be evaluated."""
    seconds: float = 0.0
    """Wall time of the study."""

    @property
    def task(self) -> Task:
        """The task of the study.

        Raises:
            InputError: If the study has several tasks.
        """
        self.check_one_task("The task of a study")
        return self.tasks[0].task

    @property
    def split(self) -> str:
        """The split that is evaluated; several are separated by commas."""
        return ", ".join(dict.fromkeys(each.split for each in self.tasks))

    @property
    def items(self) -> dict[str, int]:
        """The number of items by task, for the tasks with evaluated cells."""
        return {cell.task: len(cell.run.ids) for cell in self.cells}

    @property
    def n(self) -> int:
        """The number of items of all tasks."""
        return sum(self.items.values())

    @property
    def title(self) -> str:
        """Tasks, split, numbers of items and models."""
        models = list(dict.fromkeys(cell.run.model for cell in self.cells))
        model = models[0] if len(models) == 1 else f"{len(models)} models"
        seen = max(cell.run.seen_rows for cell in self.cells)
        rows = " + ".join(map(str, self.items.values()))
        rows = f"{rows} rows" + (f", up to {seen} of them used for fitting" if seen else "")
        return f"{', '.join(self.items)} · {self.split} · {rows} · {model}"

    def check_one_task(self, what: str) -> None:
        """Raises InputError if the study has several tasks, whose items cannot be pooled.

        Args:
            what: What needs a single task, as the subject of the message.
        """
        if len(self.tasks) > 1:
            names = tuple(each.name for each in self.tasks)
            raise InputError(
                f"{what} needs one task, because rows of different tasks are never pooled",
                code="several-tasks",
                got=", ".join(names),
                hint=f"Select one with where(task={names[0]!r})",
                tasks=names,
            )

    @property
    def failure_summary(self) -> str:
        """Which cells could not be evaluated and why, in one paragraph; empty if all could."""
        if not self.failures:
            return ""
        by_reason: dict[str, list[Failure]] = {}
        for failure in self.failures:
            by_reason.setdefault(failure.reason, []).append(failure)
        reasons = [
            f"{format_values(failed[0].values)}{f' and {len(failed) - 1} more' if len(failed) > 1 else ''}: {reason}"
            for reason, failed in by_reason.items()
        ]
        remainder = f" And {len(reasons) - MAX_REASONS} other reasons." if len(reasons) > MAX_REASONS else ""
        count = len(self.failures)
        subject = "A cell of the study failed and is" if count == 1 else f"{count} cells of the study failed and are"
        return f"{subject} left out: {' '.join(reasons[:MAX_REASONS])}{remainder}"

    def where(self, **values: object) -> Self:
        """Returns the part of the study with certain values, such as `where(demos="random", k=[2, 4])`.

        Args:
            values: Dimension -> one value, or a list of values; dimensions that are not named keep all their values.

        Raises:
            InputError: If a dimension or a value is not part of the study, or no such cell was evaluated.
        """
        selected = {
            name: {text_of(plain_value(value)) for value in _as_values(value_or_values)}
            for name, value_or_values in values.items()
        }
        for name, texts in selected.items():
            self.check(name)
            known = list(map(text_of, self.dimensions[name]))
            unknown_texts = sorted(texts - set(known))
            if unknown_texts:
                raise unknown(f"value of {name} in the study", unknown_texts[0], known)
        dimensions = {
            name: tuple(value for value in known if name not in selected or text_of(value) in selected[name])
            for name, known in self.dimensions.items()
        }
        cells = tuple(cell for cell in self.cells if all(cell.values[name] in dimensions[name] for name in dimensions))
        tasks = tuple(each for each in self.tasks if each.name in dimensions.get(TASK, (each.name,)))
        if not cells:
            got = format_values({name: str(value) for name, value in values.items()})
            raise InputError("No cell with these values was evaluated", code="no-such-cell", got=got, values=got)
        return replace(self, tasks=tasks, dimensions=dimensions, cells=cells)

    @check_arguments("Study.check")
    def check(self, *names: str) -> None:
        """Raises InputError for a name that is not a dimension of the study."""
        for name in names:
            if name not in self.dimensions:
                raise unknown("dimension of the study", name, self.dimensions)

    @check_arguments("Study.varying")
    def varying(self, excluding: Sequence[str] = ()) -> list[str]:
        """Returns the dimensions with more than one value."""
        return [name for name, values in self.dimensions.items() if len(values) > 1 and name not in excluding]

    @check_arguments("Study.combinations")
    def combinations(self, names: Sequence[str]) -> list[dict[str, Plain]]:
        """Returns every combination of the values of some dimensions."""
        self.check(*names)
        return [dict(zip(names, values, strict=True)) for values in product(*(self.dimensions[name] for name in names))]

    @check_arguments("Study.having")
    def having(self, values: Mapping[str, Plain]) -> list[Cell]:
        """Returns the cells with these values."""
        self.check(*values)
        return [cell for cell in self.cells if all(cell.values[name] == value for name, value in values.items())]

    @check_arguments("Study.averaged_over")
    def averaged_over(self, named: Sequence[str]) -> str:
        """Describes what is averaged over if only `named` dimensions are shown: `mean over seed (5)`, or an empty text."""
        over = [
            f"{name} ({len(self.dimensions[name])}{', each with equal weight' if name == TASK else ''})"
            for name in self.varying(named)
        ]
        return f"mean over {', '.join(over)}" if over else ""

    @check_arguments("Study.of_every_task")
    def of_every_task(self, cells: Sequence[Cell]) -> bool:
        """Returns whether there is a cell of each task among some cells."""
        return {cell.task for cell in cells} == {each.name for each in self.tasks}


def as_names(names: Names) -> list[str]:
    """Returns one or several names as a list."""
    return [names] if isinstance(names, str) else list(names)


def _as_values(value: object) -> list[object]:
    return list(value) if is_collection(value) else [value]
