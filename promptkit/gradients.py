"""What a model gives through which gradients flow. Without behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from promptkit.types import Request
from promptkit.within import Within

Precision = Literal["no", "bf16", "fp16"]
"""In which a forward multiplies matrices, if not in that of its weights."""


class Differentiable(Protocol):
    """Scores of certain requests as functions of what they all hold that is learned."""

    device: Any
    """Of torch: where the tensors shall be."""
    tokens: Sequence[int]
    """Of each request, how many are computed."""

    def batches(self, chosen: Sequence[int]) -> list[list[int]]:
        """The chosen requests in parts, each of which is computed at once."""
        ...

    def scores(self, chosen: Sequence[int], within: Within[Any]) -> list[list[Any]]:
        """Of each request, of each continuation, its tokens' log-probabilities: tensors, of those in `within`."""
        ...

    def embed(self, ids: Sequence[int]) -> Any:
        """What the embedding module gives these tokens: a tensor (tokens, d_model)."""
        ...

    def projected(self, vectors: Any) -> Any:
        """The inner product of each vector with each token's embedding: a tensor (rows, vocabulary)."""
        ...

    def weights_hash(self) -> str:
        """Of every weight of the frozen model."""
        ...


@runtime_checkable
class Trains(Protocol):
    """A model through which gradients flow."""

    def differentiable(
        self, requests: Sequence[Request], *, checkpointing: bool = False, precision: Precision = "no"
    ) -> Differentiable:
        """Requests to score that all hold the same of what is learned, as functions of it; the weights load now.

        With `checkpointing` a backward pass computes each layer again; with a `precision` matrices are multiplied in it.
        """
        ...
