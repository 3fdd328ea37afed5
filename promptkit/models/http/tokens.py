"""Identifies the tokens of a server's response by their ids.

Servers that return ids are read by id. Others spell tokens as bytes or as text, and there are several ways to spell a token:
its text (" good"), its name in the vocabulary ("▁good", "Ġgood") or its text decoded alone, without the leading space ("good").
A spelling is used only if exactly one token of the vocabulary has it and no other way of spelling contradicts it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from promptkit.core.errors import ServerError, Unsupported

PARTIAL_CHARACTER = "\ufffd"
"""The replacement character, which a token that is a part of a character decodes to."""
BYTE_NAME = re.compile(r"<0x([0-9A-F]{2})>")
"""The name of a token for one byte in SentencePiece vocabularies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One of the most likely tokens in a response."""

    text: str
    """The server's spelling of the token."""
    logprob: float
    token_id: int | None = None
    """The token's id, if the server returns it."""
    data: bytes | None = None
    """The token's bytes, if the server returns them."""


class Vocabulary(Protocol):
    """The tokens of a tokenizer."""

    def name(self, token_id: int) -> str:
        """Returns the token's name in the vocabulary."""
        ...

    def texts(self) -> tuple[Sequence[str], Sequence[str]]:
        """Returns the text of every token id after another token, and of every token id alone."""
        ...


class TokenTable:
    """Finds tokens by their spelling in a response."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Creates a table; the vocabulary is read when a response without token ids arrives."""
        self._vocabulary = vocabulary

    def logprobs(self, entries: Sequence[Entry], tokens: Iterable[int]) -> dict[int, float]:
        """Returns the log-probabilities of the tokens that are among the entries.

        Args:
            entries: The most likely tokens of a response.
            tokens: The ids of the tokens to find.

        Raises:
            Unsupported: A spelling may denote several tokens.
            ServerError: The tokenizer does not have the tokens of the response.
        """
        if all(entry.token_id is not None for entry in entries):
            by_id = {entry.token_id: entry.logprob for entry in entries}
            return {token: by_id[token] for token in tokens if token in by_id}
        in_bytes = all(entry.data is not None for entry in entries)
        if in_bytes:
            ways = [self._bytes]
            spelled: dict[object, float] = {entry.data: entry.logprob for entry in entries}
        else:
            spelled = {entry.text: entry.logprob for entry in entries if entry.text and PARTIAL_CHARACTER not in entry.text}
            ways = self._consistent(spelled)
        partial = not in_bytes and any(PARTIAL_CHARACTER in entry.text for entry in entries)
        found = {}
        for token in tokens:
            if partial and token not in self._texts[0].of:  # one of the parts of characters, which are spelled alike
                raise self._ambiguous(token)
            values = {self._value(way, token, spelled) for way in ways}
            if len(values) > 1:
                raise self._ambiguous(token)
            if (value := values.pop()) is not None:
                found[token] = value
        return found

    def _value(self, way: _Spelling, token: int, spelled: Mapping[object, float]) -> float | None:
        spelling = way.of.get(token)
        if spelling is None or spelling not in spelled:
            return None
        if len(way.tokens[spelling]) > 1:
            raise self._ambiguous(token)
        return spelled[spelling]

    def _consistent(self, spelled: Mapping[object, float]) -> list[_Spelling]:
        """Returns the ways of spelling that explain every spelling that any way explains."""
        explained = [{spelling for spelling in spelled if spelling in way.tokens} for way in self._texts]
        known = set().union(*explained)
        if 2 * len(known) < len(spelled):
            unknown = sorted(map(str, spelled.keys() - known))[:3]
            raise ServerError(
                "The server returned tokens that the tokenizer does not have",
                code="tokenizer-mismatch",
                got=", ".join(map(repr, unknown)),
                hint="Set tokenizer to the tokenizer of the server's model",
                tokens=tuple(unknown),
            )
        return [way for way, spellings in zip(self._texts, explained, strict=True) if spellings == known]

    @cached_property
    def _texts(self) -> list[_Spelling]:
        after, alone = self._vocabulary.texts()
        names = [self._vocabulary.name(token) for token in range(len(after))]
        return [_Spelling.from_texts(texts, names) for texts in (after, names, alone)]

    @cached_property
    def _bytes(self) -> _Spelling:
        after, _ = self._vocabulary.texts()
        names = [self._vocabulary.name(token) for token in range(len(after))]
        data = [_data(text, name) for text, name in zip(after, names, strict=True)]
        return _Spelling.from_texts(data, names)

    def _ambiguous(self, token: int) -> Unsupported:
        name = self._vocabulary.name(token)
        return Unsupported(
            f"The server returns tokens as text, and its spelling of the token {name!r} may denote another token",
            code="ambiguous-token",
            hint="Use a server that returns token ids, such as vLLM or llama.cpp, or other label words",
            token=name,
        )


@dataclass(frozen=True, slots=True)
class _Spelling:
    """One way of spelling tokens."""

    of: Mapping[int, object]
    """Token id -> spelling."""
    tokens: Mapping[object, Sequence[int]]
    """Spelling -> ids of the tokens that it may denote."""

    @classmethod
    def from_texts(cls, texts: Sequence[object], names: Sequence[str]) -> _Spelling:
        """Creates a table from the spelling of every token id.

        A token for one byte is not counted for a spelling that another token has: tokenizers never produce it there.
        """
        tokens: defaultdict[object, list[int]] = defaultdict(list)
        for token, text in enumerate(texts):
            tokens[text].append(token)
        for spelling, ids in tokens.items():
            if len(ids) > 1:
                tokens[spelling] = [token for token in ids if not BYTE_NAME.fullmatch(names[token])] or ids
        of = {token: text for token, text in enumerate(texts) if not (isinstance(text, str) and PARTIAL_CHARACTER in text)}
        return cls(of, tokens)


def _data(text: str, name: str) -> bytes:
    """Returns the bytes of a token."""
    if PARTIAL_CHARACTER not in text:
        return text.encode("utf-8", "surrogatepass")
    if match := BYTE_NAME.fullmatch(name):
        return bytes([int(match[1], 16)])
    try:
        return bytes(_BYTE_LEVEL[character] for character in name)
    except KeyError:
        return text.encode()


def _byte_level() -> dict[str, int]:
    """Returns the bytes that the characters of byte-level BPE vocabularies denote."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTE_LEVEL = _byte_level()
