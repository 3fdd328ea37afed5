"""A model that is asked while prompts are still being made; what the score cache knows is not asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from promptkit.cache import ScoreCache
from promptkit.types import Card, Model, Output, Request


class Asking:
    """Answers requests in their order."""

    def __init__(self, model: Model, cache: ScoreCache | None = None, card: Card | None = None) -> None:
        """`card` stands in for the model's own, which is read when it is first asked for."""
        self._model = model
        self._cache = cache
        self._card = card

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
        if not requests:
            return []
        different = [*dict.fromkeys(requests)]
        known = {} if self._cache is None else self._cache.find(self._identity, different)
        missing = [request for index, request in enumerate(different) if index not in known]
        answers = {different[index]: output for index, output in known.items()}
        for indices, outputs in self._model.answer(missing) if missing else ():
            asked = [missing[index] for index in indices]
            if self._cache is not None:
                self._cache.add(self._identity, asked, outputs)
            answers.update(zip(asked, outputs, strict=True))
        return [answers[request] for request in requests]
