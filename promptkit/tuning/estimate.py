"""What the winner of a race scores on new rows, estimated from the rows of the race.

The race is repeated on bootstrap resamples of its rows, from the answers that it recorded, with the same rules, and the winner
of each resample is scored on the rows that were not drawn (`promptkit.metrics.selection`). A row that is drawn keeps its place
in the order of the rows, so that each stage has the drawn rows of its first blocks, with the scores of that stage. A candidate
that the race dropped has no later answers: it is dropped there in every resample. Challengers enter every resample when all
rows are answered, as in the race.

Each fold has its own demonstrations and fits, and the recommended predictor is yet another one, which is fitted on all rows.
The intervals of the winner and of the best baseline therefore contain the variance between the predictors of the folds, which
resamples of rows do not show (`promptkit.metrics.between_folds`). The interval of their difference is one over rows only: both
learn from the same rows, so that a part of this variance is common to both, and how large a part is not known.

Baselines cost no request and predict all rows, also if the budget ends the race early. The best baseline is chosen, and its
score estimated, on all rows; its difference from the winner on the rows that the winner has answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptkit.metrics.intervals import Estimate, resamples
from promptkit.metrics.selection import Corrected, best, corrected, corrected_difference
from promptkit.tuning.race import Course, Entrant, RaceSettings
from promptkit.tuning.rules import BASELINE, Rules

if TYPE_CHECKING:
    from promptkit.core.arrays import Bools, Floats, Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceEstimate:
    """What the winner of a race and the best baseline score on new rows.

    All numbers are means of the values that the race compares. Higher is better, so the log-loss is negative.
    """

    number: int
    """The number of the winner: that of the race, or the best baseline if a baseline wins the race."""
    winner: Corrected
    """The winner."""
    baseline: Corrected | None
    """The best baseline; None without baselines."""
    best_baseline: int | None
    """The number of the best baseline; None without baselines."""
    difference: Estimate | None
    """The winner's score minus that of the best baseline, paired by row; None without baselines."""

    @property
    def beats_baseline(self) -> bool:
        """Whether the winner is better than the best baseline: the interval of the difference is above 0, or there is none."""
        return self.number != self.best_baseline and (self.difference is None or self.difference.low > 0)


def estimate(
    course: Course,
    entrants: Sequence[Entrant],
    settings: RaceSettings,
    folds: Integers | None = None,
    *,
    baselines: Floats | None = None,
) -> RaceEstimate:
    """Estimates what the winner of a race scores on new rows.

    Args:
        course: The course of the race.
        entrants: The candidates of the race.
        settings: The settings of the race.
        folds: The fold of each row, shape (N,), if each fold has its own predictor; None otherwise.
        baselines: The values of the baselines for all rows, in their order, shape (baselines, N); by default those of the race.
    """
    rules = settings.rules(entrants)
    values = course.last.spread(settings.values(course.last.scores), len(entrants))
    chosen = replay(course, rules, settings, resamples(course.last.rows))

    def of_score(values: Floats, chosen: Integers) -> Corrected:
        return corrected(values, chosen, None if folds is None else folds[: values.shape[1]])

    winner = of_score(values, chosen)
    numbers = np.array([number for number, each in enumerate(entrants) if each.prompt is None], int)
    of_all = values[numbers] if baselines is None else baselines
    scored = ~np.isnan(of_all).any(1)
    if not scored.any():
        return RaceEstimate(number=course.winner, winner=winner, baseline=None, best_baseline=None, difference=None)
    numbers, of_all = numbers[scored], of_all[scored]
    best_of_all = best(of_all, resamples(of_all.shape[1]))
    baseline, best_baseline = of_score(of_all, best_of_all), int(numbers[best_of_all[0]])
    of_race = numbers[best(of_all, _extended(course.last.rows, of_all.shape[1]))]
    is_baseline = entrants[course.winner].prompt is None
    return RaceEstimate(
        number=best_baseline if is_baseline else course.winner,
        winner=baseline if is_baseline else winner,
        baseline=baseline,
        best_baseline=best_baseline,
        difference=corrected_difference(values, chosen, of_race),
    )


def _extended(rows: int, of: int) -> Floats:
    """Returns the resamples of the rows of a race with resamples of the rows after it, which are drawn independently."""
    if rows == of:
        return resamples(rows)
    later = resamples(of - rows)
    return np.hstack([resamples(rows), [later[0], *np.roll(later[1:], 1, axis=0)]])


def replay(course: Course, rules: Rules, settings: RaceSettings, weights: Floats) -> Integers:
    """Repeats a race on resamples of its rows; returns the winner of each resample, shape (B,).

    Args:
        course: The course of the race.
        rules: Its rules.
        settings: Its settings.
        weights: How often each resample draws each row of the race, shape (B, rows).
    """
    count = len(rules.prompts)
    left = np.repeat(course.stages[0].is_candidate(count), len(weights), 0)
    for stage, later in zip(course.stages, (*course.stages[1:], None), strict=True):
        values = stage.spread(settings.values(stage.scores), len(rules.prompts))
        standings = rules.standings(values, weights[:, : stage.rows], left)
        if later and stage.end is not None:  # nobody is dropped when challengers enter
            left = left | (later.is_candidate(count) & ~stage.is_candidate(count))
        elif later:
            if stage is not course.stages[0]:
                left = rules.remaining(standings, left)
            if stage.is_halved:
                left = rules.best_prompts(standings, left, len(rules.prompts_of(later.is_candidate(count))))
            left = _available(left, later.is_candidate(count), rules)
    return rules.cheapest(standings)


def _available(left: Bools, answered: Bools, rules: Rules) -> Bools:
    """Returns which candidates of each resample are left and answered the next block in the race.

    If prompts are left in a resample, but none that answered, all that answered remain.
    """
    of_prompts = rules.prompts != BASELINE
    lost = (left & of_prompts).any(1) & ~(left & answered & of_prompts).any(1)
    return np.where(lost[:, None], answered, left & answered)
