"""Chooses rows by hash."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample
from promptkit.core.hashing import sha256


def by_hash(rows: Sequence[LabeledExample], limit: int | None) -> list[LabeledExample]:
    """The rows with the smallest hash of id, in that order: nested in `limit`, and not sorted by label as files are."""
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InputError("The limit must be an integer of at least 1", code="out-of-range", got=repr(limit), limit=limit)
    return sorted(rows, key=lambda row: sha256(row.id))[:limit]
