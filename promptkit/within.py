"""What is learned and stands within a model: vectors in the place of embeddings, keys and values, changes of hidden states.

Of arrays they are values, a part of a prompt; of tensors they are what a forward reads. Layers are counted from 1, as `Read`
counts hidden states: layer l makes state l. Without behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")

Operation = Literal["add", "replace", "low_rank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix(Generic[T]):
    """Keys and values before a prompt: position j of the prefix is position j of all, and the prompt begins behind it."""

    length: int
    layers: tuple[int, ...]
    """Those that have them; in the others nothing stands at its positions."""
    keys: T
    """Shape (layers, kv heads, length, head width), as a cache holds them: with the rotary embedding of their positions."""
    values: T
    """Shape as `keys`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(Generic[T]):
    """A change of the hidden states that a layer makes, before the next one reads them."""

    layer: int
    operation: Operation
    """`add`: h + v. `replace`: v. `low_rank`: h + R^T (W h + b - R h)."""
    arrays: tuple[T, ...]
    """(v,), of shape (d_model,); or (R, W, b), of shapes (rank, d_model), (rank, d_model) and (rank,)."""
    everywhere: bool = False
    """At every token, those of continuations and written texts too; else at some of the prompt's own."""
    first: int = 0
    """At so many of the prompt's first tokens."""
    last: int = 0
    """At so many of its last ones; a token that is among both is changed once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Within(Generic[T]):
    """All of it."""

    vectors: T | None = None
    """Shape (rows, d_model): row j stands where an id is -1-j."""
    prefixes: tuple[Prefix[T], ...] = ()
    """One behind the other."""
    edits: tuple[Edit[T], ...] = ()
    """One after the other, where they are of one layer."""


NOTHING: Within[Any] = Within()
"""Of a prompt in which nothing is learned."""
