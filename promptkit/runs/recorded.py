"""Stores the options that a run was created with in its folder. They are not part of the run's identity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from promptkit.core.files import write_atomically
from promptkit.runs.files import damaged, read_json, to_file

OPTIONS = "options.json"
"""The file with the options that differ from the defaults."""
TEMPLATE = "template.j2"
"""The file with the template of a task without a task file, if none was given."""


def record_options(folder: Path, options: Mapping[str, object]) -> None:
    """Writes the options of `promptkit eval` that a run was created with.

    Args:
        folder: The folder of the run or shard.
        options: Option -> value, as JSON values.
    """
    write_atomically(folder / OPTIONS, to_file(options))


def record_template(folder: Path, template: str) -> None:
    """Writes the template that was made for the columns of a table, so that it can be edited and given with --template.

    Args:
        folder: The folder of the run or shard.
        template: The text of the template.
    """
    write_atomically(folder / TEMPLATE, template.encode())


def read_options(folder: Path) -> dict[str, object] | None:
    """Returns the options that a run was created with, or None if it was created from Python objects.

    Raises:
        RunError: If the file is damaged.
    """
    options = read_json(folder / OPTIONS)
    if options is not None and not (isinstance(options, dict) and isinstance(options.get("task"), str)):
        raise damaged(folder / OPTIONS, "it does not contain the options of a run")
    return options
