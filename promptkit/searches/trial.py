"""Instructions tried on labeled rows: whether the answer is right, and how likely the right answer was.

What a run would say of the same rows is what a trial says. A text that the model writes is right or wrong; how likely the right
one was is asked besides, by scoring it behind the same prompt (APE's second score function, 2211.01910 section 3.2).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from promptkit.align.chain import Reader
from promptkit.align.choices import Choices
from promptkit.core.alignment import Scorer
from promptkit.core.examples import LabeledExample
from promptkit.core.requests import Request
from promptkit.core.sequences import common_prefix_length
from promptkit.manipulate.prompt import Prompt
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.predictor.predictor import BoundPredictor, Predictor
from promptkit.runs.records import Query, line
from promptkit.searches.halving import CandidateScore
from promptkit.tasks.task import Task

WORTH_A_CALL = 1024
"""Tokens: what an instruction's prompts have in common is read once if they are asked alone; with fewer tokens read again than
this, batches are rather filled across instructions."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """One row under one instruction."""

    text: str
    asked: Query
    reading: Reader
    request: Request


class InstructionScorer:
    """A prompt whose instruction is exchanged, over certain rows; what is known of one is not asked again."""

    def __init__(
        self, predictor: Predictor, prompt: Prompt, task: Task, rows: Sequence[LabeledExample], cache: ScoreCache | None
    ) -> None:
        """`prompt` is the predictor's own manipulation."""
        self._model, self._prompt, self._task = predictor.model, prompt, task
        self._rows = rows
        self._cache = cache
        self._ask = CachedModel(predictor.model, cache)
        told = predictor.reading
        self._readings: tuple[Reader, ...] = (told,) if isinstance(told, Scorer) else (told, Choices())
        self._bound: dict[tuple[str, str], BoundPredictor] = {}
        self._lines: dict[tuple[str, str], list[Any]] = defaultdict(list)

    def __call__(self, instructions: Sequence[str], count: int) -> list[CandidateScore]:
        """What each comes to on the first `count` rows."""
        unknown = [[*self._unknown(text, count)] for text in instructions]
        if any(unknown):
            _log.warning("Instructions that are tried on %d rows: %d.", count, len(instructions))
        groups: list[list[_Question]] = [[]]
        for group in unknown:
            if _repeated(group) >= WORTH_A_CALL:
                groups.append(group)
            else:
                groups[0] += group
        for group in groups:
            outputs = self._ask([question.request for question in group])
            for question, output in zip(group, outputs, strict=True):
                kept = self._lines[question.text, question.reading.name]
                kept.append(line(question.asked, question.reading, output))
        return [self._score(text, count) for text in instructions]

    def _unknown(self, text: str, count: int) -> Iterator[_Question]:
        for reading in self._readings:
            rows = self._rows[len(self._lines[text, reading.name]) : count]
            bound = self._predictor(text, reading)
            own = reading is self._readings[0]
            examples = [row.unlabeled() if own else row.answered() for row in rows]
            for row, example, rendered in zip(rows, examples, bound.apply(examples), strict=True):
                asked = Query(file="samples", id=row.id, example=example, rendered=rendered, gold=row)
                yield _Question(text=text, asked=asked, reading=reading, request=bound.request(example, rendered))

    def _predictor(self, text: str, reading: Reader) -> BoundPredictor:
        key = text, reading.name
        if key not in self._bound:
            exchanged = Predictor(self._model, replace(self._prompt, instruction=text), reading)
            self._bound[key] = exchanged.bind(self._task, cache=self._cache)
        return self._bound[key]

    def _score(self, text: str, count: int) -> CandidateScore:
        judged, scored = (self._lines[text, reading.name][:count] for reading in (self._readings[0], self._readings[-1]))
        right = sum(each.get("correct", each["prediction"] == each["gold"]) for each in judged)
        return CandidateScore(right / count, sum(each["logprobs"][each["gold"]] for each in scored) / count)


def _repeated(group: Sequence[_Question]) -> int:
    """Tokens that the prompts of a group have in common, for each of them but one."""
    prompts = [question.request.input.ids for question in group]
    if not prompts:
        return 0
    first, last = min(prompts), max(prompts)  # all that are sorted between agree as far as these do
    return common_prefix_length(first, last) * (len(prompts) - 1)
