"""Short, printable forms of texts of a user's data, such as labels, for tables, notes and messages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

LONGEST = 40
"""The most characters of a label that are shown."""
_END = 12
"""The number of characters at the end of a long label that are shown, because labels often differ there only."""


def escaped(text: str) -> str:
    """Returns a text in one line, with escapes such as `\\\\n` in place of characters that are not printable."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def label_text(label: str, longest: int = LONGEST) -> str:
    """Returns a label for display: with escapes, and with an ellipsis in place of the middle of a long label.

    Args:
        label: The label.
        longest: The most characters to show.
    """
    parts = [*map(escaped, label)]
    if sum(map(len, parts)) <= longest:
        return "".join(parts)
    end = min(_END, longest // 3)
    last = _fitting(parts[::-1], end)[::-1]
    return f"{''.join(_fitting(parts, longest - end - 1)).rstrip()}…{''.join(last).lstrip()}"


def _fitting(parts: Sequence[str], width: int) -> Sequence[str]:
    """Returns as many of the first texts as fit into a width together."""
    ends = accumulate(map(len, parts))
    return parts[: sum(end <= width for end in ends)]
