"""An engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import PositiveFloat, PositiveInt

from promptkit.core.capabilities import Capabilities
from promptkit.core.model import TextCard
from promptkit.core.requests import Output, Request, Score, ScoreOutput
from promptkit.models.base import BatchedEngine
from promptkit.models.fake import VOCABULARY, ByteTokenizer
from promptkit.models.registry import Settings


class LettersModel(BatchedEngine):
    """A model that expects the characters of the prompt again."""

    engine: ClassVar[str] = "letters"
    names: ClassVar[str] = "any word"
    capabilities = Capabilities(modalities=frozenset({"text"}), verbs=frozenset({"Score"}))

    class Settings(Settings):
        """The settings of the engine."""

        smoothing: PositiveFloat = 1.0
        """Added to the count of every character."""
        batch_tokens: PositiveInt = 4096
        """Maximum number of tokens in a batch."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(f"letters:{name}", batch_tokens=settings.batch_tokens)
        self._settings = settings
        self.card = TextCard(
            tokenizer=ByteTokenizer(),
            d_model=1,
            embedding_width=1,
            vocabulary=VOCABULARY,
            layers=1,
            kv_heads=1,
            context_length=1 << 20,
            instruct=False,
        )

    def identity(self) -> Mapping[str, object]:
        return {"engine": "letters", "name": self.name, **self._settings.model_dump()}

    def _compute(self, requests: Sequence[Request]) -> tuple[Output, ...]:
        return tuple(map(self._score, requests))

    def _score(self, request: Request) -> ScoreOutput:
        from math import log

        assert isinstance(request.verb, Score)
        ids, smoothing = request.text.ids, self._settings.smoothing
        total = len(ids) + smoothing * VOCABULARY
        logprob = {token: log((ids.count(token) + smoothing) / total) for token in range(VOCABULARY)}
        return ScoreOutput(logprobs=tuple(tuple(logprob[i] for i in each) for each in request.verb.continuations))
