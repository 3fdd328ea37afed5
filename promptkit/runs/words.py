"""Writes options as the words of a command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from promptkit.core.paths import OUT

TASK = "task"
"""The option that is the argument of a command."""


def command_words(command: str, options: Mapping[str, object], *, out: str | Path = OUT) -> list[str]:
    """Returns the words of a `promptkit` command.

    Args:
        command: The command, such as `eval`.
        options: Option -> value, as JSON values; the option `task` is the argument of the command.
        out: The folder for run folders.
    """
    words = [word for name, value in options.items() if name != TASK for word in _option_words(name, value)]
    folder = [] if Path(out) == Path(OUT) else ["--out", str(out)]
    return ["promptkit", command, str(options[TASK]), *words, *folder]


def _option_words(name: str, value: object) -> list[str]:
    """Returns the words of one option: a flag, the option with its value, or one option for each of several values."""
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    if isinstance(value, Mapping):
        value = [f"{key}={item}" for key, item in value.items()]
    values = value if isinstance(value, list | tuple) else [value]
    return [word for item in values for word in (f"--{option}", str(item))]
