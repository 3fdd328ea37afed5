"""Learned prompts as challengers: those whose training fits the rest of the budget, after the prompts without training.

Their order is that of the space. A budget of requests or tokens decides by the most that a learned prompt can cost, so that the
decision is always the same. With a budget of time, a prompt is left out if the prompts so far were much too slow, or else as
soon as training at the speed of its first steps would take longer than the time that is left. Each decision to leave one out is
recorded in `race.jsonl` before it takes effect, and so are the scores of one that entered, so that an interrupted run takes the
same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from promptkit.core.errors import InputError, TaskError, TrainingError, Unsupported
from promptkit.tuning.budget import Budget, Meter, Unit
from promptkit.tuning.candidates import PromptCandidate
from promptkit.tuning.costs import PromptCost, prompt_cost
from promptkit.tuning.folds import TuningRows
from promptkit.tuning.plan import TOLERANCE
from promptkit.tuning.stopwatch import DoesNotFit, Stopwatch

UNTRAINABLE = (InputError, TaskError, TrainingError, Unsupported)
"""The errors of a prompt that cannot be trained on these rows."""


@dataclass(slots=True, kw_only=True)
class Challengers:
    """The learned prompts of a space, one after the other.

    They are left out if the budget does not suffice, or if they cannot be trained.
    """

    prompts: Sequence[PromptCandidate]
    """The learned prompts."""
    first: int
    """The number of the first one in the space."""
    rows: TuningRows
    meter: Meter
    stopwatch: Stopwatch
    enter: Callable[[int], Sequence[int]]
    """Trains a learned prompt, lets it answer all rows, and returns the numbers of its candidates."""
    discard: Callable[[int], None]
    """Deletes what was trained of a learned prompt that is left out."""
    record: Callable[[str, str], None]
    """Records that a learned prompt is left out, and why."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Name of a learned prompt that is left out -> the reason."""
    entered: list[str] = field(default_factory=list)
    """The names of those that entered."""

    def __call__(self) -> Sequence[int]:
        """Enters the next learned prompt that the budget suffices for; returns the numbers of its candidates, or none."""
        for number, prompt in enumerate(self.prompts, start=self.first):
            if prompt.name in self.left_out or prompt.name in self.entered:
                continue
            cost = prompt_cost(prompt, self.rows)
            reason = self._too_expensive(cost)
            if not reason:
                self.stopwatch.start(prompt, cost)
                try:
                    return self._enter(number, prompt)
                except DoesNotFit as error:
                    reason = f"Its training would take another {Budget(error.seconds)}, and the budget does not suffice for it"
                except UNTRAINABLE as error:
                    reason = str(error)
            self.discard(number)
            self.record(prompt.name, reason)
            self.left_out[prompt.name] = reason
        return ()

    def repeat(self) -> Sequence[int]:
        """Enters the next learned prompt that had entered before an interruption, regardless of the rest of the budget."""
        known = {*self.left_out, *self.entered}
        number, prompt = next(item for item in enumerate(self.prompts, start=self.first) if item[1].name not in known)
        return self._enter(number, prompt)

    def _enter(self, number: int, prompt: PromptCandidate) -> Sequence[int]:
        found = self.enter(number)
        self.entered.append(prompt.name)
        return found

    def _too_expensive(self, cost: PromptCost) -> str:
        """Returns why the rest of a budget does not suffice for a prompt; an empty text if all do."""
        most: Mapping[Unit, float] = {
            "requests": cost.requests(len(self.rows), self.rows.of),
            "tokens": cost.tokens(len(self.rows)),
            "seconds": 0,
        }
        for budget in self.meter.budgets:
            left = budget.amount - self.meter.total(budget.unit)
            needed = most[budget.unit]
            if budget.unit == "seconds" and self._seconds(most["requests"]) >= TOLERANCE["seconds"] * left:
                return f"Its training would take too long, and {Budget(max(0, left))} are left"
            if needed > left:
                return (
                    f"Training it needs up to {Budget(needed, budget.unit)}, and {Budget(max(0, left), budget.unit)} are left"
                )
        return ""

    def _seconds(self, requests: float) -> float:
        """Returns the time of requests, if each takes as long as those of the fastest prompt so far, with its alignments.

        Answers from the score cache take no time, so it is only a reason to leave out what would take several times as long.
        """
        spent = [each for number, each in self.meter.spent.items() if number < self.first and each.requests]
        return requests * min((each.seconds / each.requests for each in spent), default=0.0)
