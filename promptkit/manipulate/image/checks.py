"""Checks of the settings of programs."""

from __future__ import annotations

from promptkit.core.errors import InputError


def check_share(name: str, value: float, *, lowest: float | None = None) -> None:
    """Raises InputError for a setting that is above 1, or below `lowest`; by default it must be above 0."""
    if (value > 0 if lowest is None else lowest <= value) and value <= 1:
        return
    bound = "above 0" if lowest is None else f"at least {lowest:g}"
    raise InputError(
        f"{name} must be {bound} and at most 1", code="out-of-range", got=f"{name}={value}", keyword=name, value=value
    )
