"""What the answers of a race show besides the winner: the learning curve, and the rows that nothing gets right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from promptkit.core.examples import LabeledExample
from promptkit.core.metric_input import MetricInput
from promptkit.metrics.table import estimate
from promptkit.tuning.contest import Contest
from promptkit.tuning.figures import CurvePoint, Drop, HardRow
from promptkit.tuning.race import Course, Stage, standings_of


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


def hard_rows(contest: Contest, course: Course, winner: MetricInput, names: Sequence[str]) -> list[HardRow]:
    """Returns the rows that every candidate gets wrong that was left at the end and is not significantly worse than the best.

    Args:
        contest: The candidates.
        course: The course of the race.
        winner: The predictions of the winner.
        names: The name of each row.
    """
    has_prompt = [each.prompt is not None for each in contest.candidates]
    stage = [each for each in course.stages if any(has_prompt[number] for number in each.candidates)][-1]
    rules = contest.settings.rules(contest.candidates)
    behind = rules.behind(standings_of(stage, rules, contest.settings))[0, list(stage.candidates)]
    wrong = np.flatnonzero(~(np.nan_to_num(stage.scores.correct[~behind]) > 0).any(0))
    rows = [(int(index), contest.rows.rows[index]) for index in wrong if index < len(winner)]
    return [
        HardRow(
            **{"id": row.row_id or row.id, "name": names[index], "text": row_text(row), "label": row.label},
            predicted=winner.predictions[index] or "",
        )
        for index, row in rows
    ]


def drops(contest: Contest, course: Course, names: Sequence[str]) -> list[Drop]:
    """Returns the prompts that were dropped, in the order of the race, with the rows that decided it.

    Args:
        contest: The candidates.
        course: The course of the race.
        names: The name of each row.
    """
    return [
        _drop(contest, stage, prompt, names)
        for stage in course.stages
        for prompt in sorted({contest.candidates[each.candidate].prompt or 0 for each in stage.dropped})
    ]


def _drop(contest: Contest, stage: Stage, prompt: int, names: Sequence[str]) -> Drop:
    """Returns a prompt that was dropped after a stage: its best candidate is compared with the leader."""
    values = stage.spread(contest.settings.values(stage.scores), len(contest.candidates))
    dropped = {each.candidate: each for each in stage.dropped if contest.candidates[each.candidate].prompt == prompt}
    best = max(dropped, key=lambda number: np.nan_to_num(values[number].mean(), nan=-np.inf))
    gains = np.nan_to_num(values[best] - values[stage.leader])
    order = np.argsort(-np.abs(gains), kind="stable")
    reasons = [each.reason for each in dropped.values()]
    return Drop(
        rows=stage.rows,
        prompt=contest.space.all_prompts[prompt].name,
        candidate=contest.candidates[best].name,
        leader=contest.candidates[stage.leader].name,
        reason=next(reason for reason in ("budget", "equivalent", "test") if reason in reasons),
        p=dropped[best].p,
        worse=tuple(names[index] for index in order if gains[index] < 0),
        better=tuple(names[index] for index in order if gains[index] > 0),
    )


def row_names(rows: Sequence[LabeledExample], numbers: Mapping[str, int]) -> list[str]:
    """Returns how rows are found in the data: the id that the user named, or the number, such as `row 17`.

    Args:
        rows: The rows.
        numbers: Id of a row -> its number in the data, from 1. A row without a number has its id as its name.
    """
    return [row.row_id or (f"row {numbers[row.id]}" if row.id in numbers else row.id) for row in rows]


def row_text(row: LabeledExample) -> str:
    """Returns the texts of a row in one line; nothing for an image."""
    return " ".join(value for value in row.inputs.values() if isinstance(value, str))
