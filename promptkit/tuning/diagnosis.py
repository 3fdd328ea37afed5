"""What the answers of a race show besides the winner: the learning curve, and the rows that nothing gets right."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.core.examples import LabeledExample
from promptkit.core.metric_input import MetricInput
from promptkit.metrics.table import estimate
from promptkit.tuning.contest import Contest
from promptkit.tuning.figures import CurvePoint, HardRow


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
    chain = contest.space.prompts[candidate.prompt].chains[candidate.place]
    if chain.calibration is None:
        return []
    points = []
    for count in (rows // 4, rows // 2, rows):
        predictions = contest.answers[candidate.prompt].predictions(chain, fit_rows=count)
        if predictions is not None:
            points.append(CurvePoint(rows=count, score=estimate(contest.metric, predictions).value))
    return points


def hard_rows(contest: Contest, predictions: Sequence[MetricInput], winner: MetricInput) -> list[HardRow]:
    """Returns the rows that no candidate predicts correctly.

    Args:
        contest: The candidates.
        predictions: The predictions of the candidates that were left at the end.
        winner: The predictions of the winner.
    """
    wrong = [index for index in range(len(winner)) if not any(each.correct[index] for each in predictions)]
    rows = contest.rows.rows
    return [
        HardRow(
            id=rows[index].row_id or rows[index].id,
            text=_text(rows[index]),
            label=rows[index].label,
            predicted=winner.predictions[index] or "",
        )
        for index in wrong
    ]


def _text(row: LabeledExample) -> str:
    """Returns the texts of a row in one line; nothing for an image."""
    return " ".join(value for value in row.inputs.values() if isinstance(value, str))
