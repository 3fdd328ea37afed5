"""Notes below the results of a command."""

from __future__ import annotations

from collections.abc import Iterable

from promptkit.core.shown_text import escaped


def note_lines(notes: Iterable[str]) -> list[str]:
    """Returns each note as a line."""
    return [f"note: {escaped(note)}" for note in notes]
