"""Checks of the settings of calibrations."""

from __future__ import annotations

from promptkit.core.errors import InputError


def check_rows(name: str, rows: int) -> None:
    """Raises InputError for fewer than one row."""
    if rows < 1:
        raise InputError(
            f"The calibration {name} needs at least one row", code="out-of-range", got=f"rows={rows}", aligner=name, rows=rows
        )
