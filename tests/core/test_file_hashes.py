"""The hash of an unchanged file is known; a changed file is always read."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from promptkit.core import file_hashes
from promptkit.core.file_hashes import known_sha256_hex
from promptkit.core.hashing import file_sha256_hex


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was not changed lately, as far as the module can see."""
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_hashes, "SMALL", 0)
    monkeypatch.setattr(file_hashes.time, "time", lambda now=time.time: now() + 60)
    path = tmp_path / "weights"
    path.write_bytes(b"some weights")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read."""
    read: list[Path] = []
    monkeypatch.setattr(file_hashes, "file_sha256_hex", lambda path: (read.append(path), file_sha256_hex(path))[1])
    return read


def test_an_unchanged_file_is_read_once(file: Path, reads: list[Path]) -> None:
    assert known_sha256_hex(file) == known_sha256_hex(file) == file_sha256_hex(file)
    assert reads == [file]


def _same_size_and_time(file: Path) -> None:
    before = file.stat()
    file.write_bytes(b"SOME WEIGHTS")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"other weight")
    other.replace(file)


def _grown(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"!")


@pytest.mark.parametrize("change", [_same_size_and_time, _replaced, _grown])
def test_a_changed_file_is_read(file: Path, change: Callable[[Path], None]) -> None:
    first = known_sha256_hex(file)
    change(file)
    assert known_sha256_hex(file) == file_sha256_hex(file) != first


def test_a_file_that_was_just_written_is_always_read(file: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_hashes.time, "time", lambda: file.stat().st_mtime + 1)
    for _ in range(2):
        known_sha256_hex(file)
    assert reads == [file] * 2


@pytest.mark.parametrize("content", ["", "{}", '{"file": [], "sha256": 1}'])
def test_a_damaged_entry_is_replaced(file: Path, tmp_path: Path, content: str) -> None:
    known_sha256_hex(file)
    (entry,) = (tmp_path / "cache" / file_hashes.FOLDER).iterdir()
    entry.write_text(content)
    assert known_sha256_hex(file) == file_sha256_hex(file)


def test_without_a_cache_folder_files_are_read(file: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    assert known_sha256_hex(file) == file_sha256_hex(file)
