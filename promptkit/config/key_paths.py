"""Finds the key of a YAML file that an error is about, where the error itself does not name it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from promptkit.core.errors import PromptkitError

T = TypeVar("T")


def name_key(file: Path | None, build: Callable[[str | None], T], keys: Mapping[str, str], default: str | None = None) -> T:
    """Calls a function, and names in its error the first key of the file without which the error does not occur.

    Args:
        file: The YAML file; None if the options do not come from a file.
        build: The function. Its argument is the option to leave out, or None to use all options.
        keys: Option -> the full path of its key, such as {"shots": "grid.shots[1]"}.
        default: The key to name if the error occurs whichever option is left out; if None, such an error names no key.

    Raises:
        PromptkitError: The error of the function.
    """
    try:
        return build(None)
    except PromptkitError as error:
        if file is None or "place" in error.fields:  # the error already names a key
            raise
        message = str(error)
        key = next((key for option, key in keys.items() if _message(build, option) != message), default)
        raise error if key is None else error.at(file, key) from None


def _message(build: Callable[[str | None], object], option: str) -> str:
    """Returns the message of the error that occurs without an option; empty if there is none."""
    try:
        build(option)
    except PromptkitError as error:
        return str(error)
    return ""
