"""What a language model reads: token ids, learned vectors, and interventions on its hidden layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from promptkit.core.arrays import Array

T = TypeVar("T")


Operation = Literal["add", "replace", "low_rank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KVPrefix(Generic[T]):
    """Keys and values before a prompt: position j of the prefix is position j of all, and the prompt begins behind it."""

    length: int
    layers: tuple[int, ...]
    """Those that have them; in the others nothing stands at its positions."""
    keys: T
    """Shape (layers, kv heads, length, head width), as a cache holds them: with the rotary embedding of their positions."""
    values: T
    """Shape as `keys`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenEdit(Generic[T]):
    """A change of the hidden states that a layer makes, before the next one reads them."""

    layer: int
    operation: Operation
    """`add`: h + v. `replace`: v. `low_rank`: h + R^T (W h + b - R h)."""
    arrays: tuple[T, ...]
    """(v,), of shape (d_model,); or (R, W, b), of shapes (rank, d_model), (rank, d_model) and (rank,)."""
    all_positions: bool = False
    """At every token, those of continuations and written texts too; else at some of the prompt's own."""
    first: int = 0
    """At so many of the prompt's first tokens."""
    last: int = 0
    """At so many of its last ones; a token that is among both is changed once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interventions(Generic[T]):
    """All of it."""

    vectors: T | None = None
    """Shape (rows, d_model): row j stands where an id is -1-j."""
    prefixes: tuple[KVPrefix[T], ...] = ()
    """One behind the other."""
    edits: tuple[HiddenEdit[T], ...] = ()
    """One after the other, where they are of one layer."""


NO_INTERVENTIONS: Interventions[Any] = Interventions()
"""Of a prompt in which nothing is learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of a prompt before it is encoded."""

    text: str
    """The text itself, or the name of one control token or slot."""
    part: str
    """Whose it is: `instruction`, `demonstration 3`, `query`, `separator`, `frame` (BOS, turn markers), or `soft NAME`."""
    control: bool = False
    """True for a control token, which is the only way that one gets into a prompt."""
    learned: int = 0
    """How many learned vectors stand here; the text is then the name of their slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The tokens `start` to `stop` (exclusive) of a prompt belong to `part`."""

    part: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """A prompt as a language model reads it."""

    ids: tuple[int, ...]
    """Token ids, control tokens included; -1-j stands for row j of `vectors`, -1 also for a slot that is not filled."""
    spans: tuple[Span, ...] = ()
    """Contiguous, in order, and covering `ids`; a token that straddles two parts is the first one's."""
    vectors: Array | None = None
    """What stands at the negative ids in the place of what the embedding module gives: already scaled, if it scales."""
    prefixes: tuple[KVPrefix[Array], ...] = ()
    """Keys and values before it."""
    edits: tuple[HiddenEdit[Array], ...] = ()
    """Changes of its hidden states."""
