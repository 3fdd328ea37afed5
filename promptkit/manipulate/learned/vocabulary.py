"""The tokens of a vocabulary that something learned may begin as, or come to."""

from __future__ import annotations

from promptkit.core.hashing import blake2b
from promptkit.core.model import Card

COMMON = 5000
"""Of a vocabulary, those tokens that are common: the first ones, which a subword tokenizer has learned first."""


def by_chance(count: int, seed: int) -> list[int]:
    """The tokens below `count`, in an order by chance."""
    return sorted(range(count), key=lambda token: blake2b(f"{seed}\0{token}"))


def forbidden(card: Card) -> list[int]:
    """Ids that stand for no text: control tokens, and rows at the end of the embedding that are no token."""
    end = card.vocabulary
    while end and not card.tokenizer.decode([end - 1]):
        end -= 1
    return [*card.tokenizer.control.values(), *card.tokenizer.ends, *range(end, card.vocabulary)]


def common_tokens(card: Card, seed: int) -> list[int]:
    """Common tokens of text, in an order by chance."""
    not_these = set(forbidden(card))
    return [token for token in by_chance(min(COMMON, card.vocabulary), seed) if token not in not_these]


def common_text(card: Card, count: int, seed: int) -> list[int]:
    """Common tokens behind the model's BOS, `count` in all."""
    ids = [*card.tokenizer.bos, *common_tokens(card, seed)]
    return [ids[place % len(ids)] for place in range(count)]
