"""Rule-based alignment: the answer is a part of the text that the model writes.

A text in which the rule finds nothing has no answer: it counts as wrong, and the share of such texts is reported.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from promptkit.align.normalise import NORMALISATIONS
from promptkit.errors import PromptkitError
from promptkit.registry import checked, settings_of
from promptkit.types import Example, Generate

_NUMBER = re.compile(
    r"(?<![\w.)])[-\u2212]?[$£€]?(?:\d{1,3}(?:[,'’\u00a0\u202f\u2009]\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+\b)?"
    r"|(?<!\w)[-\u2212]?\.\d+"
)
"""Thousands are set apart by commas, apostrophes and narrow spaces; a common space may stand between two numbers."""


@dataclass(frozen=True)
class _Extraction:
    """What every extraction is told: how much is written, and when two answers are the same."""

    max_tokens: int = 32
    """The most tokens that are written."""
    stop: tuple[str, ...] = ()
    """Texts before which it ends, besides what would begin a further example."""
    normalise: Literal["exact", "words", "number"] = "words"
    """What of two answers is compared: see `align/normalise.py`."""
    temperature: float = 0.0
    """0 takes the likeliest token; above 0 tokens are drawn."""
    seed: int = 0
    """What is drawn depends on (seed, row, step) alone, besides the probabilities."""
    name: ClassVar[str]
    labels: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be asked of a model."""
        checked(self)
        if self.max_tokens < 1 or not 0 <= self.temperature < float("inf"):
            raise PromptkitError(
                "An extraction needs at least one token to be written, at a temperature of 0 or more",
                got=f"max_tokens={self.max_tokens}, temperature={self.temperature}",
            )
        if not all(self.stop):
            raise PromptkitError("A text cannot stop before an empty text", got=f"stop={self.stop!r}")

    def shown(self) -> Mapping[str, str]:
        """Demonstrations show answers as they stand."""
        return {}

    def verb(self, example: Example, stop: Sequence[str]) -> Generate:
        """One text; of `stop` only what is no empty text."""
        key = hashlib.sha256(f"{self.seed}\0{example.id}".encode()).digest()
        return Generate(
            max_tokens=self.max_tokens,
            stop=tuple(dict.fromkeys([*self.stop, *filter(None, stop)])),
            temperature=self.temperature,
            seed=int.from_bytes(key[:6]) if self.temperature else 0,
        )

    def answer(self, text: str) -> str | None:
        """The answer in a text."""
        raise NotImplementedError

    def right(self, answer: str | None, accepted: Sequence[str]) -> bool:
        """Whether both have a normal form in common."""
        same = NORMALISATIONS[self.normalise]
        return answer is not None and same(answer) in {same(text) for text in accepted}

    def settings(self) -> Mapping[str, object]:
        """As given."""
        return settings_of(self)


@dataclass(frozen=True)
class first_line(_Extraction):  # noqa: N801 - an extraction's class name is its spelling everywhere
    """The first line that is not empty, without surrounding white space."""

    stop: tuple[str, ...] = ("\n",)
    name: ClassVar[str] = "first_line"

    def answer(self, text: str) -> str | None:
        """None for a text of white space."""
        return text.strip().split("\n")[0].strip() or None


@dataclass(frozen=True)
class final_number(_Extraction):  # noqa: N801
    """The last number, with its sign, thousands separators and decimals."""

    max_tokens: int = 256
    normalise: Literal["exact", "words", "number"] = "number"
    name: ClassVar[str] = "final_number"

    def answer(self, text: str) -> str | None:
        """None where there is no digit."""
        found = _NUMBER.findall(text)
        return found[-1] if found else None


@dataclass(frozen=True)
class pattern(_Extraction):  # noqa: N801
    """The group that matched last, in the last match of a regular expression; the whole match if it has no group."""

    regex: str = r"answer is:?\s*(.*?)\.?\s*$"
    """In Python's syntax; ^ and $ are the ends of lines."""
    max_tokens: int = 256
    name: ClassVar[str] = "pattern"

    def __post_init__(self) -> None:
        """Refuse what is no regular expression."""
        super().__post_init__()
        try:
            re.compile(self.regex)
        except re.error as error:
            raise PromptkitError(f"The pattern {self.regex!r} is no regular expression: {error}") from None

    def answer(self, text: str) -> str | None:
        """None where nothing matches."""
        found = list(re.finditer(self.regex, text, re.MULTILINE))
        if not found:
            return None
        last = found[-1]
        return (last[last.lastindex] if last.lastindex else "" if last.re.groups else last[0]) or None


EXTRACTIONS: Mapping[str, type] = {extraction.name: extraction for extraction in (first_line, final_number, pattern)}
