"""What a model tells of its attention heads, at the last token of a prompt. Without behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from promptkit.types import Floats


class Heads(Protocol):
    """The heads of every layer: what each gives, what that is worth, and what it adds."""

    def outputs(self, ids: Sequence[int]) -> Floats:
        """Of each head at the prompt's last token, before they are projected: (layers, heads, width)."""
        ...

    def effects(self, ids: Sequence[int], continuation: Sequence[int], outputs: Floats) -> Floats:
        """How much likelier the continuation is where one head alone gives this at the prompt's last token: (layers, heads).

        A difference of probabilities. outputs: (layers, heads, width).
        """
        ...

    def projected(self, outputs: Floats) -> Floats:
        """What each head adds to the residual stream where all of its layer give this: (layers, heads, d_model).

        Where a norm follows a layer's attention, its scale is that of the layer's whole. outputs: (layers, heads, width).
        """
        ...


@runtime_checkable
class Attends(Protocol):
    """A model whose attention heads can be told apart."""

    def heads(self) -> Heads:
        """Its heads; the weights load now."""
        ...
