"""Chooses a subset of rows by hash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample
from promptkit.core.hashing import sha256


def check_limit(limit: int | None, name: str = "limit") -> None:
    """Raises InputError for a maximum number of rows below 1; `name` is the name of the argument."""
    if limit is not None and limit < 1:
        given: dict[str, Any] = {name: limit}
        raise InputError(f"The {name} must be at least 1", code="out-of-range", got=f"{name}={limit}", **given)


def by_hash(rows: Sequence[LabeledExample], limit: int | None) -> list[LabeledExample]:
    """Returns the `limit` rows with the smallest hash of their id, in the order of the hash; all rows if it is None.

    A smaller limit gives a subset of a larger one, and the order does not depend on the order of the file.

    Raises:
        InputError: The limit is not positive.
    """
    check_limit(limit)
    return sorted(rows, key=lambda row: sha256(row.id))[:limit]
