"""What a language model reads: token ids, learned vectors, and interventions on its hidden layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from promptkit.core.arrays import Array

T = TypeVar("T")
"""`Array` in requests, a torch tensor in a forward pass."""

Operation = Literal["add", "replace", "low_rank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KVPrefix(Generic[T]):
    """Learned keys and values before a prompt (prefix tuning, Li and Liang 2021, arXiv 2101.00190).

    The prefix occupies the first positions of the input; the prompt starts after it.
    """

    length: int
    """The number of positions of the prefix."""
    layers: tuple[int, ...]
    """The layers that have keys and values, counted from 1. In other layers nothing attends to these positions."""
    keys: T
    """Shape (layers, kv heads, length, head width), as in a KV cache: with the rotary embedding of their positions."""
    values: T
    """Shape as `keys`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenEdit(Generic[T]):
    """An edit of the hidden states that a layer returns, before the next layer reads them."""

    layer: int
    """Counted from 1."""
    operation: Operation
    """`add`: h + v. `replace`: v. `low_rank`: h + R^T (W h + b - R h) (LoReFT, Wu et al. 2024, arXiv 2404.03592)."""
    arrays: tuple[T, ...]
    """(v,), of shape (d_model,); or (R, W, b), of shapes (rank, d_model), (rank, d_model) and (rank,)."""
    all_positions: bool = False
    """Whether to edit every token, including those of continuations and generated texts; otherwise `first` and `last` apply."""
    first: int = 0
    """How many tokens at the start of the prompt to edit."""
    last: int = 0
    """How many tokens at the end of the prompt to edit. A token among both the first and the last is edited once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interventions(Generic[T]):
    """Everything that a forward pass reads in addition to token ids."""

    vectors: T | None = None
    """Learned vectors, shape (rows, d_model): the id -1-j refers to row j."""
    prefixes: tuple[KVPrefix[T], ...] = ()
    """Learned keys and values, one prefix after the other."""
    edits: tuple[HiddenEdit[T], ...] = ()
    """Edits of hidden states; edits of the same layer are applied in order."""


NO_INTERVENTIONS: Interventions[Any] = Interventions()
"""The interventions of a prompt without learned parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a prompt before it is encoded."""

    text: str
    """The text, or the name of a control token or of a slot."""
    part: str
    """`instruction`, `demonstration 3`, `query`, `separator`, `frame` (BOS, turn markers) or `soft NAME`."""
    control: bool = False
    """Whether it is a control token. Text is never parsed for control tokens."""
    added: bool = False
    """Whether the tokenizer adds the control token around a text, which then begins as it would alone. The tokenizer finds all
    other control tokens in the text."""
    learned: int = 0
    """The number of learned vectors in a slot; `text` is then the name of the slot. 0 for text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The tokens of a prompt that belong to one part."""

    part: str
    """As in `Piece.part`."""
    start: int
    """The index of the first token."""
    stop: int
    """The index after the last token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """An encoded prompt: what a language model reads."""

    ids: tuple[int, ...]
    """Token ids, including control tokens. The id -1-j refers to row j of `vectors`; -1 also marks an unfilled slot."""
    spans: tuple[Span, ...] = ()
    """The parts of the prompt in order, covering all of `ids`. A token across two parts belongs to the first."""
    vectors: Array | None = None
    """Shape (rows, d_model): used in place of the embedding module's output, with the embedding's scale already applied."""
    prefixes: tuple[KVPrefix[Array], ...] = ()
    """Learned keys and values before the prompt."""
    edits: tuple[HiddenEdit[Array], ...] = ()
    """Edits of hidden states."""
