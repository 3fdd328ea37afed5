"""The time that the training of a learned prompt is predicted to take, by which training that takes too long is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from promptkit.tuning.budget import Meter
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.costs import PromptCost
from promptkit.tuning.folds import TuningRows
from promptkit.tuning.training import most_rows, training_requests

WARM_UP = 2
"""The number of steps before the speed of training is known."""


class DoesNotFit(Exception):
    """Ends the training of a prompt that would take longer than the time that is left."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s")
        self.seconds = seconds


@dataclass(slots=True, kw_only=True)
class Stopwatch:
    """Predicts from the first steps of training how long the rest takes, and stops it if that is too long."""

    meter: Meter
    rows: TuningRows
    clock: Callable[[], float] = time.perf_counter
    _answers: float = 0.0
    """How many steps cost as much as the answers to all rows."""
    _steps: int = 0
    _started: float = 0.0

    def start(self, prompt: PromptCandidate, cost: PromptCost) -> None:
        """Begins with another prompt."""
        assert prompt.training is not None
        of_step = training_requests(most_rows(prompt, self.rows)[0]) / prompt.training.steps
        self._answers, self._steps = cost.requests_per_row * len(self.rows) / of_step, 0

    def __call__(self, fold: int, step: int, steps: int) -> None:
        """Counts a training step.

        Args:
            fold: The fold, in their order; 0 for the training on all rows, which is never stopped.
            step: The number of steps done in this fold.
            steps: The maximum number of steps.

        Raises:
            DoesNotFit: The rest would take longer than the time that is left.
        """
        budget = next((each for each in self.meter.budgets if each.unit == "seconds"), None)
        if budget is None or fold == 0:
            return
        if self._steps == 0:
            self._started = self.clock()
        self._steps += 1
        if self._steps <= WARM_UP:
            return
        seconds = (self.clock() - self._started) / (self._steps - 1)
        later_folds = self.rows.of - fold + 1  # the last one is the training on all rows
        left = seconds * (steps - step + steps * later_folds + self._answers)
        if self.meter.seconds + left > budget.amount:
            raise DoesNotFit(left)
