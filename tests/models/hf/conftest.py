"""Fixtures of the hf engine's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import promptkit as pk
from tests.support import bidirectional
from tests.support.hf_models import LoadModel
from tests.support.tiny import save


@pytest.fixture(scope="session")
def load_model(tmp_path_factory: pytest.TempPathFactory) -> LoadModel:
    """Returns `load_model(kind, **settings)`, which saves a tiny model of a kind once and loads it anew at each call."""
    folders: dict[str, Path] = {}

    def load(kind: str, **settings: Any) -> Any:
        if kind not in folders:
            folders[kind] = save(tmp_path_factory.mktemp(kind), kind)
        return pk.load(str(folders[kind]), **settings)

    return load


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> LoadModel:
    """Returns `load(kind, **settings)`: as `load_model`, for encoder-decoders and masked language models."""
    folders: dict[str, Path] = {}

    def load_kind(kind: str, **settings: Any) -> Any:
        if kind not in folders:
            folders[kind] = bidirectional.save(tmp_path_factory.mktemp(kind), kind)
        return pk.load(str(folders[kind]), **settings)

    return load_kind
