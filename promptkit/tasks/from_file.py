"""Creates a task from a data file, without a task file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from promptkit.core.errors import InputError, TaskError, TemplateError, unknown
from promptkit.core.paths import expanded
from promptkit.inputs.text.template import LABEL, Template
from promptkit.tasks.columns import cell_text, decoded
from promptkit.tasks.readers import Row, data_suffix, read_file
from promptkit.tasks.source import Source
from promptkit.tasks.spec import TaskSpec
from promptkit.tasks.task import Task

MAX_LABELS = 20
"""The largest number of different values of a column that is used for labels without declaring them."""


def task_from_file(
    file: str | Path,
    *,
    template: str | Path | None,
    label_column: str | None = None,
    labels: Sequence[str] = (),
    answer_column: str | None = None,
    train: str | Path | None = None,
) -> Task:
    """Creates a task from the rows of one data file.

    Args:
        file: A .csv, .tsv, .jsonl or .parquet file.
        template: The template that renders the rows; its variables are columns of the file.
        label_column: The column of the labels; by default `label`.
        labels: The labels in order; by default the values of the label column, in alphabetical order.
        answer_column: The column of the correct answer. With it the model generates the answer, and its first line is
            compared.
        train: The file with the demonstrations; by default half of the rows of `file`, chosen by hash.

    Raises:
        InputError: There is no template, or the labels are invalid.
        TaskError: A file cannot be read, or has no suitable columns.
        TemplateError: The template shows the answer.
    """
    path = expanded(file)
    if template is None:
        raise InputError(
            f"The file {file} needs a template that renders its rows",
            code="no-template",
            hint=f"Give one with --template, or start with promptkit task init {file}",
            file=str(file),
        )
    rows = read_file(path)
    column = answer_column or label_column or LABEL
    if column not in rows[0]:
        hint = f"Name the column of {file} that contains the labels with --label-column, or the answers with --answer-column"
        raise unknown("column", column, rows[0], hint=hint, error=TaskError)
    variables = _template_columns(template, rows[0], column, file, holds="answers" if answer_column else "labels")
    train_path = None if train is None else _existing_file(train)
    source = Source(
        files={"test": str(path.resolve())} | ({} if train_path is None else {"train": str(train_path)}),
        inputs={name: name for name in variables or [name for name in rows[0] if name not in (column, "labels")]},
        label=column,
        hold_out=0.5 if train_path is None else None,
    )
    answer = "first_line" if answer_column else None
    words = None if answer_column else {label: label for label in _labels(labels, rows, column, file)}
    spec = TaskSpec(description=f"rows of {path.name}", template=str(template), answer=answer, labels=words, sources=[source])
    return Task(path.name[: path.name.lower().rindex(data_suffix(path))], spec, source, path.parent)


def _template_columns(template: str | Path, row: Row, column: str, file: str | Path, *, holds: str) -> list[str]:
    """The columns that a template uses; raises if one is missing, or is the column of the answer."""
    variables = sorted(Template.load(template).variables - {LABEL, "labels"})
    if column in variables:
        raise TemplateError(
            f"The template uses {column}, the column of the {holds}, so it would show the answer",
            code="template-shows-answer",
            hint="Write {{ label }}, and only in the target block",
            column=column,
            holds=holds,
        )
    missing = next((name for name in variables if name not in row), None)
    if missing is not None:
        raise unknown("column", missing, row, hint=f"The template uses it, but {file} has no such column", error=TaskError)
    return variables


def _existing_file(file: str | Path) -> Path:
    path = expanded(file)
    if not path.is_file():
        reason = f"The file {path.resolve()} cannot be read: No such file or directory"
        raise TaskError(reason, code="unreadable-file", file=str(path.resolve()))
    return path.resolve()


def _labels(declared: Sequence[str], rows: Sequence[Row], column: str, file: str | Path) -> tuple[str, ...]:
    """The declared labels, or the values of the column."""
    _check_declared(declared)
    labels = tuple(declared) or label_values(rows, column)
    if len(labels) < 2:
        raise TaskError(
            f"The column {column} of {file} has fewer than two labels",
            code="too-few-labels",
            got=", ".join(labels) or "none",
            hint="Declare all possible labels with --labels a,b,c, or name another column with --label-column",
            file=str(file),
            column=column,
            labels=labels,
        )
    return labels


def _check_declared(labels: Sequence[str]) -> None:
    repeated = next((label for label in labels if labels.count(label) > 1), None)
    if repeated is not None:
        reason, hint = f"The label {repeated} is declared twice", "Give each label once"
        raise InputError(reason, code="duplicate-label", got=", ".join(labels), hint=hint, label=repeated)
    if not all(labels) or len(labels) == 1:
        raise InputError(
            "At least two labels must be declared, none of them empty",
            code="too-few-labels" if len(labels) == 1 else "empty-label",
            got=",".join(labels),
            hint="Write --labels a,b,c",
            labels=tuple(labels),
        )


def label_values(rows: Sequence[Row], column: str) -> tuple[str, ...]:
    """Returns the different values of a label column, in alphabetical order.

    Raises:
        TaskError: A value is empty, two values differ only in case or surrounding white space, or there are more than
            `MAX_LABELS` different ones.
    """
    where = "the file"
    counts = Counter(cell_text(decoded(row[column], column, where)) for row in rows if row.get(column) is not None)
    if "" in counts:
        raise TaskError(
            f"The column {column} is empty in {counts['']} of {len(rows)} rows",
            code="empty-cells",
            hint="Fill it in or remove the rows; if it is a label, declare all labels with --labels or in a task file",
            column=column,
            empty=counts[""],
            rows=len(rows),
        )
    if len(counts) > MAX_LABELS:
        examples = ", ".join(value[:20] for value, _ in counts.most_common(3))
        raise TaskError(
            f"The column {column} has {len(counts)} different values, which are too many for undeclared labels",
            code="too-many-labels",
            got=f"{examples}, ...",
            hint="Name the column of the labels with --label-column, or declare the labels with --labels a,b,c",
            column=column,
            values=len(counts),
        )
    if alike := labels_alike(tuple(counts)):
        raise TaskError(
            f"The column {column} has labels that differ only in case or surrounding white space",
            code="labels-alike",
            got=", ".join(f"{label!r} ({counts[label]})" for label in alike),
            hint="Correct the file, or declare the labels with --labels or in a task file if they are different",
            column=column,
            labels=alike,
        )
    return tuple(sorted(counts))


def labels_alike(labels: Sequence[str]) -> tuple[str, ...]:
    """Returns the labels that differ from another one only in case or surrounding white space."""
    forms = Counter(label.strip().casefold() for label in labels)
    return tuple(label for label in labels if forms[label.strip().casefold()] > 1)
