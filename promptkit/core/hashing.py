"""Stable hashes of text and bytes: the same on every machine, in every process and for every version of Python."""

from __future__ import annotations

import hashlib
from pathlib import Path

SHORT = 16
"""Hexadecimal digits of a short hash."""


class Hasher:
    """A SHA-256 that is computed over several pieces."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def update(self, content: str | bytes | memoryview) -> None:
        """Appends a piece of the hashed content."""
        self._sha256.update(_encoded(content) if isinstance(content, str) else content)

    def hexdigest(self) -> str:
        """Returns the hash of all pieces so far, in hexadecimal."""
        return self._sha256.hexdigest()


def sha256(content: str | bytes) -> bytes:
    """Returns the SHA-256 of bytes, or of a text in UTF-8, as 32 bytes. Lone surrogates in a text are allowed."""
    return hashlib.sha256(_encoded(content)).digest()


def sha256_hex(content: str | bytes) -> str:
    """Returns the SHA-256 of bytes, or of a text in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(_encoded(content)).hexdigest()


def short_hash(content: str | bytes) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of bytes or a text."""
    return sha256_hex(content)[:SHORT]


def file_sha256_hex(path: Path) -> str:
    """Returns the SHA-256 of a file's content in hexadecimal, without loading the file into memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_int(content: str | bytes, size: int = 32) -> int:
    """Returns the first `size` bytes of the SHA-256 as a big-endian integer."""
    return int.from_bytes(sha256(content)[:size])


def blake2b(content: str | bytes, size: int = 64) -> bytes:
    """Returns the BLAKE2b hash of bytes or a text, which is faster than SHA-256, as `size` bytes."""
    return hashlib.blake2b(_encoded(content), digest_size=size).digest()


def blake2b_int(content: str | bytes, size: int = 8) -> int:
    """Returns the BLAKE2b hash of `size` bytes as a big-endian integer."""
    return int.from_bytes(blake2b(content, size))


def _encoded(content: str | bytes) -> bytes:
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
