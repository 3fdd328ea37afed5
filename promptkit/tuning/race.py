"""The race: all candidates answer the same rows in one order, block after block, and prompts that fall behind are dropped.

From the second block on, a prompt is dropped when a paired test says of each of its candidates that it is worse than the
leader, as in the races of Maron and Moore (1994, NIPS 6) and of Birattari et al. (2002, GECCO); `promptkit.tuning.rules` has
the tests. Only prompts cost requests: all candidates of a prompt that is left stay in the race, because an alignment that is
behind after 32 rows may be the best one when it is fitted on 100. Baselines are never dropped.

The budget is spread over all rows: after each block only so many of the best prompts remain that 90% of them could answer all
remaining rows; the tests drop the others. Most prompts that a budget cannot pay for are therefore dropped after the first
block. In simulations, halving (Jamieson and Talwalkar 2016, arXiv 1502.07943) only when the next block is too expensive had a
larger regret, and prompts that are dropped late because of the budget are a reason why the winner's estimate is too high:
those that remain were chosen by most of the rows that they are scored on. When all other prompts are dropped, the last one
answers the remaining rows, so that its estimate has as many rows as there are.

When all rows are answered, challengers may enter one after the other, such as prompts that must be trained first. A challenger
answers all rows at once, and is then compared with the candidates that are left, in a stage of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypedDict

import numpy as np

from promptkit.tuning.rules import BASELINE, Rules, Standings

if TYPE_CHECKING:
    from promptkit.core.arrays import Bools, Floats

PACE = 0.9
"""The share of the prompts left that must be able to answer all remaining rows within the budget."""

Reason = Literal["test", "equivalent", "budget"]
"""Why a candidate is dropped: significantly worse than the leader; equivalent to a candidate with fewer tokens; the budget."""
End = Literal["rows", "budget", "prompts"]
"""Why a race ends: all rows are answered; the budget does not suffice for a further block of one prompt; no prompt is left."""


class Entrant(Protocol):
    """What a race knows of a candidate."""

    @property
    def prompt(self) -> int | None:
        """The number of its prompt; None for a baseline, which costs no request."""
        ...

    @property
    def tokens(self) -> float:
        """The mean number of tokens of its requests; of equivalent candidates the one with the fewest wins."""
        ...


class Scores(NamedTuple):
    """The scores of candidates for rows. All rows of a candidate that cannot be scored yet are NaN."""

    correct: Floats
    """1.0 for a correct answer, 0.0 for a wrong one, shape (candidates, rows)."""
    loss: Floats
    """The negative log-probability of the gold label, shape (candidates, rows)."""
    values: Floats | None = None
    """The values to choose by for a metric other than accuracy and log-loss, higher is better, shape (candidates, rows)."""


Answer = Callable[[Sequence[int], int], Scores]
"""Returns the scores of candidates for the first rows, from the numbers of the candidates and the number of rows.

The scores of earlier rows may change, because alignments are fitted on more rows."""


Challenge = Callable[[], Sequence[int]]
"""Enters the candidates of the next challenger, and returns their numbers; none if there is no further one."""


class Budget(Protocol):
    """What a race may spend."""

    def fits(self, prompts: Sequence[int], start: int, stop: int) -> bool:
        """Returns whether these prompts can answer the rows from `start` to `stop` with what is left."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceSettings:
    """The settings of a race."""

    metric: str = "accuracy"
    """What to choose by: `accuracy`, `log-loss`, or another metric, for which the scores have `values`."""
    block: int = 16
    """The number of rows of a block."""
    alpha: float = 0.1
    """The level of the tests, and 1 minus that of the intervals."""
    tolerance: float = 0.02
    """The difference in score up to which candidates are equivalent."""

    def values(self, scores: Scores) -> Floats:
        """Returns the values to choose by, higher is better, shape (candidates, rows)."""
        if scores.values is not None:
            return scores.values
        return -scores.loss if self.metric == "log-loss" else scores.correct

    def rules(self, entrants: Sequence[Entrant]) -> Rules:
        """Returns the rules by which these candidates are compared."""
        return Rules(
            prompts=np.array([BASELINE if each.prompt is None else each.prompt for each in entrants]),
            tokens=np.array([each.tokens for each in entrants], float),
            alpha=self.alpha,
            tolerance=self.tolerance,
        )


@dataclass(frozen=True, slots=True)
class Dropped:
    """A candidate that is dropped."""

    candidate: int
    """Its number."""
    reason: Reason
    """Why it is dropped."""
    p: float
    """The p-value of its difference from the leader."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """The candidates after a block of rows."""

    rows: int
    """The number of rows answered so far."""
    candidates: tuple[int, ...]
    """The numbers of the candidates that answered the block, in their order."""
    scores: Scores
    """The scores of these candidates for all rows answered so far."""
    leader: int
    """The number of the best candidate."""
    dropped: tuple[Dropped, ...] = ()
    """The candidates that are dropped."""
    end: End | None = None
    """Why the race ends with this stage; None if it does not."""

    @property
    def left(self) -> tuple[int, ...]:
        """The numbers of the candidates that are left after this stage."""
        dropped = {each.candidate for each in self.dropped}
        return tuple(candidate for candidate in self.candidates if candidate not in dropped)

    @property
    def is_halved(self) -> bool:
        """Whether prompts are dropped because of the budget."""
        return any(each.reason == "budget" for each in self.dropped)

    def spread(self, values: Floats, count: int) -> Floats:
        """Returns the values of all C candidates, NaN for those that did not answer the block, shape (C, rows)."""
        spread = np.full((count, self.rows), np.nan)
        spread[list(self.candidates)] = values
        return spread

    def is_candidate(self, count: int) -> Bools:
        """Returns which of all C candidates answered the block, shape (1, C)."""
        return np.isin(np.arange(count), self.candidates)[None]

    def to_json(self) -> StageRecord:
        """Returns the stage as JSON values, from which it can be restored exactly."""
        correct, loss, values = map(_lists, self.scores)
        assert correct is not None
        assert loss is not None
        return {
            "rows": self.rows,
            "candidates": list(self.candidates),
            "leader": self.leader,
            "dropped": [{"candidate": each.candidate, "reason": each.reason, "p": each.p} for each in self.dropped],
            "end": self.end,
            "correct": correct,
            "loss": loss,
            "values": values,
        }

    @classmethod
    def from_json(cls, record: StageRecord) -> Stage:
        """Returns the stage that was recorded."""
        count = record["rows"]
        values = None if record["values"] is None else _array(record["values"], count)
        return cls(
            rows=count,
            candidates=tuple(record["candidates"]),
            scores=Scores(_array(record["correct"], count), _array(record["loss"], count), values),
            leader=record["leader"],
            dropped=tuple(Dropped(**each) for each in record["dropped"]),
            end=record["end"],
        )


class DroppedRecord(TypedDict):
    """A candidate that is dropped, as JSON values."""

    candidate: int
    reason: Reason
    p: float


class StageRecord(TypedDict):
    """A stage as JSON values; None instead of the scores of a candidate that cannot be scored yet."""

    rows: int
    candidates: list[int]
    leader: int
    dropped: list[DroppedRecord]
    end: End | None
    correct: list[list[float] | None]
    loss: list[list[float] | None]
    values: list[list[float] | None] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """The course of a race."""

    stages: tuple[Stage, ...]
    """What happened after each block."""
    winner: int
    """The number of the candidate that wins: of those equivalent to the last leader the one with the fewest tokens."""

    @property
    def last(self) -> Stage:
        """The last stage."""
        return self.stages[-1]


def race(
    entrants: Sequence[Entrant],
    rows: int,
    answer: Answer,
    settings: RaceSettings,
    budget: Budget,
    *,
    recorded: Sequence[Stage] = (),
    record: Callable[[Stage], None] | None = None,
    challenge: Challenge = tuple,
) -> Course:
    """Runs a race.

    Args:
        entrants: The candidates, including those of recorded challengers; `challenge` adds further ones.
        rows: The number of rows, at least one.
        answer: Returns the scores of candidates.
        settings: The settings.
        budget: Says what can still be answered. The first block is answered in any case.
        recorded: The stages of an interrupted race, which is continued.
        record: Called with each further stage, before any further request.
        challenge: Called when all rows are answered.
    """
    stages = [*recorded]
    while numbers := _next_candidates(stages, entrants, challenge):
        rules, count = settings.rules(entrants), min(rows, settings.block * (len(stages) + 1))
        if not _has_prompts(numbers, entrants) or (stages and stages[-1].end is not None):
            count = rows
        stage = Stage(rows=count, candidates=numbers, scores=answer(numbers, count), leader=-1)
        if count == rows:
            leader = int(standings_of(stage, rules, settings).leader[0])
            stage = replace(stage, leader=leader, end="rows" if _has_prompts(numbers, entrants) else "prompts")
        else:
            stage = _judged(stage, rules, settings, budget, rows, is_first=not stages)
        if record:
            record(stage)
        stages.append(stage)
    rules = settings.rules(entrants)
    standings = standings_of(stages[-1], rules, settings)
    return Course(stages=tuple(stages), winner=int(rules.cheapest(standings)[0]))


def _next_candidates(stages: Sequence[Stage], entrants: Sequence[Entrant], challenge: Challenge) -> tuple[int, ...]:
    """Returns the numbers of the candidates of the next stage; none if the race has ended."""
    if not stages:
        return tuple(range(len(entrants)))
    last = stages[-1]
    if last.end is None:
        return last.left
    challengers = () if last.end == "budget" else challenge()
    return (*last.left, *challengers) if challengers else ()


def _has_prompts(numbers: Sequence[int], entrants: Sequence[Entrant]) -> bool:
    """Returns whether any of some candidates has a prompt; baselines alone need no further blocks."""
    return any(entrants[each].prompt is not None for each in numbers)


def standings_of(stage: Stage, rules: Rules, settings: RaceSettings) -> Standings:
    """Returns the comparison of the candidates of a stage with the best one."""
    values = stage.spread(settings.values(stage.scores), len(rules.prompts))
    return rules.standings(values, np.ones((1, stage.rows)), stage.is_candidate(len(rules.prompts)))


def _judged(stage: Stage, rules: Rules, settings: RaceSettings, budget: Budget, rows: int, *, is_first: bool) -> Stage:
    """Returns a stage before the last row with its leader, who is dropped, and whether the budget ends the race."""
    standings, before = standings_of(stage, rules, settings), stage.is_candidate(len(rules.prompts))
    leader = int(standings.leader[0])
    after_tests = before if is_first else rules.remaining(standings, before)

    def fits(count: int, stop: int) -> bool:
        prompts = rules.prompts_of(rules.best_prompts(standings, after_tests, count))
        return not prompts or budget.fits(prompts, stage.rows, stop)

    count = _affordable(len(rules.prompts_of(after_tests)), fits, min(rows, stage.rows + settings.block), rows)
    left = after_tests if count is None else rules.best_prompts(standings, after_tests, count)
    is_behind = rules.behind(standings)[0]
    dropped = tuple(
        Dropped(
            candidate=number,
            reason="budget" if after_tests[0, number] else "test" if is_behind[number] else "equivalent",
            p=float(standings.p[0, number]),
        )
        for number in stage.candidates
        if not left[0, number]
    )
    return replace(stage, leader=leader, dropped=dropped, end="budget" if count is None else None)


def _affordable(prompts: int, fits: Callable[[int, int], bool], next_stop: int, rows: int) -> int | None:
    """Returns how many prompts remain so that the budget lasts.

    Args:
        prompts: The number of prompts that are left.
        fits: Whether that many of the best prompts can answer the rows up to another one.
        next_stop: The number of rows after the next block.
        rows: The number of all rows.

    Returns:
        None if not even one prompt can answer the next block.
    """
    for count in range(prompts, 1, -1):
        if fits(count, next_stop) and fits(ceil(count * PACE), rows):
            return count
    return min(prompts, 1) if fits(1, next_stop) else None


def _lists(array: Floats | None) -> list[list[float] | None] | None:
    return None if array is None else [None if np.isnan(row).any() else row.tolist() for row in array]


def _array(lists: Sequence[Sequence[float] | None], count: int) -> Floats:
    return np.array([[np.nan] * count if row is None else row for row in lists], float).reshape(len(lists), count)
