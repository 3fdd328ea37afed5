"""A model that is asked while prompts are still being made; what the score cache knows is not asked again."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import cached_property

from promptkit.core.arrays import Array
from promptkit.core.errors import Unsupported
from promptkit.core.inputs import KVPrefix, Vectors
from promptkit.core.model import Card, Model, SupportsEmbeddings, SupportsInterventions
from promptkit.core.requests import Output, Request
from promptkit.models.cache import ScoreCache

LOG_EVERY = 256
"""Requests: that so many are asked is logged before they are, and again each time that there are twice as many."""

_log = logging.getLogger(__name__)


class CachedModel:
    """Answers requests in their order, and counts them."""

    def __init__(self, model: Model, cache: ScoreCache | None = None, card: Card | None = None) -> None:
        """`card` stands in for the model's own, which is read when it is first asked for."""
        self._model = model
        self._cache = cache
        self._card = card
        self._told = LOG_EVERY
        self.asked = 0
        """Requests that the model has answered."""
        self.recalled = 0
        """Requests that the score cache has answered."""
        self.seconds = 0.0
        """Of the model's work."""

    @property
    def card(self) -> Card:
        """What manipulations may know of the model."""
        return self._card or self._model.card

    @cached_property
    def _identity(self) -> Mapping[str, object]:
        """It may take a hash of the model's files."""
        return dict(self._model.identity())

    def __call__(self, requests: Sequence[Request]) -> list[Output]:
        """The answers, computed in full batches; equal requests are asked once."""
        different = [*dict.fromkeys(requests)]
        known = self._cache.find(self._identity, different) if self._cache is not None and different else {}
        self.recalled += len(known)
        if len(known) < len(different):
            known = {**self._computed(different, known), **known}
        answers = {different[index]: output for index, output in known.items()}
        return [answers[request] for request in requests]

    def embed(self, ids: Sequence[int]) -> Vectors:
        """What the model's embedding gives these tokens."""
        if not isinstance(self._model, SupportsEmbeddings):
            raise Unsupported(
                f"The model {self._model.name} does not support learned vectors",
                code="no-learned-vectors",
                hint="Use an hf or a vllm model",
                model=self._model.name,
            )
        return self._model.embed(ids)

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """What the model's layers hold of these tokens."""
        if not isinstance(self._model, SupportsInterventions):
            raise Unsupported(
                f"The model {self._model.name} does not support prefixes",
                code="no-prefixes",
                hint="Use an hf model: the name alone",
                model=self._model.name,
            )
        return self._model.keys_values(ids)

    def _computed(self, requests: Sequence[Request], known: Mapping[int, Output]) -> dict[int, Output]:
        """The answers of every batch that holds an unknown one: as with a run, what is known changes no batch."""
        self._tell(len(requests) - len(known))
        self._model.load()
        began = time.perf_counter()
        answers: dict[int, Output] = {}
        for indices, outputs in self._model.answer(requests, frozenset(known)):
            if self._cache is not None:
                self._cache.add(self._identity, [requests[i] for i in indices], outputs)
            answers.update(zip(indices, outputs, strict=True))
        self.asked += len(requests) - len(known)
        self.seconds += time.perf_counter() - began
        return answers

    def _tell(self, more: int) -> None:
        if self.asked + more >= self._told:
            _log.warning("To make the prompts, the model is asked %d requests (%d so far).", more, self.asked)
            self._told = 2 * (self.asked + more)

    def notes(self) -> Sequence[str]:
        """What a reader of a run should know of the work before it."""
        if not self.asked + self.recalled:
            return ()
        known = f", and {self.recalled} were known from the score cache" if self.recalled else ""
        return (f"{self.asked} requests were asked while prompts were made ({self.seconds:.1f} s){known}",)


class NeedsAnswer(Exception):
    """A prompt cannot be made any further without a model's answer."""


class DryRunModel:
    """Stands in for a model in a rehearsal: says what it may be known by, and answers nothing."""

    def __init__(self, card: Card) -> None:
        self.card = card

    def __call__(self, requests: Sequence[Request]) -> list[Output]:
        """Raise NeedsAnswer if anything is asked."""
        if requests:
            raise NeedsAnswer
        return []

    def embed(self, ids: Sequence[int]) -> Vectors:
        """Nothing, as often as it is asked for."""
        return Vectors(data=bytes(4 * self.card.d_model * len(ids)), d_model=self.card.d_model)

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """Raise NeedsAnswer: how they look no card says."""
        raise NeedsAnswer
