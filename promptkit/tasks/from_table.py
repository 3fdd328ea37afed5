"""Creates a task from tables, such as the rows of a data file or a data frame, without a task file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from promptkit.core.caller import setting
from promptkit.core.errors import InputError, TaskError, TemplateError
from promptkit.core.hashing import short_hash
from promptkit.core.inputs import Modality
from promptkit.inputs.text.template import LABEL, LABELS, Template
from promptkit.tasks.column_roles import (
    Rows,
    check_columns,
    guess_label_column,
    image_column,
    input_columns,
    several_labels_column,
)
from promptkit.tasks.columns import cell_text
from promptkit.tasks.default_template import default_template, variable_names
from promptkit.tasks.frames import IN_MEMORY, Table
from promptkit.tasks.gold_labels import count_unlabeled
from promptkit.tasks.label_values import check_declared, label_values, several_label_values
from promptkit.tasks.source import Source
from promptkit.tasks.spec import TaskSpec
from promptkit.tasks.task import Task

_EVALUATED = ("test", "validation", "val", "valid", "dev")
"""The splits that are evaluated by default, in this order; a single table is evaluated under any name."""
NUMBER_TOKENS = 16
"""Maximum number of tokens of a generated number, for a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the columns of a table mean. By default the columns and labels are chosen by their values."""

    label: str | None = None
    """The column of the labels."""
    inputs: Sequence[str] = ()
    """The columns that the template shows."""
    labels: Sequence[str] = ()
    """The labels in order."""
    template: str | Path | None = None
    """The template; its variables are columns, or the names of columns as the default template writes them."""
    answer: str | None = None
    """The column of the correct answer, if the model generates it and its first line is compared."""
    multi_label: bool = False
    """Whether any number of the labels can apply to a row."""
    ordinal: bool = False
    """Whether the labels are in ascending order."""
    numeric: bool = False
    """Whether the label or answer column contains numbers."""
    id: str | None = None
    """The column of the user's own ids, which results show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLayout:
    """The columns, labels and template of a table."""

    label: str
    """The column of the labels or answers."""
    variables: Mapping[str, str]
    """Template variable -> column."""
    labels: tuple[str, ...]
    """The labels; empty if the model generates the answer."""
    template: str
    """The template; empty if the rows contain images."""
    notes: tuple[str, ...] = field(default=())
    """What was chosen by the values of the table."""

    @property
    def modality(self) -> Modality:
        """The kind of the inputs."""
        return "text" if self.template else "image"


def task_from_tables(
    tables: Mapping[str, Table], name: str, columns: Columns, *, where: str = IN_MEMORY, base: Path | None = None
) -> Task:
    """Creates a task from tables in memory.

    Args:
        tables: Split -> table. Without a split `train`, demonstrations come from rows of the evaluated split.
        name: The name of the task.
        columns: What the columns mean.
        where: What to call the tables in error messages, such as the path of a file.
        base: The folder that paths of images are relative to; by default the current one.

    Raises:
        InputError: The options or the labels are invalid.
        TaskError: A table has no suitable columns.
        TemplateError: The template shows the answer.
    """
    split = next((split for split in _EVALUATED if split in tables), next(iter(tables)))
    has_train = split != "train" and "train" in tables
    layout = read_layout([tables[split], *([tables["train"]] if has_train else [])], name, columns, where)
    renamed = {"test" if key == split == "train" else key: table for key, table in tables.items()}
    default = "test" if split == "train" else split
    source = Source(
        memory={key: _digest(table.rows) for key, table in renamed.items()},
        inputs=layout.variables,
        label=layout.label,
        id=columns.id,
        splits={} if default == "test" else {"test": default},
    )
    spec = TaskSpec(
        description=f"rows of {name}",
        modality=layout.modality,
        template=layout.template,
        answer=_extraction(columns),
        labels=None if columns.answer else words_of(layout.labels),
        multi_label=columns.multi_label,
        ordinal=columns.ordinal or (columns.numeric and not columns.answer),
        numeric=columns.numeric,
        sources=[source],
    )
    rows = {key: table.rows for key, table in renamed.items()}
    notes = (*layout.notes, *_note_on_empty_rows(tables[split].rows, [*layout.variables.values()]))
    if columns.multi_label:
        notes = (*notes, *_note_on_unlabeled_rows(tables[split].rows, layout.label))
    return Task(name, spec, source, base or Path(), tables=rows, notes=notes)


def read_layout(tables: Sequence[Table], name: str, columns: Columns, where: str) -> TableLayout:
    """Chooses the columns, labels and template that are not given.

    Args:
        tables: The tables; the columns are chosen by the first one, and the labels by all.
        name: The name of the task, which the default template contains.
        columns: What is given.
        where: What to call the tables in error messages.

    Raises:
        InputError: The options or the labels are invalid.
        TaskError: The table has no suitable columns.
        TemplateError: The template shows the answer.
    """
    rows = tables[0].rows
    _check_kind(columns)
    given = columns.answer or columns.label
    label = given or (several_labels_column(rows, where) if columns.multi_label else guess_label_column(rows, where))
    check_columns([label, *columns.inputs, *([] if columns.id is None else [columns.id])], rows, where)
    labels = () if columns.answer else _labels(tables, label, columns, where)
    notes = () if given or label in (LABEL, LABELS) else (f"The labels are the values of the column {label}.",)
    if label in labels:
        notes = (
            *notes,
            f"The column {label} contains its own name: does the first line of {where} have the names of the columns?",
        )
    if columns.template is not None:
        variables = _variables_of_template(columns, rows, label, where)
        return TableLayout(label=label, variables=variables, labels=labels, template=str(columns.template), notes=notes)
    if label in columns.inputs:
        raise _shows_answer(label, "answers" if columns.answer else "labels")
    shown = [{column: value for column, value in row.items() if column != columns.id} for row in rows]
    chosen, unsuitable = input_columns(shown, label, is_label=not (columns.answer or columns.multi_label), where=where)
    if columns.inputs:
        chosen, unsuitable = [*columns.inputs], {}
    if not columns.answer and not columns.multi_label and (image := image_column(rows, chosen)):
        return TableLayout(label=label, variables={"image": image}, labels=labels, template="", notes=notes)
    variables = {variable: column for column, variable in variable_names(chosen).items()}
    template = default_template(name, variables, has_labels=not columns.answer, several=columns.multi_label)
    notes = (*notes, *_notes_on_columns(chosen, unsuitable))
    return TableLayout(label=label, variables=variables, labels=labels, template=template, notes=notes)


def words_of(labels: Sequence[str]) -> dict[str, str]:
    """Returns label -> its word in a prompt: the label without surrounding white space, unless two words would be equal."""
    words = {label: label.strip() or label for label in labels}
    return words if len({*words.values()}) == len(words) else {label: label for label in labels}


def _note_on_empty_rows(rows: Rows, inputs: Sequence[str]) -> list[str]:
    count = sum(all(row[column] in (None, "") for column in inputs) for row in rows)
    return [f"{count} of {len(rows)} rows have no text."] if count else []


def _note_on_unlabeled_rows(rows: Rows, label: str) -> list[str]:
    count = count_unlabeled([row[label] for row in rows])
    return [f"{count} of {len(rows)} rows have no label: their cell of the column {label} is empty."] if count else []


def _notes_on_columns(chosen: Sequence[str], unsuitable: Mapping[str, str]) -> list[str]:
    """The notes on unsuitable columns: those that the template leaves out, and those that it shows for lack of others."""

    def listed(columns: Sequence[str]) -> str:
        return ", ".join(f"{column or repr(column)} ({unsuitable[column]})" for column in columns)

    left_out = [column for column in unsuitable if column not in chosen]
    shown = [column for column in chosen if column in unsuitable]
    choice = f"choose columns with {setting('inputs')}, or give a template."
    return [
        *([f"The template leaves out {listed(left_out)}; {choice}"] if left_out else []),
        *([f"There is no better column than {listed(shown)}, which the template shows; {choice}"] if shown else []),
    ]


def _variables_of_template(columns: Columns, rows: Rows, label: str, where: str) -> dict[str, str]:
    """Template variable -> column, for a template that is given."""
    offered = [column for column in columns.inputs or rows[0] if column != label]
    named = {variable: column for column, variable in variable_names(offered).items()}
    used = sorted(Template.load(str(columns.template)).variables - {LABEL, LABELS})
    if label in used:
        raise _shows_answer(label, "answers" if columns.answer else "labels")
    variables = {variable: variable if variable in offered else named.get(variable, variable) for variable in used}
    known = dict.fromkeys(offered, "")
    check_columns([*variables.values()], [known], f"{where}, whose columns the template uses")
    return variables or named


def _shows_answer(column: str, holds: str) -> TemplateError:
    return TemplateError(
        f"The template uses {column}, the column of the {holds}, so it would show the answer",
        code="template-shows-answer",
        hint="Write {{ label }}, and only in the target block",
        column=column,
        holds=holds,
    )


def _labels(tables: Sequence[Table], column: str, columns: Columns, where: str) -> tuple[str, ...]:
    """The declared labels, those that the source declares, or the values of the column in all tables."""
    check_declared(columns.labels)
    declared = tuple(columns.labels) or tuple(tables[0].class_names.get(column, ()))
    if declared:
        return declared
    rows = [row for table in tables for row in table.rows if column in row]
    if columns.multi_label:
        labels = several_label_values(rows, column)
    else:
        labels = label_values(rows, column, is_named=columns.label is not None)
    if len(labels) < 2:
        raise TaskError(
            f"The column {column} of {where} has fewer than two labels",
            code="too-few-labels",
            got=", ".join(labels) or "none",
            hint=f"Declare all possible labels with {setting('labels', ['a', 'b', 'c'])}, or name another column with "
            f"{setting('label_column', python='label')}",
            file=where,
            column=column,
            labels=labels,
        )
    return labels


def _extraction(columns: Columns) -> str | dict[str, dict[str, object] | None] | None:
    """Returns the rule that extracts a generated answer; None if labels are scored."""
    if not columns.answer:
        return None
    return {"final_number": {"max_tokens": NUMBER_TOKENS}} if columns.numeric else "first_line"


def _check_kind(columns: Columns) -> None:
    """Raises InputError for options that contradict each other, and for numbers without a scale."""
    given = {
        "multi_label": columns.multi_label,
        "ordinal": columns.ordinal,
        "numeric": columns.numeric and columns.answer is None,
        "answer_column": columns.answer is not None,
    }
    options = tuple(option for option, is_given in given.items() if is_given)
    if len(options) > 1 and options != ("ordinal", "numeric"):
        raise InputError(
            f"{' and '.join(map(_named, options))} define different kinds of answers",
            code="conflicting-options",
            hint="Leave out one of them",
            options=options,
        )
    if columns.numeric and columns.answer is None and not columns.labels:
        raise InputError(
            "Numbers need a scale, or a model that generates them",
            code="numeric-without-scale",
            hint=f"Give the values of the scale with {setting('labels', list('12345'))}, or the column of the numbers with "
            f"{setting('answer_column', python='answer')}",
            options=("numeric",),
        )


def _named(option: str) -> str:
    return setting(option, python=option.removesuffix("_column"))


def _digest(rows: Rows) -> str:
    """A hash of the rows, in which a value of any type is its text."""
    return short_hash("\n".join(json.dumps({name: _content(value) for name, value in row.items()}) for row in rows))


def _content(value: object) -> str:
    return "" if value is None else cell_text(value)


def check_no_conflict(columns: Columns, name: str) -> None:
    """Raises InputError if columns of both labels and answers are given."""
    given = {"label_column": columns.label, "labels": columns.labels}
    conflicting = [option for option, value in given.items() if value]
    if columns.answer is not None and conflicting:
        raise InputError(
            f"The data {name} can have labels to score or answers to generate, but not both",
            code="conflicting-options",
            hint=f"Leave out {setting('answer_column', python='answer')}, or "
            f"{setting('label_column', python='label')} and {setting('labels')}",
            options=("answer_column", *conflicting),
        )
