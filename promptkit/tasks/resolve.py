"""Loads the task that a command or a study names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.core.json_schema import read_schema
from promptkit.tasks.options import DataOptions

if TYPE_CHECKING:
    from promptkit.tasks.from_table import Columns
    from promptkit.tasks.task import Task


_TABLE_OPTIONS = (
    "label_column",
    "inputs",
    "labels",
    "multi_label",
    "ordinal",
    "values",
    "numeric",
    "answer_column",
    "answer_fields",
    "answer_schema",
    "id_column",
    "train",
)
"""The options that apply to data files only."""


def resolve_task(name: str, options: DataOptions, *, template: str | None = None, title: str | None = None) -> Task:
    """Loads the task that a command or a study names.

    Args:
        name: The name of a shipped task, the path of a task's YAML file, of a data file, or of a folder of images by class.
        options: Where the rows come from.
        template: The template that renders the rows of a data file; ignored for a task.
        title: The name of the task of a data file; by default that of the file without its suffix.

    Raises:
        InputError: An option does not apply to this kind of task.
        TaskError: The task or its data cannot be read.
    """
    from promptkit.tasks.division import Division

    division = None if options.split_train is None else Division.parse(options.split_train)
    loaded = _load(name, options, template, title)
    return loaded if division is None else loaded.with_parts(**division.fractions)


def _load(name: str, options: DataOptions, template: str | None, title: str | None) -> Task:
    from promptkit.tasks.load import check_no_mirror, check_no_table_options, load_named, table_task
    from promptkit.tasks.readers import is_data

    if is_data(name):
        check_no_mirror(name, "data file", options.data)
        return table_task(name, table_columns(options, template), train=options.train, name=title)
    given = {option: value for option, value in options if option in _TABLE_OPTIONS}
    loaded = load_named(name, options.data)
    check_no_table_options(name, given)
    return loaded


def table_columns(options: DataOptions, template: str | None = None) -> Columns:
    """Returns what the options say about the columns of a data file."""
    from promptkit.tasks.from_table import Columns

    return Columns(
        label=options.label_column,
        inputs=options.inputs,
        labels=options.labels,
        template=template,
        answer=options.answer_column,
        multi_label=options.multi_label,
        ordinal=options.ordinal,
        values=options.values,
        numeric=options.numeric,
        id=options.id_column,
        fields=options.answer_fields,
        schema=None if options.answer_schema is None else read_schema(str(options.answer_schema)),
    )
