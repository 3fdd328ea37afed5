"""Scores instructions on labeled rows by the main metric and by the log-probability of the correct answer.

The results are those of a run on the same rows. If the model generates the answers, its texts determine the metric, and the
log-probability is obtained by scoring the correct answer after the same prompt (APE's second score function; Zhou et al. 2022,
arXiv 2211.01910, section 3.2).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from promptkit.collect.records import Query, row_record, skipped_record
from promptkit.core.answer_record import is_answered
from promptkit.core.examples import LabeledExample
from promptkit.core.metric_input import MetricInput
from promptkit.core.output_reader import OutputReader
from promptkit.core.records import RowRecord
from promptkit.core.requests import Request
from promptkit.manipulate.prompt import Prompt
from promptkit.metrics.base import Metric
from promptkit.metrics.intervals import Statistic
from promptkit.metrics.requested import RequestedMetric, chosen
from promptkit.metrics.table import statistic
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.predictor.bound import BoundPredictor
from promptkit.predictor.predictor import Predictor
from promptkit.searches.halving import CandidateScore
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

MIN_SAVED_TOKENS = 1024
"""Number of tokens that a separate call must save by reading the common prefix of an instruction's prompts once. Below it,
instructions share calls, so that batches are full."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """One row under one instruction."""

    instruction: str
    query: Query
    reader: OutputReader
    request: Request | None
    """None if the row is skipped, because its prompt does not fit the model's context."""


class InstructionScorer:
    """Scores a prompt with different instructions on fixed rows; results are kept, so that no row is queried twice.

    Args:
        predictor: The predictor whose prompt is scored.
        prompt: The manipulation of the predictor, whose instruction is replaced.
        task: The task.
        rows: The labeled rows.
        cache: Keeps the model's outputs, or None.
        requested: The metrics that were requested. The first of them, or else the first default one, is the main metric.
    """

    def __init__(
        self,
        predictor: Predictor,
        prompt: Prompt,
        task: Task,
        rows: Sequence[LabeledExample],
        cache: ScoreCache | None,
        requested: Sequence[RequestedMetric] = (),
    ) -> None:
        self._model, self._prompt, self._task = predictor.model, prompt, task
        self._rows = rows
        self.cache = cache
        self._ask = CachedModel(predictor.model, cache)
        reader = predictor.reader
        self._readers = (reader,) if reader.gold_scorer is reader else (reader, reader.gold_scorer)
        """The first reader determines the metric, the last one the log-probability."""
        self._requested = requested
        self._bound: dict[tuple[str, str], BoundPredictor] = {}
        self._records: dict[tuple[str, str], list[RowRecord]] = defaultdict(list)
        """(instruction, name of the reader) -> the record of each row queried so far."""

    @cached_property
    def metric(self) -> Metric:
        """The main metric."""
        reader = self._readers[0]
        unanswered = reader.outcome([{**reader.unanswered(self._rows[0]), "no_answer": True}]).metric_input
        return next(iter(chosen(self._requested, unanswered).values()))

    def __call__(self, instructions: Sequence[str], count: int) -> list[CandidateScore]:
        """Scores instructions on the first `count` rows."""
        questions = [[*self._new_questions(text, count)] for text in instructions]
        if any(questions):
            _log.warning("Scoring %d instructions on %d rows.", len(instructions), count)
        for call in _calls(questions):
            outputs = iter(self._ask([question.request for question in call if question.request]))
            for question in call:
                records = self._records[question.instruction, question.reader.name]
                if question.request is None:
                    records.append(skipped_record(question.query, question.reader))
                else:
                    records.append(row_record(question.query, question.reader, next(outputs)))
        return [self._score(text, count) for text in instructions]

    def _new_questions(self, instruction: str, count: int) -> Iterator[_Question]:
        for reader in self._readers:
            rows = self._rows[len(self._records[instruction, reader.name]) : count]
            bound = self._bind(instruction, reader)
            examples = [row.unlabeled() if reader is self._readers[0] else row.answered() for row in rows]
            for row, example, rendered in zip(rows, examples, bound.encode(examples), strict=True):
                query = Query(file="samples", id=row.id, example=example, rendered=rendered, gold=row)
                request = None if rendered.skipped else bound.request(example, rendered)
                yield _Question(instruction=instruction, query=query, reader=reader, request=request)

    def _bind(self, instruction: str, reader: OutputReader) -> BoundPredictor:
        key = instruction, reader.name
        if key not in self._bound:
            predictor = Predictor(self._model, replace(self._prompt, instruction=instruction), reader)
            self._bound[key] = predictor.bind(self._task, cache=self.cache)
        return self._bound[key]

    def statistic(self, instruction: str, count: int) -> Statistic:
        """Returns the main metric of an instruction on the first `count` rows, as a statistic of resampled rows.

        The rows must be scored already.
        """
        return statistic(self.metric, self._predictions(instruction, count))

    def logprobs(self, instruction: str, count: int) -> Floats:
        """Returns the log-probability of the correct answer of the first `count` rows, which are scored already.

        NaN for rows without one, shape (count,).
        """
        scored = self._records[instruction, self._readers[-1].name][:count]
        return np.array([record["logprobs"][record["gold"]] if is_answered(record) else np.nan for record in scored], float)

    def _predictions(self, instruction: str, count: int) -> MetricInput:
        reader = self._readers[0]
        return reader.outcome(self._records[instruction, reader.name][:count]).metric_input

    def _score(self, instruction: str, count: int) -> CandidateScore:
        value = self.statistic(instruction, count)(np.ones((1, count)))
        logprobs = self.logprobs(instruction, count)
        known = logprobs[~np.isnan(logprobs)].tolist()
        scored = self._records[instruction, self._readers[-1].name][:count]
        skipped = sum(record.get("skipped", False) for record in scored)
        mean = sum(known) / max(1, len(known))
        return CandidateScore(float(value[0]), mean, skipped=skipped, no_answer=count - len(known) - skipped)


def as_shares(figures: Mapping[str, float], metric: Metric) -> dict[str, float]:
    """Returns figures of a metric as shares of the way from its worst to its best value, from 0 to 1.

    If the metric has no worst or no best value, the worst or best figure is used instead.

    Args:
        figures: Name -> the value of the metric.
        metric: The metric.
    """
    low, high = metric.bounds
    low = low if isfinite(low) and isfinite(high) else min(figures.values())
    high = high if isfinite(high) else max(figures.values())
    shares = {name: (value - low) / (high - low) if high > low else 1.0 for name, value in figures.items()}
    return shares if metric.higher_is_better or low == high else {name: 1 - share for name, share in shares.items()}


def _calls(questions: Sequence[list[_Question]]) -> list[list[_Question]]:
    """Groups the questions of several instructions into calls to the model."""
    separate = [group for group in questions if _saved_tokens(group) >= MIN_SAVED_TOKENS]
    together = [question for group in questions if _saved_tokens(group) < MIN_SAVED_TOKENS for question in group]
    return [together, *separate]


def _saved_tokens(group: Sequence[_Question]) -> int:
    """Returns the number of tokens that are read once instead of once per prompt if the prompts are in one call."""
    prompts = [question.request.text.ids for question in group if question.request]
    if not prompts:
        return 0
    first, last = min(prompts), max(prompts)  # the common prefix of the extremes is that of all prompts
    shared = next((place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return shared * (len(prompts) - 1)
