"""An extraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.align.extract import Extraction


@dataclass(frozen=True, kw_only=True)
class LastWord(Extraction):
    """Extracts the last word of a text."""

    lower: bool = False
    """Whether it is converted to lower case."""
    name: ClassVar[str] = "last_word"

    def find(self, text: str, choices: Sequence[str] = ()) -> str | None:
        words = text.lower().split() if self.lower else text.split()
        return words[-1] if words else None
