"""Loads a task by its name, or from a task file, a folder of images, a data file or data in memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from promptkit.core.arguments import check_arguments
from promptkit.core.caller import setting
from promptkit.core.errors import InputError
from promptkit.core.json_schema import read_schema
from promptkit.core.paths import expanded, names
from promptkit.core.shown_text import escaped
from promptkit.inputs.text.template import Template
from promptkit.tasks.columns import cell_text
from promptkit.tasks.frames import IN_MEMORY, Table, table_in_memory, tables_in_memory
from promptkit.tasks.from_table import check_no_conflict, task_from_tables
from promptkit.tasks.images.from_folder import task_from_folder
from promptkit.tasks.options import PYTHON_NAMES, TableOptions
from promptkit.tasks.readers import data_stem, is_data, read_file
from promptkit.tasks.task import Task
from promptkit.tasks.task_files import load_task

_log = logging.getLogger(__name__)


@check_arguments("task")
def task(
    source: object,
    *,
    label: str | None = None,
    inputs: Sequence[str] = (),
    labels: Sequence[str | int | float | bool] = (),
    template: str | Path | None = None,
    answer: str | Mapping[str, str] | Sequence[str] | None = None,
    schema: str | Path | Mapping[str, object] | None = None,
    multi_label: bool = False,
    ordinal: bool = False,
    values: Mapping[str, float] = {},
    numeric: bool = False,
    id: str | None = None,
    train: object = None,
    name: str | None = None,
    data: str | Path | None = None,
) -> Task:
    """Loads a task.

    All keywords but `data` are for data files and data in memory. What they leave open is chosen by the values of the rows, and
    `Task.notes` says how.

    Args:
        source: A task, the name of a shipped one (`sentiment`, or `a/b` for evals/a/b.yaml), the path of a task's YAML file or
            of a folder of images by class, the path of a data file (csv, tsv, jsonl, parquet, xlsx), or data in memory: a data
            frame, a `datasets.Dataset`, an Arrow table, a list of mappings (column -> value), or a mapping from splits to them.
        label: The column of the labels; by default `label`, or the only column with few different values.
        inputs: The columns that the template shows; by default all but ids, dates and constants.
        labels: The labels in order; by default the different values of the label column.
        template: The path of a `.j2` file, the name of a shipped template, or its text; by default a line for each input.
        answer: The column of the correct answer, if the model generates it; its first line is compared. With several columns,
            as `{"city": "place", "date": "date"}` (field -> column) or a list, the model generates a JSON object.
        schema: The schema of JSON objects, as for `pk.extract.Json`; by default fields have the types of their columns.
        multi_label: Whether a row can have any number of labels: a list (also as text), or separated by `;`, `|` or `,`.
        ordinal: Whether the labels are in ascending order; the expected value of numbers, or of 1, 2, ..., is predicted, too.
        values: The labels in order and their values on a numeric scale, in place of `labels` and `ordinal`.
        numeric: Whether the label column contains any numbers on the scale of the labels; with `answer`, numbers to generate.
        id: The column with your own id of each row, which predictions and comparisons show.
        train: The rows that demonstrations come from, as a data file or in memory; by default half of the rows, by hash.
        name: The name of the task; by default that of the file without its suffix, or `data`.
        data: The folder of a local mirror of datasets, for tasks that are read from one; by default PROMPTKIT_DATA.

    Raises:
        InputError: The source is of another kind, or a keyword does not apply to it.
        TaskError: There is no such task, a file is invalid, or the rows have no suitable columns.
        TemplateError: The template shows the answer.
    """
    options = TableOptions.model_construct(  # validation would divide texts into names
        label_column=label,
        inputs=tuple(inputs),
        labels=tuple(map(cell_text, labels)),
        multi_label=multi_label,
        ordinal=ordinal,
        values=dict(values),
        numeric=numeric,
        id_column=id,
        **_answer_options(answer, schema),
    )
    return _load(source, options, template, train, name, data)


def _load(
    source: object, options: TableOptions, template: str | Path | None, train: object, name: str | None, data: str | Path | None
) -> Task:
    """Loads a task, after a check that the keywords apply to the source."""
    if isinstance(source, Task):
        check_no_table_options(source.name, options, train, names=PYTHON_NAMES)
        return source
    if isinstance(source, str | Path) and not is_data(str(source)):
        loaded = load_named(source, data)
        check_no_table_options(str(source), options, train, names=PYTHON_NAMES)
        return loaded
    check_no_mirror(str(source) if isinstance(source, str | Path) else IN_MEMORY, "data file", data)
    return table_task(source, options, template=template, train=train, name=name)


class _AnswerOptions(TypedDict):
    """The options of a generated answer."""

    answer_column: str | None
    answer_fields: dict[str, str]
    answer_schema: str | None


def _answer_options(
    answer: str | Mapping[str, str] | Sequence[str] | None, schema: str | Path | Mapping[str, object] | None
) -> _AnswerOptions:
    """Returns the options of a generated answer: its column, or the column of each field of a JSON object, and its schema."""
    read = None if schema is None else read_schema(str(schema) if isinstance(schema, Path) else schema).text
    if answer is None or (isinstance(answer, str) and answer):
        return {"answer_column": answer, "answer_fields": {}, "answer_schema": read}
    fields = dict(answer) if isinstance(answer, Mapping) else {name: name for name in answer}
    if not fields:
        raise InputError(
            "The answers of a task of JSON objects have no fields",
            code="no-answer-fields",
            got=repr(answer),
            hint='Write answer={"city": "place"}, with a column for each field',
            argument="answer",
        )
    return {"answer_column": None, "answer_fields": fields, "answer_schema": read}


def table_task(
    source: object, options: TableOptions, *, template: str | Path | None = None, train: object = None, name: str | None = None
) -> Task:
    """Creates a task from a data file or data in memory; see `task`."""
    if not isinstance(source, str | Path):
        check_no_conflict(options, IN_MEMORY)
        tables = _with_train(tables_in_memory(source), train)
        return _noted(task_from_tables(tables, name or "data", options, template=template))
    check_no_conflict(options, str(source))
    path = expanded(source)
    tables = _with_train({"test": Table(read_file(path))}, train)
    made = task_from_tables(tables, name or data_stem(path), options, template=template, where=str(source), base=path.parent)
    return _noted(replace(made, data_options=_data_options(path, options, template, train)))


def _data_options(path: Path, options: TableOptions, template: str | Path | None, train: object) -> Mapping[str, object] | None:
    """Returns the options of `promptkit eval` that make a task from a data file; None if its train rows are in memory."""
    if not isinstance(train, str | Path | None):
        return None
    schema = options.read_answer_schema()
    return {
        "task": str(path.resolve()),
        **options.table_options(),
        **({} if schema is None else {"answer_schema": schema.text}),
        **({} if train is None else {"train": str(expanded(train).resolve())}),
        **({} if template is None else {"template": Template.load(template).source}),
    }


def load_named(name: str | Path, data: str | Path | None) -> Task:
    """Loads a task by its name, from its YAML file, or from a folder of images by class."""
    if not is_folder(name):
        return load_task(name, data=data)
    check_no_mirror(str(name), "folder", data)
    return task_from_folder(expanded(name))


def is_folder(name: str | Path) -> bool:
    """Returns whether a name is the path of a folder, and not the name of a shipped task."""
    return bool(str(name)) and expanded(name).is_dir() and str(name) not in names("evals", ".yaml")


def check_no_mirror(name: str, kind: str, data: str | Path | None) -> None:
    """Raises InputError if the folder of a mirror is given for a source that does not use it."""
    if data is not None:
        raise InputError(
            f"{setting('data')} is the folder of a mirror of datasets, which the {kind} {name} does not use",
            code="option-needs-task",
            got=setting("data", str(data)),
            hint=f"Leave out {setting('data')}",
            option="data",
            task=name,
        )


def check_no_table_options(name: str, options: TableOptions, train: object, *, names: Mapping[str, str] = {}) -> None:
    """Raises InputError if an option for data without a task file is given for a task that has one.

    Args:
        name: The task.
        options: The options.
        train: The rows that demonstrations come from; None if they are not given.
        names: Option -> the name that it was given by, where that is another one.
    """
    given = [*options.table_options(), *([] if train is None else ["train"])]
    if given:
        option = names.get(given[0], given[0])
        raise InputError(
            f"{setting(option)} applies to data files only, and {name} is a task",
            code="option-needs-data-file",
            hint="Leave it out; the task's YAML file declares its columns, labels and splits",
            option=option,
            task=name,
        )


def _with_train(tables: dict[str, Table], train: object) -> dict[str, Table]:
    if train is None:
        return tables
    return {**tables, "train": Table(read_file(expanded(train))) if isinstance(train, str | Path) else table_in_memory(train)}


def _noted(task: Task) -> Task:
    for note in task.notes:
        _log.warning("note: %s", escaped(note))
    return task
