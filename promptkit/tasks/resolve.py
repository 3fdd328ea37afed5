"""Finds a task by its name, its file or a data file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.core.errors import InputError

if TYPE_CHECKING:
    from promptkit.tasks.task import Task


def task(
    name: str,
    data: Path | None,
    template: str | None,
    label_column: str | None,
    labels: str | None,
    answer_column: str | None,
    train: Path | None,
) -> Task:
    """The task of that name, or of that data file."""
    from promptkit.tasks.from_file import task_from_file
    from promptkit.tasks.readers import is_data
    from promptkit.tasks.task import load_task

    if is_data(name):
        if data is not None:
            raise InputError(
                f"--data is the folder of a mirror of data sets, which the data file {name} does not use",
                code="option-needs-task",
                got=f"--data {data}",
                hint="Leave out --data",
                option="--data",
                task=name,
            )
        declared = [label.strip() for label in labels.split(",")] if labels else []
        if answer_column is not None and (label_column or labels):
            raise InputError(
                f"The data file {name} can have labels to score or answers to generate, but not both",
                code="conflicting-options",
                hint="Leave out --answer-column, or --label-column and --labels",
                options=("--answer-column", *(["--label-column"] if label_column else []), *(["--labels"] if labels else [])),
            )
        return task_from_file(
            name, template=template, label_column=label_column, labels=declared, answer_column=answer_column, train=train
        )
    given = {"--label-column": label_column, "--labels": labels, "--answer-column": answer_column, "--train": train}
    foreign = next((option for option, value in given.items() if value is not None), None)
    if foreign is not None:
        raise InputError(
            f"{foreign} applies to data files only, and {name} is a task",
            code="option-needs-data-file",
            hint="Leave it out; the task's YAML file declares its columns, labels and splits",
            option=foreign,
            task=name,
        )
    return load_task(name, data=data)
