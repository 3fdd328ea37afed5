"""Stable hashes: fixed values, and text equals its UTF-8 bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from promptkit.core.hashing import Hasher, blake2b, blake2b_int, file_sha256_hex, sha256, sha256_hex, sha256_int, short_hash
from promptkit.core.seeding import generator, hash_rank, number
from promptkit.core.sequences import common_prefix_length

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"""The SHA-256 of `abc` (FIPS 180-2)."""

tokens = st.lists(st.integers(0, 3), max_size=6)


def test_hashes_have_their_published_values(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    hasher = Hasher()
    hasher.update("a")
    hasher.update(b"bc")
    assert sha256_hex("abc") == sha256(b"abc").hex() == file_sha256_hex(tmp_path / "file") == hasher.hexdigest() == ABC
    assert short_hash("abc") == ABC[:16]
    assert sha256_int("abc", size=2) == 0xBA78
    assert blake2b("abc").hex().startswith("ba80a53f981c4d0d")
    assert blake2b_int("abc", size=8) == int.from_bytes(hashlib.blake2b(b"abc", digest_size=8).digest())


@given(st.text(st.characters()))
def test_a_text_has_the_hash_of_its_bytes(text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")
    assert sha256(text) == sha256(content)
    assert blake2b(text, size=6) == blake2b(content, size=6)


def test_seeded_numbers_never_change() -> None:
    assert hash_rank(0, "a", "b") == sha256("0\0a\0b")
    assert number("soft", 0) == sha256_int("soft\0" + "0")
    assert generator("soft", 0).integers(1000) == generator("soft", 0).integers(1000)


@given(tokens, tokens, tokens)
def test_the_common_prefix_is_the_longest_shared_start(prefix: list[int], first: list[int], second: list[int]) -> None:
    one, other = prefix + first, prefix + second
    length = common_prefix_length(one, other)
    assert length >= len(prefix)
    assert one[:length] == other[:length]
    assert one[length : length + 1] != other[length : length + 1] or length == len(one) == len(other)
