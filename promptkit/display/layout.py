"""Fits the columns of a table into the width of a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

GAP = 3
"""The characters between two columns."""
MIN_TEXT = 14
"""The width to which a column of texts is narrowed before columns are moved to another block."""
LONGEST_WORD = 20
"""The longest text without a place to break a line that a column of texts is widened for."""
_PIECE = re.compile(r"[^/:,;=\s]*(?:[/:,;=]+|\s+|$)")
"""Text up to and including a place where a line may end: after a path separator, a colon, a comma, or a space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The texts of a column, as they are shown; lines end with a newline."""

    header: str
    cells: tuple[str, ...]
    wraps: bool
    """Whether the cells may be wrapped, as names may and numbers may not."""

    @property
    def full(self) -> int:
        """The width of the column without wrapping."""
        return max(map(text_width, (self.header, *self.cells)))

    def least(self, text: int, most: int) -> int:
        """The smallest width of the column.

        Args:
            text: The width at which cells of texts are wrapped.
            most: The width at which they are wrapped if a longer word would otherwise be cut.
        """
        if self.wraps:
            words = max(map(_longest_word, self.cells), default=0)
            return min(self.full, max(text, words if words <= most else text))
        pieces = (piece.strip() for piece in _PIECE.findall(self.header))
        return max(map(text_width, (*pieces, *self.cells)))


def blocks(columns: Sequence[Column], names: int, width: int) -> list[dict[int, int]]:
    """Divides the columns of a table into blocks that fit into a width.

    Args:
        columns: The columns.
        names: The number of columns on the left that name the row; they are repeated in each block.
        width: The largest width of a block, in characters.

    Returns:
        The blocks: the index of each column -> its width.
    """
    text = max(4, min(MIN_TEXT, (width // 2) // max(names, 1) - GAP))
    most = max(text, min(LONGEST_WORD, (width // 2) // max(names, 1) - GAP))
    least = [column.least(text, most) for column in columns]
    named = list(range(names))
    used = sum(least[:names]) + GAP * names
    found: list[list[int]] = []
    free = 0
    for index in range(names, len(columns)):
        needed = least[index] + GAP
        if not found or needed > free:
            found.append([*named])
            free = width - used + GAP
        found[-1].append(index)
        free -= needed
    return [_widened(columns, block, least, width) for block in found or [named]]


def _widened(columns: Sequence[Column], block: Sequence[int], least: Sequence[int], width: int) -> dict[int, int]:
    """Returns the widths of a block's columns, with the remaining width given to those that are wrapped."""
    widths = {index: least[index] for index in block}
    free = width - sum(widths.values()) - GAP * (len(block) - 1)
    while free > 0 and (narrow := [index for index in block if widths[index] < columns[index].full]):
        for index in narrow[:free]:
            widths[index] += 1
        free -= len(narrow)
    return widths


def _longest_word(text: str) -> int:
    """Returns the length of the longest part of a text without a place to break it, with the indentation of its line."""
    lengths = [0]
    for line in text.split("\n"):
        first, *others = [piece.rstrip() for piece in _PIECE.findall(line.lstrip())]
        lengths += [len(line) - len(line.lstrip()) + len(first), *map(len, others)]
    return max(lengths)


def text_width(text: str) -> int:
    """Returns the length of the longest line of a text."""
    return max(map(len, text.split("\n")))


def wrapped(text: str, width: int) -> str:
    """Returns a text with lines of at most `width` characters.

    Lines end after a path separator, a colon, a comma, a semicolon, an equals sign or a space; a longer piece is cut.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        current = ""
        for piece in _PIECE.findall(line):
            if current and len(current) + len(piece.rstrip()) > width:
                lines.append(current.rstrip())
                current = ""
            current += piece
            while len(current.rstrip()) > width:
                lines.append(current[:width])
                current = current[width:]
        lines.append(current.rstrip())
    return "\n".join(lines)
