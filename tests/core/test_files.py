"""Atomic file writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from promptkit.core.errors import CheckpointError
from promptkit.core.files import write_atomically, write_folder
from tests.support.errors import refused


def test_a_file_is_replaced_without_leaving_temporary_files(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        write_atomically(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_is_created_with_its_files(tmp_path: Path) -> None:
    write_folder(tmp_path / "a" / "b", {"one": b"1", "two": b"2"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "a" / "b").iterdir()} == {"one": b"1", "two": b"2"}


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with refused(CheckpointError, "cannot-write", folder=str(tmp_path / "file" / "a")):
        write_folder(tmp_path / "file" / "a", {"one": b"1"})
