"""The ids of the records in a run's files.

An evaluated row has the id of its example. Every other record has an id that describes it:

    fit ROW                           a row of the fit part
    premise, premise of ROW           the prompt without instruction, demonstrations and inputs
    content-free 'N/A' after CONTEXT  a content-free input in one context
    bag 3 of seed 0 after CONTEXT     random words in one context
    read plan                         what was read of each row
    0 of ID                           the first read request of the record with that id
    text WORD                         the hidden state of a text
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from promptkit.core.alignment import ContentFreeInput, RandomWords
from promptkit.core.hashing import sha256_hex

READ_PLAN = "read plan"
"""The id of the record with the read plan: the tokens, layers and texts that were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRow:
    """A row of the fit part."""

    row: str
    """Id of the example."""
    PREFIX: ClassVar[str] = "fit "

    def __str__(self) -> str:
        return f"{self.PREFIX}{self.row}"

    @classmethod
    def parse(cls, record_id: str) -> Self | None:
        """Returns the fit row that a record is about, or None for any other record."""
        return cls(row=record_id.removeprefix(cls.PREFIX)) if record_id.startswith(cls.PREFIX) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Premise:
    """The premise of one row with different choices, or of all rows."""

    row: str | None = None
    """Id of the example; None if all rows share the premise."""

    def __str__(self) -> str:
        return "premise" if self.row is None else f"premise of {self.row}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentFreeRow:
    """A content-free input in the context of an evaluated row."""

    content: ContentFreeInput
    context: str
    """The context, as `context_of` returns it."""

    def __str__(self) -> str:
        return f"{content_free_name(self.content)} after {sha256_hex(self.context)[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRow:
    """One read request of a row."""

    number: int
    """Number of the request among the requests of the row, from 0."""
    record: str
    """Id of the row's record in `samples.jsonl` or `support.jsonl`."""

    def __str__(self) -> str:
        return f"{self.number} of {self.record}"

    @classmethod
    def parse(cls, record_id: str) -> Self:
        """Returns the row and request that a record of `outputs.jsonl` is about."""
        number, _, record = record_id.partition(" of ")
        return cls(number=int(number), record=record)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRow:
    """The hidden state of a text."""

    text: str
    PREFIX: ClassVar[str] = "text "

    def __str__(self) -> str:
        return f"{self.PREFIX}{self.text}"

    @classmethod
    def parse(cls, record_id: str) -> Self | None:
        """Returns the text that a record is about, or None for any other record."""
        return cls(text=record_id.removeprefix(cls.PREFIX)) if record_id.startswith(cls.PREFIX) else None


def content_free_name(content: ContentFreeInput) -> str:
    """Returns the name of a content-free input, without its context."""
    return f"bag {content.number} of seed {content.seed}" if isinstance(content, RandomWords) else f"content-free {content!r}"


def context_of(demos: Sequence[str]) -> str:
    """Returns the identifier of a row's context: the ids of its demonstrations, in order."""
    return " ".join(demos)
