"""Creates a task from tables, such as the rows of a data file or a data frame, without a task file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from promptkit.core.caller import setting
from promptkit.core.errors import InputError, TaskError, TemplateError
from promptkit.core.hashing import short_hash
from promptkit.core.inputs import Modality
from promptkit.core.json_schema import JsonSchema
from promptkit.core.variables import LABEL, LABELS, SCHEMA
from promptkit.inputs.text.template import Template
from promptkit.tasks.column_roles import (
    Rows,
    check_columns,
    guess_label_column,
    image_column,
    input_columns,
    several_labels_column,
)
from promptkit.tasks.columns import cell_text
from promptkit.tasks.default_template import AnswerKind, default_template, variable_names
from promptkit.tasks.frames import IN_MEMORY, Table
from promptkit.tasks.gold_labels import count_unlabeled
from promptkit.tasks.image_checks import ONE_LABEL_OF_IMAGES
from promptkit.tasks.json_table import JsonAnswer, json_answer
from promptkit.tasks.label_values import check_declared, label_values, several_label_values
from promptkit.tasks.options import PYTHON_NAMES, TableOptions
from promptkit.tasks.scale import check_given_values
from promptkit.tasks.source import Source
from promptkit.tasks.spec import JSON, TaskSpec
from promptkit.tasks.task import Task

_EVALUATED = ("test", "validation", "val", "valid", "dev")
"""The splits that are evaluated by default, in this order; a single table is evaluated under any name."""
NUMBER_TOKENS = 16
"""Maximum number of tokens of a generated number, for a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLayout:
    """The columns, labels and template of a table."""

    label: str | dict[str, str]
    """The column of the labels or answers; field -> column for JSON objects with a column for each field."""
    variables: Mapping[str, str]
    """Template variable -> column."""
    labels: tuple[str, ...]
    """The labels; empty if the model generates the answer."""
    template: str
    """The template; empty if the rows contain images."""
    schema: JsonSchema | None = None
    """The schema of the answers; None if these are not JSON objects."""
    notes: tuple[str, ...] = field(default=())
    """What was chosen by the values of the table."""

    @property
    def modality(self) -> Modality:
        """The kind of the inputs."""
        return "text" if self.template else "image"


def task_from_tables(
    tables: Mapping[str, Table],
    name: str,
    options: TableOptions,
    *,
    template: str | Path | None = None,
    where: str = IN_MEMORY,
    base: Path | None = None,
) -> Task:
    """Creates a task from tables in memory.

    Args:
        tables: Split -> table. Without a split `train`, demonstrations come from rows of the evaluated split.
        name: The name of the task.
        options: What the columns mean.
        template: The template; its variables are columns, or the names of columns as the default template writes them.
        where: What to call the tables in error messages, such as the path of a file.
        base: The folder that paths of images are relative to; by default the current one.

    Raises:
        InputError: The options or the labels are invalid.
        TaskError: A table has no suitable columns.
        TemplateError: The template shows the answer.
    """
    split = next((split for split in _EVALUATED if split in tables), next(iter(tables)))
    has_train = split != "train" and "train" in tables
    layout = read_layout([tables[split], *([tables["train"]] if has_train else [])], name, options, where, template=template)
    renamed = {"test" if key == split == "train" else key: table for key, table in tables.items()}
    default = "test" if split == "train" else split
    source = Source(
        memory={key: _digest(table.rows) for key, table in renamed.items()},
        inputs=layout.variables,
        label={**layout.label} if isinstance(layout.label, dict) else layout.label,
        id=options.id_column,
        splits={} if default == "test" else {"test": default},
    )
    spec = TaskSpec(
        description=f"rows of {name}",
        modality=layout.modality,
        template=layout.template,
        answer=_extraction(options, layout.schema),
        labels=None if options.generates else words_of(layout.labels),
        multi_label=options.multi_label,
        ordinal=options.ordinal or (options.numeric and not options.generates and not options.values),
        values=dict(options.values) or None,
        numeric=options.numeric,
        sources=[source],
    )
    rows = {key: table.rows for key, table in renamed.items()}
    notes = (*layout.notes, *_note_on_empty_rows(tables[split].rows, [*layout.variables.values()]))
    if options.multi_label:
        notes = (*notes, *_note_on_unlabeled_rows(tables[split].rows, str(layout.label)))
    return Task(name, spec, source, base or Path(), tables=rows, notes=notes)


def read_layout(
    tables: Sequence[Table], name: str, options: TableOptions, where: str, *, template: str | Path | None = None
) -> TableLayout:
    """Chooses the columns, labels and template that are not given.

    Args:
        tables: The tables; the columns are chosen by the first one, and the labels by all.
        name: The name of the task, which the default template contains.
        options: What is given.
        where: What to call the tables in error messages.
        template: The template, if it is given.

    Raises:
        InputError: The options or the labels are invalid.
        TaskError: The table has no suitable columns.
        TemplateError: The template shows the answer.
    """
    rows = tables[0].rows
    _check_kind(options)
    answer = json_answer(
        rows, column=options.answer_column, fields=options.answer_fields, schema=options.read_answer_schema(), where=where
    )
    label = _label_of(options, rows, where) if answer is None else answer.label
    hidden = [*label.values()] if isinstance(label, dict) else [label]
    check_columns([*hidden, *options.inputs, *([] if options.id_column is None else [options.id_column])], rows, where)
    labels = () if options.generates else _labels(tables, hidden[0], options, where)
    layout = TableLayout(
        label=label,
        variables={},
        labels=labels,
        template="",
        schema=None if answer is None else answer.schema,
        notes=_notes(options, hidden, labels, answer, where),
    )
    if template is not None:
        variables = _variables_of_template(str(template), options, rows, hidden, where)
        return replace(layout, variables=variables, template=str(template))
    shows_answer = next((column for column in hidden if column in options.inputs), None)
    if shows_answer is not None:
        raise _shows_answer(shows_answer, "answers" if options.generates else "labels")
    chosen, unsuitable = _chosen_inputs(options, rows, hidden, where)
    if not options.generates and (image := image_column(rows, chosen)):
        if options.multi_label:
            raise _several_labels_of_images(image, where)
        return replace(layout, variables={"image": image})
    variables = {variable: column for column, variable in variable_names(chosen).items()}
    kind: AnswerKind = "schema" if answer else "text" if options.generates else "labels" if options.multi_label else "label"
    notes = (*layout.notes, *_notes_on_columns(chosen, unsuitable))
    return replace(layout, variables=variables, template=default_template(name, variables, kind), notes=notes)


def _label_of(options: TableOptions, rows: Rows, where: str) -> str:
    """Returns the column of the labels, or of answers that are no JSON objects."""
    given = options.answer_column or options.label_column
    return given or (several_labels_column(rows, where) if options.multi_label else guess_label_column(rows, where))


def _notes(
    options: TableOptions, hidden: Sequence[str], labels: Sequence[str], answer: JsonAnswer | None, where: str
) -> tuple[str, ...]:
    """Returns notes on the column of the labels, and on the schema."""
    (first, *_) = hidden
    is_given = options.generates or options.label_column or first in (LABEL, LABELS)
    notes = [] if is_given else [f"The labels are the values of the column {first}."]
    if first in labels:
        notes.append(f"The column {first} contains its own name: does the first line of {where} have the names of the columns?")
    return (*notes, *([answer.note] if answer and answer.note else []))


def _chosen_inputs(options: TableOptions, rows: Rows, hidden: Sequence[str], where: str) -> tuple[list[str], dict[str, str]]:
    """Returns the columns that the default template shows, and each unsuitable column with the reason."""
    if options.inputs:
        return [*options.inputs], {}
    unseen = {options.id_column, *hidden[1:]} - {hidden[0]}
    shown = [{column: value for column, value in row.items() if column not in unseen} for row in rows]
    return input_columns(shown, hidden[0], is_label=not (options.generates or options.multi_label), where=where)


def _several_labels_of_images(column: str, where: str) -> InputError:
    return InputError(
        f"The column {column} of {where} contains images, and an image has exactly one label",
        code="multi-label-images",
        hint=ONE_LABEL_OF_IMAGES,
        column=column,
        file=where,
    )


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


def _variables_of_template(
    template: str, options: TableOptions, rows: Rows, hidden: Sequence[str], where: str
) -> dict[str, str]:
    """Template variable -> column, for a template that is given."""
    offered = [column for column in options.inputs or rows[0] if column not in hidden]
    named = {variable: column for column, variable in variable_names(offered).items()}
    used = sorted(Template.load(template).row_variables)
    shows_answer = next((column for column in hidden if column in used), None)
    if shows_answer is not None:
        raise _shows_answer(shows_answer, "answers" if options.generates else "labels")
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


def _labels(tables: Sequence[Table], column: str, options: TableOptions, where: str) -> tuple[str, ...]:
    """The declared labels, those that the source declares, or the values of the column in all tables."""
    check_declared(options.labels)
    declared = tuple(options.labels or options.values) or tuple(tables[0].class_names.get(column, ()))
    if declared:
        return declared
    rows = [row for table in tables for row in table.rows if column in row]
    if options.multi_label:
        labels = several_label_values(rows, column)
    else:
        labels = label_values(rows, column, is_named=options.label_column is not None)
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


def _extraction(options: TableOptions, schema: JsonSchema | None) -> str | dict[str, dict[str, object] | None] | None:
    """Returns the rule that extracts a generated answer; None if labels are scored."""
    if schema is not None:
        return {JSON: {SCHEMA: dict(schema.value)}}
    if not options.generates:
        return None
    return {"final_number": {"max_tokens": NUMBER_TOKENS}} if options.numeric else "first_line"


def _check_kind(options: TableOptions) -> None:
    """Raises InputError for options that contradict each other, and for numbers without a scale."""
    is_json = bool(options.answer_fields) or options.answer_schema is not None
    given = {
        "multi_label": options.multi_label,
        "ordinal": options.ordinal,
        "values": bool(options.values),
        "numeric": options.numeric and (options.answer_column is None or is_json),
        "answer_column": options.answer_column is not None,
        "answer_fields": bool(options.answer_fields),
        "answer_schema": options.answer_schema is not None and options.answer_column is None and not options.answer_fields,
    }
    kinds = tuple(option for option, is_given in given.items() if is_given)
    if len(kinds) > 1 and kinds not in (("ordinal", "numeric"), ("values", "numeric")):
        raise InputError(
            f"{' and '.join(map(_named, kinds))} define different kinds of answers",
            code="conflicting-options",
            hint="Leave out one of them",
            options=kinds,
        )
    check_given_values(options.labels, options.values)
    if options.numeric and options.answer_column is None and not (options.labels or options.values):
        raise InputError(
            "Numbers need a scale, or a model that generates them",
            code="numeric-without-scale",
            hint=f"Give the values of the scale with {setting('labels', list('12345'))}, or the column of the numbers with "
            f"{setting('answer_column', python='answer')}",
            options=("numeric",),
        )


def _named(option: str) -> str:
    return setting(option, python=PYTHON_NAMES.get(option))


def _digest(rows: Rows) -> str:
    """A hash of the rows, in which a value of any type is its text."""
    return short_hash("\n".join(json.dumps({name: _content(value) for name, value in row.items()}) for row in rows))


def _content(value: object) -> str:
    return "" if value is None else cell_text(value)


def check_no_conflict(options: TableOptions, name: str) -> None:
    """Raises InputError if columns of both labels and answers are given."""
    given = {"label_column": options.label_column, "labels": options.labels}
    answers = {
        "answer_column": options.answer_column,
        "answer_fields": options.answer_fields,
        "answer_schema": options.answer_schema,
    }
    conflicting = [option for option, value in given.items() if value]
    generating = [option for option, value in answers.items() if value]
    if generating and conflicting:
        raise InputError(
            f"The data {name} can have labels to score or answers to generate, but not both",
            code="conflicting-options",
            hint=f"Leave out {' and '.join(map(_named, generating))}, or {_named('label_column')} and {_named('labels')}",
            options=(*generating, *conflicting),
        )
