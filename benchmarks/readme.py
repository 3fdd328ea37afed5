"""Writes the tables of a benchmark into its README.md, between the markers `<!-- begin NAME -->` and `<!-- end NAME -->`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path


def update_readme(path: Path, sections: Mapping[str, str | Iterable[str]]) -> None:
    """Replaces sections of a file.

    Args:
        path: The file; a missing file is ignored, as in the folder of a trial run.
        sections: The new content, as text or lines, by the name in the section's markers.

    Raises:
        ValueError: The file does not have a marker.
    """
    if not path.is_file():
        return
    text = path.read_text("utf-8")
    for name, content in sections.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, marker, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (marker and closed):
            raise ValueError(f"{path} has no section between {begin} and {end}")
        body = content if isinstance(content, str) else "\n".join(content)
        text = f"{before}{begin}\n\n{body}\n\n{end}{after}"
    path.write_text(text, "utf-8")


def format_interval(figure: Mapping[str, float], *, sign: str = "", digits: int = 3) -> str:
    """Returns a value with its interval, such as `0.550 (0.49 to 0.61)`; with `sign="+"` each number has its sign."""
    return f"{figure['value']:{sign}.{digits}f} ({figure['low']:{sign}.2f} to {figure['high']:{sign}.2f})"


def format_versions(versions: Mapping[str, str]) -> str:
    """Returns the names and versions of packages, such as `torch 2.13.0, transformers 5.24.0`."""
    return ", ".join(f"{package} {number}" for package, number in versions.items())
