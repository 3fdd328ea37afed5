"""Loads a task by its name, its task file, or a folder of images."""

from __future__ import annotations

from pathlib import Path

from promptkit.core.arguments import check_arguments
from promptkit.core.paths import expanded, names
from promptkit.tasks.images.from_folder import task_from_folder
from promptkit.tasks.task import Task, load_task


@check_arguments("task")
def task(name: str | Path, *, data: str | Path | None = None) -> Task:
    """Loads a task.

    Args:
        name: The name of a shipped task (`sentiment`, or `a/b` for evals/a/b.yaml), the path of a task's YAML file, or the
            path of a folder of images by class.
        data: The folder of a local mirror of datasets; by default PROMPTKIT_DATA.

    Raises:
        TaskError: There is no such task, the file is invalid, or none of the task's sources is available.
    """
    return task_from_folder(expanded(name)) if is_folder(name) else load_task(name, data=data)


def is_folder(name: str | Path) -> bool:
    """Returns whether a name is the path of a folder, and not the name of a shipped task."""
    return bool(str(name)) and expanded(name).is_dir() and str(name) not in names("evals", ".yaml")
