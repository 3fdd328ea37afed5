"""Shared fixtures of the tests of searches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.obedient import BLOCKS, ROWS, WORDS


@pytest.fixture
def search_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes to a folder with a task with labels and a task with texts."""
    monkeypatch.chdir(tmp_path)
    for split, rows in (("train", ROWS[:300]), ("test", ROWS[300:])):
        Path(f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    Path("t.j2").write_text(BLOCKS, "utf-8")
    kinds: dict[str, dict[str, Any]] = {
        "labels": {"labels": WORDS, "label": "label"},
        "texts": {"answer": "first_line", "label": "word"},
    }
    for name, kind in kinds.items():
        files = {"train": "train.jsonl", "test": "test.jsonl"}
        source = {"files": files, "inputs": {"text": "text"}, "label": kind.pop("label")}
        Path(f"{name}.yaml").write_text(yaml.safe_dump({"description": "x", "template": "t.j2", **kind, "sources": [source]}))
