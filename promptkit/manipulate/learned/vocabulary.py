"""Selects tokens of a model's vocabulary: pseudo-random common tokens for initialization, and tokens that spell no text."""

from __future__ import annotations

from promptkit.core.hashing import blake2b
from promptkit.core.model import TextCard

COMMON = 5000
"""The number of ids, from 0, that count as common tokens: a subword tokenizer learns frequent tokens first."""


def shuffled_ids(count: int, seed: int) -> list[int]:
    """Returns the ids below `count` in a pseudo-random order."""
    return sorted(range(count), key=lambda token: blake2b(f"{seed}\0{token}"))


def non_text_ids(card: TextCard) -> list[int]:
    """Returns the ids that spell no text: control tokens, and unused rows at the end of the embedding matrix."""
    end = card.vocabulary
    while end and not card.tokenizer.decode([end - 1]):
        end -= 1
    return [*card.tokenizer.control.values(), *card.tokenizer.ends, *range(end, card.vocabulary)]


def common_tokens(card: TextCard, seed: int) -> list[int]:
    """Returns the common text tokens in a pseudo-random order."""
    excluded = set(non_text_ids(card))
    return [token for token in shuffled_ids(min(COMMON, card.vocabulary), seed) if token not in excluded]


def common_text(card: TextCard, count: int, seed: int) -> list[int]:
    """Returns `count` ids: the model's BOS tokens, then common tokens, repeated where there are too few."""
    return repeated([*card.tokenizer.bos, *common_tokens(card, seed)], count)


def repeated(ids: list[int], count: int) -> list[int]:
    """Returns the first `count` of the ids, starting over where there are too few."""
    return [ids[index % len(ids)] for index in range(count)]
