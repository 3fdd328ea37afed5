"""Races of candidates with random scores."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from promptkit.tuning.race import Course, RaceSettings, Scores, Stage, race

Numbers = np.ndarray


@dataclass(frozen=True)
class Runner:
    """What a race knows of a candidate."""

    prompt: int | None
    tokens: float


@dataclass
class Purse:
    """A budget of requests, which counts requests."""

    amount: float = float("inf")
    spent: int = 0

    def fits(self, prompts: Sequence[int], start: int, stop: int) -> bool:
        return self.spent + len(prompts) * (stop - start) <= self.amount


@dataclass
class Match:
    """Candidates with known values of rows, shape (C, N)."""

    entrants: Sequence[Runner]
    values: Numbers
    settings: RaceSettings = field(default_factory=RaceSettings)
    amount: float = float("inf")
    challengers: Sequence[Runner] = ()
    """Further entrants, whose values come last."""

    def run(self, recorded: Sequence[Stage] = (), log: list[Stage] | None = None) -> Course:
        purse, answered = Purse(self.amount), recorded[-1].rows if recorded else 0
        everyone = [*self.entrants, *self.challengers]
        entrants = everyone[: max([len(self.entrants), *(max(stage.candidates) + 1 for stage in recorded)])]

        def challenge() -> Sequence[int]:
            if len(entrants) == len(everyone):
                return ()
            entrants.append(everyone[len(entrants)])
            return [len(entrants) - 1]

        for stage, before in zip(recorded, (0, *(each.rows for each in recorded)), strict=False):
            purse.spent += self.prompts(stage.candidates) * (stage.rows - before)

        def answer(numbers: Sequence[int], count: int) -> Scores:
            nonlocal answered
            purse.spent += self.prompts(numbers) * (count - answered)
            answered = count
            return Scores(self.values[list(numbers), :count], -self.values[list(numbers), :count])

        record = None if log is None else log.append
        return race(
            entrants, self.values.shape[1], answer, self.settings, purse, recorded=recorded, record=record, challenge=challenge
        )

    def prompts(self, numbers: Collection[int]) -> int:
        return len({[*self.entrants, *self.challengers][each].prompt for each in numbers} - {None})


def right(accuracies: Sequence[float], rows: int, seed: int = 0) -> Numbers:
    """Right and wrong answers of candidates to the same rows, which are difficult for all of them alike, shape (C, N)."""
    from scipy.special import ndtri

    generator = np.random.default_rng(seed)
    shape = len(accuracies), rows
    latent = 0.7 * generator.standard_normal(rows) + 0.51**0.5 * generator.standard_normal(shape)
    return (latent < ndtri(np.array(accuracies))[:, None]) * 1.0


def match(accuracies: Sequence[float], rows: int = 100, seed: int = 0, baselines: int = 1, **settings: object) -> Match:
    """Returns a match whose first candidates are baselines; each other one has a prompt, of different lengths."""
    entrants = [Runner(None, 0.0)] * baselines + [Runner(n, 100.0 + 7 * n % 31) for n in range(len(accuracies) - baselines)]
    return Match(entrants, right(accuracies, rows, seed), **settings)


def challenged(original: Match, count: int) -> Match:
    """Returns the match with its last candidates as challengers."""
    return replace(original, entrants=original.entrants[:-count], challengers=original.entrants[-count:])
