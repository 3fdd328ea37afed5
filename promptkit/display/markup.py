"""Writes tables as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "−": "$-$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
"""Character -> how LaTeX writes it."""
_MARKDOWN = re.compile(r"([\\|*_`<>\[\]~])")
"""Characters with a meaning in Markdown."""
_INTERVAL = re.compile(r"[+-]?[0-9.]+\n.*")
"""A figure with its interval in the next line."""


def in_one_line(cell: str) -> str:
    """Returns the text of a cell in one line, with an interval in parentheses: `0.873 (0.85–0.90)`."""
    if _INTERVAL.fullmatch(cell):
        value, interval = cell.split("\n")
        return f"{value} ({interval})"
    return cell.replace("\n", " ")


def as_csv(columns: Sequence[str], records: Sequence[Mapping[str, object]]) -> str:
    """Returns comma-separated values with a header; None is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def as_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], names: int) -> str:
    """Returns a table in the Markdown of GitHub.

    Args:
        columns: The headers.
        rows: The cells of each row.
        names: The number of columns on the left that are aligned to the left.
    """
    rule = [":--" if index < names else "--:" for index in range(len(columns))]
    lines = [[_MARKDOWN.sub(r"\\\1", cell) for cell in row] for row in (columns, *rows)]
    lines.insert(1, rule)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_latex(columns: Sequence[str], rows: Sequence[Sequence[str]], names: int, notes: Sequence[str] = ()) -> str:
    """Returns a LaTeX tabular with the rules of booktabs.

    Args:
        columns: The headers.
        rows: The cells of each row.
        names: The number of columns on the left that are aligned to the left.
        notes: Comments above the table.
    """
    comments = [f"% {' '.join(note.split())}" for note in notes if note]
    head, *body = (f"{' & '.join(map(latex_text, row))} \\\\" for row in (columns, *rows))
    alignment = "l" * names + "r" * (len(columns) - names)
    lines = [f"\\begin{{tabular}}{{{alignment}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*comments, *lines])


def latex_text(text: str) -> str:
    """Returns a text with the characters escaped that have a meaning in LaTeX, and with minus signs before numbers."""
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w.)-])([+-])(?=\d)", r"$\1$", escaped)
