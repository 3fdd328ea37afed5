"""The check that a saved object has the format that this version of promptkit reads."""

from __future__ import annotations

from pathlib import Path

from promptkit.core.errors import CheckpointError
from promptkit.core.version import __version__


def check_format(entries: object, expected: int, folder: Path, *, saved: str, hint: str) -> None:
    """Checks that a saved object has the current format. Entries without a format are not refused.

    Args:
        entries: The content of the JSON file that describes the object.
        expected: The current version of the format.
        folder: The folder of the object.
        saved: What was saved, for the error message.
        hint: How to make the object again, for the error message.

    Raises:
        CheckpointError: The object was saved in another format (`other-version`).
    """
    recorded = entries if isinstance(entries, dict) else {}
    number = recorded.get("format")
    if isinstance(number, int) and number != expected:
        raise CheckpointError(
            f"The {saved} in {folder} was saved by a different version of promptkit",
            code="other-version",
            got=f"format {number}, by promptkit {recorded.get('promptkit')}; this is promptkit {__version__}",
            hint=f"Update promptkit, or {hint}",
            folder=str(folder),
            format=number,
            version=str(recorded.get("promptkit")),
        )
