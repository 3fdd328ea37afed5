"""A first aligner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from promptkit.align.candidates import CandidateScorer
from promptkit.core.answer_record import AnswerRecord
from promptkit.core.examples import Example
from promptkit.core.model import TextCard
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, Read, ReadOutput


class FirstTokens(CandidateScorer):
    """Scores each label by the first token of its word alone, which a model returns without scoring the whole word."""

    name: ClassVar[str] = "first-tokens"
    verb = "Read"

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words, self.labels = dict(words), tuple(words)
        self._tokens: tuple[int, ...] = ()

    def settings(self) -> Mapping[str, object]:
        return {"name": self.name, "words": self._words}

    def label_words(self) -> Mapping[str, str]:
        return self._words

    def candidates(self, example: Example) -> tuple[str, ...]:
        return self.labels

    def words(self, example: Example) -> tuple[str, ...]:
        return ()

    def for_model(self, card: object) -> Self:
        assert isinstance(card, TextCard)
        bound = type(self)(self._words)
        bound._tokens = tuple(card.tokenizer.encode(word.strip()).ids[0] for word in self._words.values())
        return bound

    def request(self, example: Example, rendered: Rendered) -> Read:
        return Read(token_ids=self._tokens)

    def scores(self, rendered: Rendered, output: Output) -> tuple[float, ...]:
        assert isinstance(output, ReadOutput)
        return output.logprobs

    def record_scores(self, rendered: Rendered, output: Output) -> AnswerRecord:
        return {}

    def has_details(self, record: Mapping[str, object]) -> bool:
        return True
