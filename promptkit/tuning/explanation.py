"""Explains a result of tuning in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from promptkit.core.shown_text import escaped, label_text
from promptkit.display.notes import note_lines
from promptkit.display.table import Table
from promptkit.predictor.estimate import Figure
from promptkit.tuning.figures import Standing, TuningResult

SHOWN = 10
"""The most rows that an explanation lists."""
LONGEST = 200
"""The most characters of a row that an explanation shows."""


def summary(result: TuningResult, leaderboard: Table, predictor: Path) -> str:
    """Returns whether anything beats the best baseline, the estimate, the leaderboard and the notes."""
    notes = note_lines(result.notes)
    return "\n".join([verdict(result), "", str(leaderboard), "", *notes, f"predictor: {predictor}"])


def verdict(result: TuningResult) -> str:
    """Returns the recommendation with its estimate, and the comparison with the best baseline."""
    lines = [*_comparison(result), f"recommended: {result.recommended}"]
    rows = _of_rows(result.recommended_rows, result.rows)
    lines.append(f"{result.metric} on new rows, estimated from {rows}: {_figure(result.recommended_estimate)}")
    if result.recommended == result.winner != result.baseline:
        lines.append(f"on the rows it was chosen by: {result.score:.3f}, {_gain(result.optimism)} than this estimate")
    if result.test is not None:
        lines.append(f"{result.metric} on the {result.test_rows} test rows: {_figure(result.test)}")
    return "\n".join(lines)


def _comparison(result: TuningResult) -> list[str]:
    """Returns whether the winner beats the best baseline, by how much, and on how many rows; nothing without baselines."""
    if result.baseline is None:
        return []
    if result.difference is None:
        return [f"Nothing beats the best baseline: no prompt is better than {result.baseline}"]
    gain = result.direction.figure(result.difference)
    interval = f"95% interval {gain.low:+.3f} to {gain.high:+.3f}; + is better"
    compared = f"{_gain(gain.value)} in {result.metric} ({interval}) on {_of_rows(result.answered, result.rows)}"
    if result.beats_baseline:
        return [f"{result.winner} beats the best baseline, {result.baseline}: {compared}"]
    return [f"Nothing beats the best baseline, {result.baseline}: the best prompt, {result.winner}, is {compared}"]


def explain(result: TuningResult, standings: Sequence[Standing]) -> str:
    """Returns the verdict, who was dropped when, the learning curve, the rows that nothing gets right, and the prompt."""
    blocks = [verdict(result), course_text(result, standings), curve_text(result), _hard(result)]
    if result.prompt:
        blocks.append(f"The prompt of the first row:\n\n{result.prompt}")
    if result.command:
        blocks.append(f"To evaluate it again:\n\n    {result.command}")
    return "\n\n".join(block for block in blocks if block)


def markdown(result: TuningResult, standings: Sequence[Standing], leaderboard: Table) -> str:
    """Returns the leaderboard and the explanation as Markdown."""
    blocks = [
        f"# {result.task}: {result.recommended}",
        verdict(result).replace("\n", "  \n"),
        f"## Candidates\n\n{leaderboard.to_markdown()}",
        f"## Course\n\n{course_text(result, standings)}",
        f"## More labels\n\n{curve_text(result)}",
        f"## Rows that no candidate predicts\n\n{_hard(result)}",
    ]
    if result.prompt:
        fence = "`" * 4
        blocks.append(f"## Prompt\n\n{fence}text\n{result.prompt}\n{fence}")
    if result.notes:
        blocks.append("## Notes\n\n" + "\n".join(f"- {note}" for note in result.notes))
    return "\n\n".join(blocks) + "\n"


def course_text(result: TuningResult, standings: Sequence[Standing]) -> str:
    """Returns how many candidates were dropped after how many rows, and how the race ended."""
    counts = {
        rows: sum(each.dropped_at == rows for each in standings)
        for rows in sorted({each.dropped_at for each in standings if each.dropped_at is not None})
    }
    dropped = [f"{count} candidates were dropped after {rows} rows." for rows, count in counts.items()]
    return " ".join([*dropped, _end(result)])


def _end(result: TuningResult) -> str:
    """Returns why the race ended, as a sentence."""
    if result.end == "prompts":
        return f"After {result.answered} rows no prompt was left: none was better than the best baseline."
    if result.end == "budget":
        return (
            f"The race ended after {result.answered} of {result.rows} rows, because the rest of the budget did not suffice for "
            "the next rows. Baselines predict all rows."
        )
    return f"The race ended when all {result.rows} rows were answered."


def curve_text(result: TuningResult) -> str:
    """Returns the learning curve in words."""
    points = result.curve
    if len(points) < 2:
        return "The winner is not fitted on labels, so the learning curve is flat for the same demonstrations."
    text = ", ".join(f"{point.score:.3f} with {point.rows}" for point in points)
    last, before = points[-1], points[-2]
    gain = result.direction.signed(last.score - before.score) / max(1, last.rows - before.rows) * 100
    known = f"{result.metric} by the number of labeled rows that the alignment is fitted on: {text}."
    if gain <= 0:
        return f"{known} 100 more labels will hardly change it."
    return f"{known} 100 more labels may make it better by up to {gain:.2f}."


def _hard(result: TuningResult) -> str:
    """Returns the rows that no candidate predicts."""
    rows = result.hard_rows
    if not rows:
        return "Every row is predicted correctly by at least one candidate."
    lines = [f"{len(rows)} rows that every candidate gets wrong; their labels may be wrong, or they are ambiguous:"]
    for row in rows[:SHOWN]:
        text = row.text if len(row.text) <= LONGEST else f"{row.text[:LONGEST]}..."
        labels = f"labeled {label_text(row.label)}, predicted {label_text(row.predicted)}"
        lines.append(f"- {row.id}: {labels}: {escaped(text)}")
    if len(rows) > SHOWN:
        lines.append(f"- and {len(rows) - SHOWN} more, in tune.json")
    return "\n".join(lines)


def _figure(figure: Figure) -> str:
    return f"{figure.value:.3f} (95% interval {figure.low:.3f} to {figure.high:.3f})"


def _gain(gain: float) -> str:
    """Returns a gain in words, such as `0.120 better` or `0.120 worse`."""
    return f"{abs(gain):.3f} {'worse' if round(gain, 3) < 0 else 'better'}"


def _of_rows(count: int, of: int) -> str:
    return f"all {of} rows" if count == of else f"{count} of {of} rows"
