"""The base class of the forward passes of models that are not causal."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from promptkit.core.interventions import Interventions
from promptkit.core.requests import Output, Read, ReadOutput, Request, Score, ScoreOutput
from promptkit.models.hf.checked import CheckResults
from promptkit.models.hf.forward import Forward
from promptkit.models.hf.frozen_model import FrozenModel
from promptkit.models.hf.kv_cache import KeyValues
from promptkit.models.hf.tensors import interventions_of
from promptkit.models.hf.verify import padding_matters


class NonCausalForward(Forward):
    """A forward pass that shares no prefixes, and pads rows that are computed together."""

    shares_prefixes = False

    def __init__(self, frozen: FrozenModel, *, padding: int, batch_tokens: int) -> None:
        """Wraps a model; `padding` is its padding token."""
        super().__init__(frozen, batch_tokens=batch_tokens)
        self._padding = padding
        self._equal_lengths = False
        """Whether only rows of equal length are computed together."""

    def check_padding(self, checks: CheckResults) -> None:
        """Computes only rows of equal length together from now on, if padding changes the results of this model.

        Args:
            checks: The known results of checks of this model.
        """
        self._equal_lengths = checks.holds("padding matters", lambda: padding_matters(self))

    def answer(self, requests: Sequence[Request], reuse: int, prefix: KeyValues) -> list[Output]:
        """Returns the outputs of `Score` and `Read` requests."""
        interventions = interventions_of(requests, self.device)
        scored = [request for request in requests if isinstance(request.verb, Score)]
        read = [request for request in requests if isinstance(request.verb, Read)]
        with torch.no_grad():
            scores, reads = iter(self._score(scored, interventions)), iter(self._read(read, interventions))
            return [
                ScoreOutput(logprobs=tuple(tuple(row.tolist()) for row in next(scores)))
                if isinstance(request.verb, Score)
                else next(reads)
                for request in requests
            ]

    def token_logprobs(
        self, requests: Sequence[Request], reuse: int, prefix: KeyValues, interventions: Interventions[Tensor]
    ) -> list[list[Tensor]]:
        """Returns the log-probabilities of each request's continuations; see `Forward.token_logprobs`."""
        return self._score(requests, interventions)

    @abstractmethod
    def _score(self, requests: Sequence[Request], interventions: Interventions[Tensor]) -> list[list[Tensor]]:
        """Returns the log-probability of each token of each continuation."""

    @abstractmethod
    def _read(self, requests: Sequence[Request], interventions: Interventions[Tensor]) -> list[ReadOutput]:
        """Returns the outputs of `Read` requests."""
