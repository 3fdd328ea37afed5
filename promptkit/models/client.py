"""Clients that compute outputs while prompts are being built: one with a model and the score cache, one for dry runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

from promptkit.core.arrays import Array, zeros
from promptkit.core.interventions import KVPrefix
from promptkit.core.model import Model, ModelCard, text_card
from promptkit.core.requests import Output, Request, is_finite
from promptkit.models.cache import ScoreCache
from promptkit.models.finite import not_finite

LOG_EVERY = 256
"""A message is logged before this many requests are computed in total, and again each time that the total doubles."""

_log = logging.getLogger(__name__)


class CachedModel:
    """A model with a score cache that returns the outputs of requests in their order and counts them."""

    def __init__(
        self,
        model: Model,
        cache: ScoreCache | None = None,
        card: ModelCard | None = None,
        *,
        purpose: str | None = "Building the prompts",
        remember: bool = False,
    ) -> None:
        """Creates a client.

        Args:
            model: The model that computes what the cache does not contain.
            cache: The score cache; none by default.
            card: The card to use in place of the model's, such as one with a shorter context.
            purpose: What the requests are for, for messages about their number; None for no messages.
            remember: Whether to keep all outputs in memory, so that a request that is repeated is not counted again.
        """
        self._model = model
        self._cache = cache
        self._card = card
        self._purpose = purpose
        self._next_log = LOG_EVERY
        self._refuses = False
        self._remembered: dict[Request, Output] | None = {} if remember else None
        self.computed = 0
        """Number of requests that the model has computed."""
        self.cached = 0
        """Number of requests that the score cache has answered."""
        self.seconds = 0.0
        """Time that the model took, in seconds."""

    @property
    def card(self) -> ModelCard:
        """The properties of the model that manipulations can use."""
        return self._card or self._model.card

    @cached_property
    def _identity(self) -> Mapping[str, object]:
        """The model's identity, computed once because it may hash the model's files."""
        return dict(self._model.identity())

    def __call__(self, requests: Sequence[Request]) -> list[Output]:
        """Returns the outputs of the requests; equal requests are computed once."""
        self._check_refusal(requests)
        distinct = [*dict.fromkeys(requests)]
        known = self._known(distinct)
        if len(known) < len(distinct):
            known = {**self._compute(distinct, known), **known}
        outputs = {distinct[index]: output for index, output in known.items()}
        if self._remembered is not None:
            self._remembered |= outputs
        return [outputs[request] for request in requests]

    def _known(self, requests: Sequence[Request]) -> dict[int, Output]:
        """Returns the outputs that are remembered or in the cache, by the index of the request, and counts the latter."""
        remembered = self._remembered or {}
        known = {index: remembered[request] for index, request in enumerate(requests) if request in remembered}
        if self._cache is None or len(known) == len(requests):
            return known
        found = {**self._cache.find(self._identity, requests), **known}
        self.cached += len(found) - len(known)
        return found

    def embed(self, ids: Sequence[int]) -> Array:
        """Returns the model's embeddings of the tokens; see `Model.embed`."""
        self._check_refusal(ids)
        return self._model.embed(ids)

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """Returns the model's keys and values of the tokens; see `Model.keys_values`."""
        self._check_refusal(ids)
        return self._model.keys_values(ids)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Context manager in which everything that needs the model raises `NeedsAnswer`, as in a dry run."""
        self._refuses = True
        try:
            yield
        finally:
            self._refuses = False

    def _check_refusal(self, asked: Sequence[object]) -> None:
        if self._refuses and asked:
            raise NeedsAnswer

    def _compute(self, requests: Sequence[Request], known: Mapping[int, Output]) -> dict[int, Output]:
        """Computes every batch that contains an unknown request.

        Batches are planned from all requests, so that a resumed run computes the same batches as an uninterrupted one.
        """
        self._model.check_supported(requests)
        self._log_progress(len(requests) - len(known))
        self._model.load()
        start = time.perf_counter()
        computed: dict[int, Output] = {}
        for indices, outputs in self._model.answer(requests, frozenset(known)):
            if self._cache is not None:
                self._cache.add(self._identity, [requests[i] for i in indices], outputs)
            computed.update(zip(indices, outputs, strict=True))
            if not all(map(is_finite, outputs)):
                raise not_finite("a number while prompts were built", model=self._model.name)
        self.computed += len(requests) - len(known)
        self.seconds += time.perf_counter() - start
        return computed

    def _log_progress(self, count: int) -> None:
        if self._purpose is not None and self.computed + count >= self._next_log:
            _log.warning("%s needs %d more model requests (%d so far).", self._purpose, count, self.computed)
            self._next_log = 2 * (self.computed + count)

    def notes(self) -> Sequence[str]:
        """Returns a note with the number of requests, or nothing if there were none."""
        if not self.computed + self.cached:
            return ()
        cached = f", and {self.cached} were found in the score cache" if self.cached else ""
        return (f"{self.computed} requests were computed while prompts were built ({self.seconds:.1f} s){cached}",)


class NeedsAnswer(Exception):
    """Raised in a dry run when a prompt depends on a model's output."""


class DryRunModel:
    """Replaces the model in a dry run: it has a card and computes nothing."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card

    def __call__(self, requests: Sequence[Request]) -> list[Output]:
        """Raises NeedsAnswer if there are any requests."""
        if requests:
            raise NeedsAnswer
        return []

    def embed(self, ids: Sequence[int]) -> Array:
        """Returns zero vectors of the requested shape."""
        return zeros(len(ids), text_card(self.card).embedding_width)

    def keys_values(self, ids: Sequence[int]) -> KVPrefix[Array]:
        """Raises NeedsAnswer, because the card does not state the shape of keys and values."""
        raise NeedsAnswer
