"""Fixtures of the http engine's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiny import save


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a tiny chat model."""
    return save(tmp_path_factory.mktemp("tiny"), "llama", chat=True)
