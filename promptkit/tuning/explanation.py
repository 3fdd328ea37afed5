"""Explains a result of tuning in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptkit.core.examples import LabeledExample
from promptkit.core.metric_input import MetricInput
from promptkit.metrics.table import estimate
from promptkit.predictor.estimate import Figure
from promptkit.tuning.contest import Contest
from promptkit.tuning.figures import CurvePoint, HardRow

if TYPE_CHECKING:
    from promptkit.tuning.result import Tuned

SHOWN = 10
"""The most rows and candidates that an explanation lists."""
LONGEST = 200
"""The most characters of a row that an explanation shows."""


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


# ---- text ------------------------------------------------------------------------------------------------------


def summary(tuned: Tuned) -> str:
    """Returns whether anything beats the best baseline, the estimate, the leaderboard and the notes."""
    shown = tuned.leaderboard_of(SHOWN)
    notes = [f"note: {note}" for note in tuned.result.notes]
    return "\n".join([verdict(tuned), "", str(shown), "", *notes, f"predictor: {tuned.path / 'predictor'}"])


def verdict(tuned: Tuned) -> str:
    """Returns the recommendation with its estimate, and the comparison with the best baseline."""
    result, estimate = tuned.result, tuned.estimate
    lines = []
    if result.baseline is not None and result.difference is not None:
        gain = f"{_signed(result.difference)} against {result.baseline}"
        lines.append(
            f"{result.winner} beats the best baseline: {gain}"
            if result.beats_baseline
            else f"Nothing beats the best baseline: {result.winner} has {gain}"
        )
    value = Figure(value=estimate.value, low=estimate.low, high=estimate.high)
    lines.append(f"recommended: {result.recommended}")
    lines.append(f"{result.metric} on new rows, estimated: {_figure(value)}")
    if result.recommended == result.winner:
        lines.append(f"on the rows it was chosen by: {result.score:.3f}, which is {result.optimism:+.3f} too high")
    if result.test is not None:
        lines.append(f"{result.metric} on the {result.test_rows} test rows: {_figure(result.test)}")
    return "\n".join(lines)


def explain(tuned: Tuned) -> str:
    """Returns the verdict, who was dropped when, the learning curve, the rows that nothing gets right, and the prompt."""
    result = tuned.result
    blocks = [verdict(tuned), _dropped(tuned), _curve(tuned), _hard(tuned)]
    if result.prompt:
        blocks.append(f"The prompt of the first row:\n\n{result.prompt}")
    if result.command:
        blocks.append(f"To evaluate it again:\n\n    {result.command}")
    return "\n\n".join(block for block in blocks if block)


def markdown(tuned: Tuned) -> str:
    """Returns the leaderboard and the explanation as Markdown."""
    result = tuned.result
    blocks = [
        f"# {result.task}: {result.recommended}",
        verdict(tuned).replace("\n", "  \n"),
        f"## Candidates\n\n{tuned.leaderboard.to_markdown()}",
        f"## Course\n\n{_dropped(tuned)}",
        f"## More labels\n\n{_curve(tuned)}",
        f"## Rows that no candidate predicts\n\n{_hard(tuned)}",
    ]
    if result.prompt:
        fence = "`" * 4
        blocks.append(f"## Prompt\n\n{fence}text\n{result.prompt}\n{fence}")
    if result.notes:
        blocks.append("## Notes\n\n" + "\n".join(f"- {note}" for note in result.notes))
    return "\n\n".join(blocks) + "\n"


def _dropped(tuned: Tuned) -> str:
    """Returns how many candidates were dropped after how many rows, and how the race ended."""
    result = tuned.result
    counts = {
        rows: sum(each.dropped_at == rows for each in tuned.standings)
        for rows in sorted({each.dropped_at for each in tuned.standings if each.dropped_at is not None})
    }
    dropped = [f"{count} candidates were dropped after {rows} rows." for rows, count in counts.items()]
    end = "all rows were answered" if result.end == "rows" else "the budget was used up"
    return " ".join([*dropped, f"The race ended after {result.answered} of {result.rows} rows, because {end}."])


def _curve(tuned: Tuned) -> str:
    """Returns the learning curve in words."""
    points = tuned.result.curve
    if len(points) < 2:
        return "The winner is not fitted on labels, so the learning curve is flat for the same demonstrations."
    text = ", ".join(f"{point.score:.3f} with {point.rows}" for point in points)
    last, before = points[-1], points[-2]
    gain = (last.score - before.score) / max(1, last.rows - before.rows) * 100
    low, high = sorted((0.0, max(0.0, gain)))
    return f"{tuned.result.metric} by labeled rows for the alignment: {text}. 100 more labels: {low:+.2f} to {high:+.2f}."


def _hard(tuned: Tuned) -> str:
    """Returns the rows that no candidate predicts."""
    rows = tuned.result.hard_rows
    if not rows:
        return "Every row is predicted correctly by at least one candidate."
    lines = [f"{len(rows)} rows that every candidate gets wrong; their labels may be wrong, or they are ambiguous:"]
    for row in rows[:SHOWN]:
        text = row.text if len(row.text) <= LONGEST else f"{row.text[:LONGEST]}..."
        lines.append(f"- {row.id}: labeled {row.label}, predicted {row.predicted}: {text}")
    if len(rows) > SHOWN:
        lines.append(f"- and {len(rows) - SHOWN} more, in tune.json")
    return "\n".join(lines)


def _figure(figure: Figure) -> str:
    return f"{figure.value:.3f} (95% interval {figure.low:.3f} to {figure.high:.3f})"


def _signed(figure: Figure) -> str:
    return f"{figure.value:+.3f} (95% interval {figure.low:+.3f} to {figure.high:+.3f})"
