"""Answers the blocks of a race with every prompt that is left, scores the alignments, and measures what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Metric
from promptkit.models.cache import ScoreCache
from promptkit.predictor.predictor import Predictor
from promptkit.tuning.answers import PromptAnswers, builder_of
from promptkit.tuning.budget import Meter, Spent
from promptkit.tuning.candidates import Candidate
from promptkit.tuning.folds import TuningRows
from promptkit.tuning.learned import FoldTraining
from promptkit.tuning.race import Challenge, RaceSettings, Scores, Stage
from promptkit.tuning.scoring import scores_of
from promptkit.tuning.space import Space

FIRST_BLOCK = 0.5
"""The largest share of a budget for the first block of rows; when it is spent, the remaining prompts are not tried."""


class Contest:
    """The candidates of a race with their answers so far.

    Args:
        space: What is tried.
        baselines: The predictions of each baseline for all rows, in the order of the race.
        rows: The labeled rows and their folds.
        metric: The metric that candidates are compared by.
        settings: The settings of the race.
        meter: What is spent.
        cache: The score cache; None for none.
        training: Returns what trains the learned prompt with a number in each fold.
    """

    def __init__(
        self,
        space: Space,
        baselines: Sequence[MetricInput],
        rows: TuningRows,
        metric: Metric,
        settings: RaceSettings,
        meter: Meter,
        cache: ScoreCache | None,
        training: Callable[[int], FoldTraining],
    ) -> None:
        self.space, self.rows, self.metric, self.meter = space, rows, metric, meter
        builders = {id(each.predictor.model): builder_of(each.predictor.model, cache) for each in space.all_prompts}
        self.answers = [
            PromptAnswers(
                each.predictor,
                each.chains,
                rows,
                cache,
                builders[id(each.predictor.model)],
                None if each.training is None else training(number),
            )
            for number, each in enumerate(space.all_prompts)
        ]
        self.candidates: list[Candidate] = []
        """The baselines and the candidates of the prompts that are tried."""
        self.settings, self._baselines, self._block = settings, tuple(baselines), settings.block
        self._counts = [0] * len(space.all_prompts)
        self._known: dict[tuple[int, int], MetricInput | None] = {}

    def try_prompts(self, after_prompt: Callable[[], None]) -> list[int]:
        """Answers the first block of rows with one prompt after the other, until too much of a budget is spent.

        Args:
            after_prompt: Called after each prompt.

        Returns:
            The numbers of the prompts that have answered it.
        """
        tried: list[int] = []
        for prompt in range(len(self.space.prompts)):
            if tried and self.meter.share() > FIRST_BLOCK:
                break
            self._answer(prompt, min(self._block, len(self.rows)))
            tried.append(prompt)
            after_prompt()
        return tried

    def repeat(self, tried: Sequence[int], stages: Sequence[Stage], challenge: Challenge) -> None:
        """Answers what an interrupted race has answered, in the same order; the score cache contains it.

        Args:
            tried: The numbers of the prompts that answered the first block.
            stages: The stages of the race.
            challenge: Enters the candidates of the next learned prompt.
        """
        for prompt in tried:
            self._answer(prompt, min(self._block, len(self.rows)))
        for stage in stages:
            if max(stage.candidates) >= len(self.candidates):
                challenge()
            self._answer_all(stage.candidates, stage.rows)

    def enter(self, tried: Sequence[int], tokens: Sequence[float]) -> None:
        """Enters the baselines and the candidates of some prompts into the race.

        Args:
            tried: The numbers of the prompts.
            tokens: The mean number of tokens of the prompts, in the same order.
        """
        mean = dict(zip(tried, tokens, strict=True))
        self.candidates = [
            replace(each, tokens=0.0 if each.prompt is None else mean[each.prompt])
            for each in self.space.candidates()
            if each.prompt is None or each.prompt in mean
        ]

    def enter_learned(self, prompt: int) -> list[int]:
        """Enters the candidates of a learned prompt, after it has answered all rows; returns their numbers.

        It is trained in each fold if it is not yet.
        """
        self._answer(prompt, len(self.rows))
        tokens = self.answers[prompt].tokens_per_row
        new = [replace(each, tokens=tokens) for each in self.space.candidates() if each.prompt == prompt]
        first = len(self.candidates)
        self.candidates += new
        return [*range(first, len(self.candidates))]

    def is_learned(self, number: int) -> bool:
        """Returns whether a candidate has a learned prompt."""
        prompt = self.candidates[number].prompt
        return prompt is not None and prompt >= len(self.space.prompts)

    def answer(self, candidates: Sequence[int], count: int) -> Scores:
        """Returns the scores of candidates for the first rows, after their prompts have answered them."""
        self._answer_all(candidates, count)
        return scores_of([self.predictions(each, count) for each in candidates], self.metric, count)

    def _answer_all(self, candidates: Sequence[int], count: int) -> None:
        for prompt in sorted({prompt for each in candidates if (prompt := self.candidates[each].prompt) is not None}):
            self._answer(prompt, count)

    def _answer(self, prompt: int, count: int) -> None:
        """Answers the first rows with a prompt.

        They are answered block by block, also when an interrupted race continues, so that the outputs are always the same.
        """
        spent = self.meter.spent.setdefault(prompt, Spent())
        while self._counts[prompt] < count:
            stop = min(count, (self._counts[prompt] // self._block + 1) * self._block)
            started, before = time.perf_counter(), self.answers[prompt].requests
            self.answers[prompt].answer(stop)
            spent.add(
                rows=stop - self._counts[prompt],
                seconds=time.perf_counter() - started,
                requests=self.answers[prompt].requests - before,
                tokens=self.answers[prompt].tokens - spent.tokens,
            )
            self._counts[prompt] = stop

    def predictor(self, number: int) -> Predictor:
        """Returns the predictor for new rows of a candidate with a prompt; a learned prompt is trained on all rows for it."""
        candidate = self.candidates[number]
        assert candidate.prompt is not None
        answers, spent = self.answers[candidate.prompt], self.meter.spent[candidate.prompt]
        before, tokens = answers.trained, answers.tokens
        predictor = answers.fitted(self.space.all_prompts[candidate.prompt].chains[candidate.place])
        spent.add(rows=0, seconds=0.0, requests=answers.trained - before, tokens=answers.tokens - tokens)
        return predictor

    def predictions(self, number: int, count: int) -> MetricInput | None:
        """Returns the predictions of a candidate for the first rows; None if it cannot be fitted on so few rows."""
        if (number, count) not in self._known:
            candidate = self.candidates[number]
            if candidate.prompt is None:
                self._known[number, count] = self._baselines[candidate.place].take(range(count))
            else:
                started = time.perf_counter()
                chain = self.space.all_prompts[candidate.prompt].chains[candidate.place]
                first = fitted_rows(count, len(self.rows), self._block)
                self._known[number, count] = self.answers[candidate.prompt].predictions(chain, fit_rows=first)
                self.meter.spent[candidate.prompt].seconds += time.perf_counter() - started
        return self._known[number, count]


def fitted_rows(count: int, rows: int, block: int) -> int:
    """Returns the number of rows that alignments are fitted on while a race goes on: 1, 2, 4, 8, ... blocks, or all rows.

    Fitting again after every block would take longer than the answers to the block.

    Args:
        count: The number of rows that are answered.
        rows: The number of all rows.
        block: The number of rows of a block.
    """
    if count in (0, rows) or count < block:
        return count
    return block << ((count // block).bit_length() - 1)
