"""Protocols of models whose attention heads can be read and replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class Heads(Protocol):
    """The attention heads of all layers of a model."""

    def outputs(self, ids: Sequence[int]) -> Floats:
        """Returns the output of each head at the last token of a prompt, before the output projection.

        Returns:
            Shape (layers, heads, head width).
        """
        ...

    def effects(self, ids: Sequence[int], continuation: Sequence[int], outputs: Floats) -> Floats:
        """Returns the causal effect of each head on the probability of a continuation.

        Args:
            ids: The prompt.
            continuation: The continuation.
            outputs: The outputs that replace those of one head at a time, at the last token of the prompt, shape (layers,
                heads, head width).

        Returns:
            The probability with the replaced output minus the probability without, shape (layers, heads).
        """
        ...

    def projected(self, outputs: Floats) -> Floats:
        """Returns what each head adds to the residual stream.

        If a norm follows the attention of a layer, its scale is computed from all heads of the layer together.

        Args:
            outputs: The outputs of all heads, shape (layers, heads, head width).

        Returns:
            Shape (layers, heads, d_model).
        """
        ...


@runtime_checkable
class ExposesHeads(Protocol):
    """A model whose attention heads can be read and replaced individually."""

    def heads(self) -> Heads:
        """Returns the model's attention heads. Loads the weights."""
        ...
