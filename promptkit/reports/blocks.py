"""The parts of a page, as data; `templates/page.html` turns them into HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from promptkit.display.table import Table


class Block(Protocol):
    """A part of a section."""

    @property
    def kind(self) -> str:
        """The name of the template macro that shows it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """A paragraph of text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """A list of warnings and remarks."""

    kind: ClassVar[str] = "notes"
    notes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableBlock:
    """A table; intervals are below their figures."""

    kind: ClassVar[str] = "table"
    table: Table

    @property
    def rows(self) -> list[list[tuple[str, str]]]:
        """The text of each cell, and its interval or an empty text."""
        lines = [[text.partition("\n") for text in row] for row in self.table.texts()]
        return [[(value, interval) for value, _, interval in line] for line in lines]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A Vega-Lite chart with a text alternative."""

    kind: ClassVar[str] = "chart"
    title: str
    description: str
    """What the chart shows, for readers who do not see it."""
    spec: Mapping[str, object]
    """The Vega-Lite specification, without the configuration that all charts share."""
    note: str = ""
    """How to read the chart."""
    table: Table | None = None
    """The numbers, which can be unfolded below the chart; None if the page has them elsewhere."""

    @property
    def numbers(self) -> TableBlock | None:
        """The numbers as a block."""
        return None if self.table is None else TableBlock(table=self.table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names and values."""

    kind: ClassVar[str] = "facts"
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A command or another text to copy."""

    kind: ClassVar[str] = "code"
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Images with captions."""

    kind: ClassVar[str] = "pictures"
    pictures: Sequence[tuple[str, str]]
    """The caption, and the image as a data URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """The item browser: rows that can be searched, filtered and sorted."""

    kind: ClassVar[str] = "items"
    data: str
    """The rows as JSON, compressed with gzip, in base64."""
    count: int
    """The number of rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of a page."""

    id: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page."""

    kind: str
    """What the page is about, such as `Run`."""
    title: str
    lead: str
    """What is compared with what, in a sentence."""
    sections: Sequence[Section]
    banner: str = ""
    """A warning above everything, such as that a run is not finished."""

    @property
    def charts(self) -> list[Chart]:
        """All charts, in the order of the page."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Chart)]
