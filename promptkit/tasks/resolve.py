"""Loads the task that a command or a study names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.tasks.options import DataOptions

if TYPE_CHECKING:
    from promptkit.tasks.task import Task


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
        return table_task(name, options, template=template, train=options.train, name=title)
    loaded = load_named(name, options.data)
    check_no_table_options(name, options, options.train)
    return loaded
