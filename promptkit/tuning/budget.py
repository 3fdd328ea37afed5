"""What tuning may spend, what it has spent, and what the next block of rows will cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["seconds", "requests", "tokens"]
"""What a budget counts. Requests and tokens that the score cache answers count too, so that a repeated run is the same."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on what tuning may spend."""

    amount: float
    unit: Unit = "seconds"

    @property
    def spelling(self) -> str:
        """The limit as an option has it, such as `90s` or `1200 requests`."""
        return f"{self.amount:.0f}s" if self.unit == "seconds" else f"{self.amount:.0f} {self.unit}"

    def __str__(self) -> str:
        if self.unit != "seconds":
            return f"{self.amount:,.0f} {self.unit}"
        minutes, seconds = divmod(round(self.amount), 60)
        return f"{minutes} min {seconds} s" if minutes and seconds else f"{minutes} min" if minutes else f"{seconds} s"


@dataclass(slots=True)
class Spent:
    """What a prompt has cost so far."""

    rows: int = 0
    seconds: float = 0.0
    requests: int = 0
    tokens: int = 0

    def add(self, *, rows: int, seconds: float, requests: int, tokens: int) -> None:
        """Adds the costs of further rows."""
        self.rows += rows
        self.seconds += seconds
        self.requests += requests
        self.tokens += tokens

    def per_row(self, unit: Unit) -> float:
        """The mean cost of a row."""
        return self.total(unit) / max(1, self.rows)

    def total(self, unit: Unit) -> float:
        """The cost of all rows."""
        costs: Mapping[Unit, float] = {"seconds": self.seconds, "requests": self.requests, "tokens": self.tokens}
        return costs[unit]


@dataclass(slots=True)
class Meter:
    """Compares what has been spent with budgets. A race asks it whether the next block fits."""

    budgets: Sequence[Budget]
    """The limits; all of them hold. Without any, everything fits."""
    before: float = 0.0
    """The seconds that an interrupted tuning run had taken."""
    clock: Callable[[], float] = time.perf_counter
    spent: dict[int, Spent] = field(default_factory=dict)
    """Number of a prompt -> what it has cost."""
    proposals: Spent = field(default_factory=Spent)
    """What the proposals of instructions have cost."""
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    @property
    def seconds(self) -> float:
        """The wall time so far, including that before an interruption."""
        return self.before + self.clock() - self._started

    def prompt_seconds(self) -> dict[int, float]:
        """The seconds of each prompt."""
        return {prompt: each.seconds for prompt, each in self.spent.items()}

    def restore(self, seconds: Mapping[int, float]) -> None:
        """Takes over the seconds of prompts from an interrupted run, whose answers are in the score cache now."""
        for prompt, each in self.spent.items():
            each.seconds = max(each.seconds, seconds.get(prompt, 0.0))

    def total(self, unit: Unit) -> float:
        """What has been spent so far, in one unit."""
        return self.seconds if unit == "seconds" else sum(each.total(unit) for each in (*self.spent.values(), self.proposals))

    def share(self) -> float:
        """The largest share of a budget that is spent."""
        return max((self.total(budget.unit) / budget.amount for budget in self.budgets), default=0.0)

    def fits(self, prompts: Sequence[int], start: int, stop: int) -> bool:
        """Returns whether these prompts can answer the rows from `start` to `stop` with what is left.

        Every prompt costs as much per row as it did before; the seconds include the computation of its alignments.
        """
        for budget in self.budgets:
            per_row = sum(self.spent[prompt].per_row(budget.unit) for prompt in prompts if prompt in self.spent)
            if self.total(budget.unit) + per_row * (stop - start) > budget.amount:
                return False
        return True
