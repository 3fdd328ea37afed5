"""The base classes of the forward passes of the hf engine: of any model, and of causal models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from promptkit.core.arrays import Array
from promptkit.core.interventions import NO_INTERVENTIONS, Interventions
from promptkit.core.requests import Output, Request
from promptkit.models.generation import Writing
from promptkit.models.hf.causal_lm import CausalLM
from promptkit.models.hf.frozen_model import FrozenModel
from promptkit.models.hf.kv_cache import KeyValues
from promptkit.models.hf.tensors import array_of


class Forward(ABC):
    """Answers batches of requests by forward passes of a model.

    Several methods take `reuse` and `prefix`: all requests of the batch begin with the same `reuse` tokens, and `prefix` has
    the keys and values of at least these, as `prefill` returns them. An implementation that does not share prefixes ignores
    both.
    """

    shares_prefixes: ClassVar[bool]
    """Whether requests reuse the keys and values of their common beginning."""

    def __init__(self, frozen: FrozenModel, *, batch_tokens: int) -> None:
        """Wraps a model; at most `batch_tokens` tokens are computed at once."""
        self.frozen = frozen
        self._batch_tokens = batch_tokens

    @property
    def model(self) -> nn.Module:
        """The model as a PyTorch module."""
        return self.frozen.module

    @property
    def dtype(self) -> torch.dtype:
        """The data type of the weights."""
        return self.frozen.dtype

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.frozen.device

    def embed(self, ids: Sequence[int]) -> Array:
        """Returns the embeddings of tokens."""
        return array_of(self.frozen.embed(torch.tensor(ids, device=self.device)))

    def as_prompt(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Returns ids as a prompt that can be scored, with required tokens, such as a mask, at the end."""
        return ids

    def prefill(self, ids: tuple[int, ...], interventions: Interventions[Tensor] = NO_INTERVENTIONS) -> KeyValues:
        """Computes the keys and values of a shared prefix; returns an empty mapping if prefixes are not shared."""
        return {}

    @abstractmethod
    def answer(self, requests: Sequence[Request], reuse: int, prefix: KeyValues) -> list[Output]:
        """Returns the outputs of `Score` and `Read` requests."""

    @abstractmethod
    def generate(self, requests: Sequence[Request], reuse: int, prefix: KeyValues, *, writing: Writing) -> list[Output]:
        """Returns the outputs of `Generate` requests."""

    @abstractmethod
    def token_logprobs(
        self, requests: Sequence[Request], reuse: int, prefix: KeyValues, interventions: Interventions[Tensor]
    ) -> list[list[Tensor]]:
        """Returns the log-probabilities of each request's continuations, differentiable in the tensors of `interventions`.

        Args:
            requests: `Score` requests.
            reuse: See the class.
            prefix: See the class.
            interventions: Replaces what the requests themselves contain.

        Returns:
            For each request and each of its continuations, a tensor of shape (tokens of the continuation,).
        """


class CausalForward(Forward):
    """A forward pass of a causal model, whose keys and values can be read and learned."""

    def __init__(self, causal_lm: CausalLM, *, batch_tokens: int) -> None:
        """See `Forward.__init__`."""
        super().__init__(causal_lm, batch_tokens=batch_tokens)
        self.causal_lm = causal_lm

    @abstractmethod
    def keys_values(self, ids: Sequence[int]) -> KeyValues:
        """Computes the keys and values of a text."""
