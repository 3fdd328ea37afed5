"""Reads the rows that the tools are compared on."""

from __future__ import annotations

import csv
from pathlib import Path


def read(file: str) -> list[tuple[str, str]]:
    """Returns the texts of a file with their labels."""
    with Path(file).open(newline="", encoding="utf-8") as stream:
        return [(row["text"], row["label"]) for row in csv.DictReader(stream)]
