"""Tables to which a test adds classes."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.core.registry import Registry


def isolate(monkeypatch: pytest.MonkeyPatch, *tables: Registry[Any]) -> None:
    """Undoes, after a test, what the test adds to tables; entry points are read again."""
    for table in tables:
        monkeypatch.setattr(table, "_entries", dict(table))
        monkeypatch.setattr(table, "_definitions", dict(table._definitions))
        monkeypatch.setattr(table, "_loaded", False)
