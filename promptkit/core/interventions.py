"""Interventions: values that change what a frozen model computes, without changing its weights.

They act on the values of an input (pixels), at the embedding (vectors), or in the layers (keys and values, edits of hidden
states). An engine applies them by what they are; it does not know which technique made them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

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
class InputOperation(Generic[T]):
    """An operation on the pixels of an image before the model's own normalization.

    Pixels have the shape (channels, height, width) and values between 0 and 1. After the last operation an image that does not
    have the model's size is resized to it.
    """

    name: str
    """The name of the operation, such as `add`, `place` or `invert`. An engine has one function for each name."""
    arrays: tuple[T, ...] = ()
    """The parameters of the operation."""
    settings: tuple[tuple[str, str | float], ...] = ()
    """Further settings of the operation by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interventions(Generic[T]):
    """Everything that a forward pass reads in addition to an input."""

    operations: tuple[InputOperation[T], ...] = ()
    """Operations on the pixels of an image, applied in order."""

    vectors: T | None = None
    """Learned vectors, shape (rows, d_model): the id -1-j refers to row j."""
    prefixes: tuple[KVPrefix[T], ...] = ()
    """Learned keys and values, one prefix after the other."""
    edits: tuple[HiddenEdit[T], ...] = ()
    """Edits of hidden states; edits of the same layer are applied in order."""


NO_INTERVENTIONS: Interventions[Any] = Interventions()
"""The interventions of an input without learned parts."""
