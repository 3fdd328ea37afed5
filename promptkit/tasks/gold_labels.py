"""Reads the labels of rows: one label, several labels, or a number on the scale of the labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite

from promptkit.core.caller import setting
from promptkit.core.errors import TaskError, unknown
from promptkit.core.examples import JOINT
from promptkit.tasks.columns import cell, cell_text, column_name, decoded, text
from promptkit.tasks.readers import Row
from promptkit.tasks.source import Column, Source
from promptkit.tasks.spec import TaskSpec

HIDDEN_LABEL = "-1"
"""The value that datasets on the hub use for labels that are not published."""
SEPARATORS = (";", "|", ",")
"""What separates several labels in a text. The first one that occurs is used, unless the text is a label itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gold:
    """The correct answer of a row."""

    label: str
    """The label, the correct choice or a correct text; the labels of a multi-label task, joined."""
    labels: tuple[str, ...] = ()
    """The labels of a row of a multi-label task."""
    value: float | None = None
    """The number of the row on the scale of the task, if there is one."""


@dataclass(frozen=True, kw_only=True)
class LabelNames:
    """The labels of a task and their other names in the label column."""

    labels: tuple[str, ...]
    """The labels in the declared order."""
    ids: Mapping[bool | int | str, str] | None
    """Value in the label column -> label; by default a number is the index of a label, from 0."""
    task: str
    """The name of the task, for error messages."""

    def label(self, value: str, where: str, split: str) -> str:
        """Returns the label that a value of the label column means.

        Args:
            value: The value as text.
            where: What to call the row in error messages.
            split: The split of the row.

        Raises:
            TaskError: It is not a label, or the labels of the split are not published.
        """
        label = self._known.get(value)
        if label is None and value == HIDDEN_LABEL:
            raise self._hidden(split)
        if label not in self.labels:
            hint = f"It is in {where}: declare it, or correct the row"
            raise unknown("label", value, self.labels, hint=hint, error=TaskError, where=where)
        return str(label)

    def several(self, row: Row, column: str, where: str, split: str) -> tuple[str, ...]:
        """Returns the labels of a row in the declared order, without repeats.

        The cell is a list, a list in JSON or YAML, or a text with the labels separated by `;`, `|` or `,`. An empty list and an
        empty text mean that no label applies.

        Args:
            row: The row.
            column: The column of the labels.
            where: What to call the row in error messages.
            split: The split of the row.

        Raises:
            TaskError: A label is unknown, or the cell is null or malformed.
        """
        value = label_cell(row, column, where)
        found = {self.label(name, where, split) for name in label_names(value, column, where, known=self._known)}
        return tuple(label for label in self.labels if label in found)

    @cached_property
    def _known(self) -> Mapping[str, str]:
        """Value of the label column -> label."""
        # booleans are written true and false, and may be declared as True and False
        names = {label.lower(): label for label in self.labels if label.lower() in ("true", "false")}
        names |= {label: label for label in self.labels}
        if self.ids is not None:
            # the ids take precedence over label names
            names |= {cell_text(key): label for key, label in self.ids.items()}
        elif not any(label.lstrip("-").isdigit() for label in self.labels):
            names |= {str(index): label for index, label in enumerate(self.labels)}
        return names

    def _hidden(self, split: str) -> TaskError:
        labeled = "validation" if split != "validation" else "train"
        return TaskError(
            f"The owners of the data do not publish the labels of the {split} split of {self.task}",
            code="hidden-labels",
            hint=f"Use a labeled split, such as {setting('split', labeled)}",
            task=self.task,
            split=split,
            suggested=labeled,
        )


def label_names(value: object, column: str, where: str, *, known: Mapping[str, str] = {}) -> list[str]:
    """Returns the names of the labels in a cell of a multi-label task.

    Args:
        value: The value of the cell.
        column: The column.
        where: What to call the row in error messages.
        known: The known names of labels; a text that is one of them is not divided.

    Raises:
        TaskError: The value is not a list of names, or a name is empty.
    """
    if isinstance(value, str):
        value = _listed(value, column, where) if value.lstrip().startswith("[") else _separated(value, known)
    items = value if isinstance(value, list | tuple) else [value]
    wrong = [item for item in items if isinstance(item, dict | list | tuple) or item is None or not cell_text(item).strip()]
    if wrong or any(isinstance(item, float) and not item.is_integer() for item in items):
        raise TaskError(
            f"The column {column} does not contain a list of labels in {where}",
            code="not-a-label-list",
            got=str(value)[:100],
            hint='Write a list such as ["a", "b"], or labels separated by commas, and [] for a row without labels',
            column=column,
            where=where,
        )
    return [cell_text(int(item) if isinstance(item, float) else item).strip() for item in items]


def _separated(value: str, known: Mapping[str, str]) -> list[str]:
    if value.strip() in known or not value.strip():
        return [value.strip()] if value.strip() else []
    separator = next((each for each in SEPARATORS if each in value), None)
    return [value] if separator is None else value.split(separator)


def _listed(value: str, column: str, where: str) -> object:
    """Returns the items of a list in JSON, or in YAML, as Python and pandas write lists."""
    from promptkit.core.yaml_text import YamlError, parse_yaml

    try:
        return json.loads(value)
    except ValueError:
        pass
    try:
        return parse_yaml(value)
    except YamlError:
        raise TaskError(
            f"The column {column} contains a malformed list in {where}",
            code="malformed-list",
            got=value[:100],
            hint='Write a list such as ["a", "b"]',
            column=column,
            where=where,
        ) from None


def label_cell(row: Row, column: str, where: str) -> object:
    """Returns the cell of a row that contains its labels.

    Raises:
        TaskError: The column is missing, or the cell is null, which does not say whether labels apply.
    """
    try:
        return decoded(cell(row, column, where), column, where)
    except TaskError as error:
        if error.code != "empty-cell":
            raise
        raise TaskError(
            f"The column {column} is empty (null) in {where}",
            code="empty-cell",
            hint="Write [] for a row without labels, or remove a row whose labels are not known",
            column=column,
            where=where,
        ) from None


def number(value: str, column: str, where: str) -> float:
    """Returns the number that a text is.

    Raises:
        TaskError: The text is not a finite number.
    """
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    if not isfinite(found):
        raise TaskError(
            f"The column {column} does not contain a finite number in {where}",
            code="not-a-number",
            got=value[:100],
            hint="Correct the row or remove it",
            column=column,
            where=where,
        )
    return found


def nearest_label(value: float, scale: Mapping[str, float], column: str, where: str) -> str:
    """Returns the label whose value on a scale is nearest to a number; ties go to the first label.

    Raises:
        TaskError: The number is outside of the scale.
    """
    low, high = min(scale.values()), max(scale.values())
    if not low <= value <= high:
        raise TaskError(
            f"The number in the column {column} of {where} is outside of the scale",
            code="outside-scale",
            got=f"{value:g}, and the scale is from {low:g} to {high:g}",
            hint="Extend the scale, or correct the row",
            value=value,
            column=column,
            where=where,
        )
    return min(scale, key=lambda label: abs(scale[label] - value))


def read_gold(names: LabelNames, spec: TaskSpec, row: Row, column: Column, where: str, split: str) -> Gold:
    """Returns the label of a row, its labels if there can be several, and its value if the labels have values.

    Args:
        names: The labels of the task.
        spec: The task file, which defines the labels.
        row: The row.
        column: The column of the labels.
        where: What to call the row in error messages.
        split: The split of the row.

    Raises:
        TaskError: The cell contains no label of the task.
    """
    if spec.multi_label:
        labels = names.several(row, str(column), where, split)
        return Gold(label=JOINT.join(labels), labels=labels)
    cell, scale = text(row, column, where), spec.scale
    if scale is not None and spec.numeric:
        value = number(cell, column_name(column), where)
        return Gold(label=nearest_label(value, scale, column_name(column), where), value=value)
    label = names.label(cell, where, split)
    return Gold(label=label, value=None if scale is None else scale[label])


def read_answer(accepted: tuple[str, ...], spec: TaskSpec, source: Source, where: str) -> Gold:
    """Returns the first correct text of a row, with its number if the answers are numbers.

    Args:
        accepted: The correct texts.
        spec: The task file.
        source: The source of the row.
        where: What to call the row in error messages.

    Raises:
        TaskError: The answers are numbers, and the text is none.
    """
    if not spec.numeric:
        return Gold(label=accepted[0])
    return Gold(label=accepted[0], value=number(accepted[0], column_name(source.label_column), where))


def count_unlabeled(cells: Sequence[object]) -> int:
    """Returns how many cells of a multi-label column contain no label, but an empty text or list."""
    return sum(value == [] or (isinstance(value, str) and value.strip() in ("", "[]")) for value in cells)
