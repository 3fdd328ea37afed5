"""Explains a result of tuning in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from promptkit.core.shown_text import escaped, label_text
from promptkit.display.notes import note_lines
from promptkit.display.table import Table
from promptkit.predictor.estimate import Figure
from promptkit.tuning.figures import Drop, TuningResult

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
    lines.append(f"{result.metric} on new rows: {_figure(result.recommended_estimate)}, from {rows}")
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
    signs = "" if result.higher_is_better else ", + is better"
    interval = f"95% interval {gain.low:+.3f} to {gain.high:+.3f}{signs}"
    difference = f"difference: {_gain(gain.value)} ({interval}), from {_of_rows(result.answered, result.rows)}"
    if result.beats_baseline:
        return [f"{result.winner} beats the best baseline, {result.baseline}", difference]
    certain = ", with certainty" if gain.value > 0 else ""
    return [f"Nothing beats the best baseline, {result.baseline}{certain}: the best prompt is {result.winner}", difference]


def explain(result: TuningResult) -> str:
    """Returns the verdict, who was dropped when, the learning curve, the rows that nothing gets right, and the prompt."""
    blocks = [verdict(result), _course(result), curve_text(result), _hard(result)]
    if result.prompt:
        blocks.append(f"The prompt of {result.winner} for the first row:\n\n{result.prompt}")
    if result.command:
        blocks.append(f"{_repeat(result)}\n\n    {result.command}")
    return "\n\n".join(block for block in blocks if block)


def markdown(result: TuningResult, leaderboard: Table) -> str:
    """Returns the leaderboard and the explanation as Markdown."""
    fence = "`" * 4
    sections = {
        "Candidates": leaderboard.to_markdown(),
        "Who was dropped, and when": _course(result),
        "More labels": curve_text(result),
        "Rows that no good candidate predicts": _hard(result),
        f"The prompt of {result.winner}": f"{fence}text\n{result.prompt}\n{fence}" if result.prompt else "",
        "Notes": "\n".join(f"- {note}" for note in result.notes),
        "Again": f"{_repeat(result)}\n\n    {result.command}" if result.command else "",
    }
    first = [f"# {result.task}: {result.recommended}", verdict(result).replace("\n", "  \n")]
    return "\n\n".join([*first, *(f"## {title}\n\n{text}" for title, text in sections.items() if text)]) + "\n"


def _repeat(result: TuningResult) -> str:
    """Returns what the command does that was given."""
    if result.is_timed:
        return "The command that was given. Its budget is a time, so that another run can choose differently:"
    return "The command that gives the same result and the same predictor again:"


def _course(result: TuningResult) -> str:
    """Returns which prompts were dropped after how many rows, why and by which rows, and how the race ended."""
    *dropped, end = course_lines(result)
    return "\n".join([*(["Dropped:", *(f"- {line}" for line in dropped), ""] if dropped else []), end])


def course_lines(result: TuningResult) -> list[str]:
    """Returns a sentence for each time that prompts were dropped, with the reason, and then how the race ended."""
    lines = []
    for rows in dict.fromkeys(drop.rows for drop in result.drops):
        drops = [drop for drop in result.drops if drop.rows == rows]
        too_dear = [drop.prompt for drop in drops if drop.reason == "budget"]
        if too_dear:
            lines.append(f"After {rows} rows, because the budget does not suffice for all: {_listed(too_dear)}.")
        lines += [f"After {rows} rows: {_reason(drop)}." for drop in drops if drop.reason != "budget"]
    return [*lines, _end(result)]


def _reason(drop: Drop) -> str:
    """Returns why a prompt was dropped by a test, with the rows that decided it."""
    if drop.reason == "equivalent":
        return f"{drop.prompt}. Its best candidate, {drop.candidate}, is as good as {drop.leader}, and its prompt is no shorter"
    better = f", better on {len(drop.better)}" if drop.better else ""
    return (
        f"{drop.prompt}. Its best candidate, {drop.candidate}, is worse than {drop.leader} (p = {drop.p:.2g}): worse on "
        f"{len(drop.worse)} rows ({_listed(drop.worse, 5)}){better}"
    )


def _listed(names: Sequence[str], most: int = SHOWN) -> str:
    """Returns the first names, separated by semicolons, because names of prompts contain commas."""
    return "; ".join(names[:most]) + (f"; and {len(names) - most} more" if len(names) > most else "")


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
    if result.winner == result.baseline:
        return f"There is no learning curve: no prompt is better than the baseline {result.baseline}."
    if len(points) < 2:
        return f"There is no learning curve: {result.winner} is not fitted on labels."
    text = ", ".join(f"{point.score:.3f} with {point.rows}" for point in points)
    last, before = points[-1], points[-2]
    gain = result.direction.signed(last.score - before.score) / max(1, last.rows - before.rows) * 100
    known = f"{result.metric} by the number of labeled rows that the alignment is fitted on: {text}."
    if gain <= 0:
        return f"{known} By this curve, 100 more labels bring nothing."
    return f"{known} By this curve, 100 more labels bring 0 to {gain:.2f}."


def _hard(result: TuningResult) -> str:
    """Returns the rows that no candidate predicts."""
    rows = result.hard_rows
    if not rows:
        return "Every row is predicted correctly by one of the good candidates."
    known = "left at the end and not significantly worse than the best"
    lines = [f"Every candidate that is {known} gets these {len(rows)} rows wrong. Their labels may be wrong, or ambiguous:"]
    for row in rows[:SHOWN]:
        text = row.text if len(row.text) <= LONGEST else f"{row.text[:LONGEST]}..."
        labels = f"labeled {label_text(row.label)}, predicted {label_text(row.predicted)}"
        lines.append(f"- {escaped(row.name)}, {labels}" + (f": {escaped(text)}" if text else ""))
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
