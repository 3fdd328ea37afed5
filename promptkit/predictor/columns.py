"""The columns that a predictor reads the inputs of new rows from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from promptkit.core.arrays import zeros
from promptkit.core.errors import TaskError, unknown
from promptkit.core.examples import Example, LabeledExample, content_id
from promptkit.core.fingerprints import Fingerprint
from promptkit.core.values import Value
from promptkit.tasks.columns import cell, column_name, input_text, read_choices
from promptkit.tasks.images.cells import image_value
from promptkit.tasks.readers import Row
from promptkit.tasks.source import ChoicesSource, Column
from promptkit.tasks.task import Task
from promptkit.tasks.typed_columns import ColumnType, column_type, typed_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where the inputs and the answer choices of a row come from."""

    inputs: Mapping[str, Column] = field(default_factory=dict)
    """Variable -> column, or part of a column."""
    choices: ChoicesSource | None = None
    """Where the answer choices of a row come from; None if all rows have the same labels or free answers."""
    modality: Literal["text", "image"] = "text"
    """The modality of the inputs."""
    shown: tuple[str, ...] = ()
    """The variables that identify a row, as in a task, sorted; all if empty."""
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    """Column -> its type in the labeled rows, by which a value of a new row is written; columns of texts are left out."""

    @classmethod
    def of_task(cls, task: Task) -> Columns:
        """Returns the columns of a task."""
        source = task.source
        shown = tuple(sorted(task.shown_variables))
        inputs, modality = dict(source.inputs), task.spec.modality
        return cls(inputs=inputs, choices=source.choices, modality=modality, shown=shown, types=_types(task))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns of the inputs, in the order of the variables, without repeats."""
        return tuple(dict.fromkeys(column_name(column) for column in self.inputs.values()))

    def example(self, row: Row, where: str, folder: Path) -> Example:
        """Returns a row as an example.

        Args:
            row: Column -> value. Further columns are not read.
            where: What to call the row in error messages.
            folder: The folder that the paths of images are relative to.

        Raises:
            TaskError: A column is missing or empty, or its value cannot be used.
        """
        if self.modality == "image":
            images = {name: self._image(row, column_name(column), where, folder) for name, column in self.inputs.items()}
            return self._identified(images, ())
        row = {**row, **{name: typed_value(row[name], self.types.get(name)) for name in self.names if name in row}}
        inputs = {variable: input_text(row, column, where) for variable, column in self.inputs.items()}
        if not any(content.strip() for content in inputs.values()):
            raise TaskError(
                f"There is no text in the column{'s' * (len(self.names) > 1)} {', '.join(self.names)} of {where}",
                code="empty-cell",
                hint="Fill it in or remove the row",
                columns=self.names,
                where=where,
            )
        choices = () if self.choices is None else read_choices(row, self.choices, inputs, where)
        return self._identified(inputs, choices)

    def sample(self) -> Example:
        """Returns a row with short texts or a small image."""
        value: Value = "a" if self.modality == "text" else zeros(8, 8)
        choices = () if self.choices is None else ("a", "b")
        return Example(id="sample", inputs=dict.fromkeys(self.inputs, value), choices=choices)

    def _identified(self, inputs: Mapping[str, Value], choices: tuple[str, ...]) -> Example:
        """Returns the row with the id that it has in a task."""
        shown = [value for variable, value in inputs.items() if variable in (self.shown or inputs)]
        fingerprint = Fingerprint.of(shown, inputs.values())
        example = Example(id="", inputs=inputs, choices=choices, fingerprint=fingerprint)
        return replace(example, id=content_id(example))

    def _image(self, row: Row, column: str, where: str, folder: Path) -> Value:
        return image_value(cell(row, column, where), column, where, folder)

    def check(self, columns: Mapping[str, object], where: str) -> None:
        """Checks that rows have the columns of the inputs.

        Args:
            columns: The first row, or anything with the names of the columns as keys.
            where: Where the rows come from, for the error message.

        Raises:
            TaskError: A column is missing.
        """
        for name in self.names:
            if name not in columns and name.partition(".")[0] not in columns:
                hint = f"The predictor reads {', '.join(self.names)}; it was searched for in {where}"
                raise unknown("column", name, columns, hint=hint, error=TaskError, where=where)


def _types(task: Task) -> dict[str, ColumnType]:
    """Returns the types of the columns of a task whose rows are in files or in memory."""
    if task.spec.modality == "image" or (task.source.files is None and task.source.memory is None):
        return {}
    rows = _known_rows(task)
    columns = {variable: column for variable, column in task.source.inputs.items() if isinstance(column, str)}
    types = {column: column_type(row.texts[variable] for row in rows) for variable, column in columns.items()}
    return {column: kind for column, kind in types.items() if kind is not None}


def _known_rows(task: Task) -> Sequence[LabeledExample]:
    """Returns the rows of the train split, with the evaluated rows of the same table; without one, the evaluated rows."""
    if task.held_out is not None:
        return [*task.held_out.rows, *task.held_out.others]
    source = task.source
    has_train = source.splits.get("train", "train") in (source.files or source.memory or {})
    return task.labeled_rows("train" if task.hold_out is None and has_train else None)
