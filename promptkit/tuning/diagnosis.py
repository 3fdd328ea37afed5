"""What the answers of a race show besides the winner: the learning curve, and the rows that nothing gets right."""

from __future__ import annotations

import numpy as np

from promptkit.core.examples import LabeledExample
from promptkit.core.metric_input import MetricInput
from promptkit.metrics.table import estimate
from promptkit.tuning.contest import Contest
from promptkit.tuning.figures import CurvePoint, HardRow
from promptkit.tuning.race import Course, standings_of


def learning_curve(contest: Contest, winner: int, rows: int) -> list[CurvePoint]:
    """Returns the score of the winner's alignment if it is fitted on a quarter, half and all of the answered rows.

    The prompts are the same, so the curve is flat without an alignment that is fitted on labels.

    Args:
        contest: The candidates with their answers.
        winner: The number of the winner.
        rows: The number of rows that it has answered.
    """
    candidate = contest.candidates[winner]
    if candidate.prompt is None:
        return []
    chain = contest.space.all_prompts[candidate.prompt].chains[candidate.place]
    if chain.calibration is None:
        return []
    points = []
    for count in (rows // 4, rows // 2, rows):
        predictions = contest.answers[candidate.prompt].predictions(chain, fit_rows=count)
        if predictions is not None:
            points.append(CurvePoint(rows=count, score=estimate(contest.metric, predictions).value))
    return points


def hard_rows(contest: Contest, course: Course, winner: MetricInput) -> list[HardRow]:
    """Returns the rows that every candidate gets wrong that was left at the end and is not significantly worse than the best.

    Args:
        contest: The candidates.
        course: The course of the race.
        winner: The predictions of the winner.
    """
    stage = [each for each in course.stages if any(contest.candidates[number].prompt is not None for number in each.asked)][-1]
    rules = contest.settings.rules(contest.candidates)
    behind = rules.behind(standings_of(stage, rules, contest.settings))[0, list(stage.asked)]
    correct = stage.scores.correct[~behind]
    wrong = np.flatnonzero(~(np.nan_to_num(correct) > 0).any(0))
    return [
        HardRow(id=row.row_id or row.id, text=row_text(row), label=row.label, predicted=winner.predictions[index] or "")
        for index, row in ((int(index), contest.rows.rows[index]) for index in wrong)
        if index < len(winner)
    ]


def row_text(row: LabeledExample) -> str:
    """Returns the texts of a row in one line; nothing for an image."""
    return " ".join(value for value in row.inputs.values() if isinstance(value, str))
