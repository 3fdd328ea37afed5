"""Loads a task by its name, its task file, or a data file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptkit.core.errors import InputError
from promptkit.tasks.options import DataOptions

if TYPE_CHECKING:
    from promptkit.tasks.task import Task


def resolve_task(name: str, options: DataOptions, *, template: str | None = None) -> Task:
    """Loads the task that a command or a study names.

    Args:
        name: The name of a shipped task, the path of a task's YAML file, of a data file, or of a folder of images by class.
        options: Where the rows come from.
        template: The template that renders the rows; required for a data file, ignored for a task.

    Raises:
        InputError: An option does not apply to this kind of task.
        TaskError: The task or its data cannot be read.
    """
    from promptkit.tasks.load import is_folder, task
    from promptkit.tasks.readers import is_data

    if is_data(name):
        return _from_data_file(name, options, template)
    _check_no_data_file_options(name, options)
    if is_folder(name):
        _check_no_mirror(name, "folder", options)
    return task(name, data=options.data)


def _from_data_file(name: str, options: DataOptions, template: str | None) -> Task:
    from promptkit.tasks.from_file import task_from_file

    _check_no_mirror(name, "data file", options)
    label_options = {"--label-column": options.label_column, "--labels": options.labels}
    conflicting = [option for option, value in label_options.items() if value]
    if options.answer_column is not None and conflicting:
        raise InputError(
            f"The data file {name} can have labels to score or answers to generate, but not both",
            code="conflicting-options",
            hint="Leave out --answer-column, or --label-column and --labels",
            options=("--answer-column", *conflicting),
        )
    return task_from_file(
        name,
        template=template,
        label_column=options.label_column,
        labels=[label.strip() for label in options.labels.split(",")] if options.labels else [],
        answer_column=options.answer_column,
        train=options.train,
    )


def _check_no_mirror(name: str, kind: str, options: DataOptions) -> None:
    if options.data is not None:
        raise InputError(
            f"--data is the folder of a mirror of datasets, which the {kind} {name} does not use",
            code="option-needs-task",
            got=f"--data {options.data}",
            hint="Leave out --data",
            option="--data",
            task=name,
        )


def _check_no_data_file_options(name: str, options: DataOptions) -> None:
    data_file_options = {
        "--label-column": options.label_column,
        "--labels": options.labels,
        "--answer-column": options.answer_column,
        "--train": options.train,
    }
    option = next((option for option, value in data_file_options.items() if value is not None), None)
    if option is not None:
        raise InputError(
            f"{option} applies to data files only, and {name} is a task",
            code="option-needs-data-file",
            hint="Leave it out; the task's YAML file declares its columns, labels and splits",
            option=option,
            task=name,
        )
