"""Checks the names of the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.core.errors import TaskError


def check_column_names(names: Sequence[str], name: str) -> None:
    """Raises TaskError if two columns have the same name.

    Args:
        names: The names of the columns.
        name: What to call the table in the message, such as the path of its file.
    """
    if len(set(names)) < len(names):
        raise TaskError(
            f"{name} has two columns with the same name",
            code="duplicate-column",
            got=", ".join(names),
            hint="Rename one of them",
            file=name,
            columns=tuple(names),
        )
