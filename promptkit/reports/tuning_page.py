"""The page of a result of tuning: the recommendation, the leaderboard with its optimism, and the course of the race."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from promptkit.display.table import Entry, Table
from promptkit.metrics.intervals import Estimate
from promptkit.reports import charts, line_charts
from promptkit.reports.blocks import Block, Chart, Code, Notes, Page, Paragraph, Section, TableBlock
from promptkit.reports.settings import settings_blocks
from promptkit.runs.files import read_json
from promptkit.tuning.explanation import course_lines, curve_text, verdict
from promptkit.tuning.figures import TuningResult
from promptkit.tuning.folder import TUNE
from promptkit.tuning.race import Stage
from promptkit.tuning.race_log import RaceLog
from promptkit.tuning.result import Tuned

SHOWN = 15
"""The candidates in the chart of the leaderboard."""
LINES = 8
"""The candidates in the chart of the race."""


def tuning_page(folder: Path, *, text: bool) -> Page:
    """Returns the page of a result of tuning; of unfinished tuning, only how far it is.

    Args:
        folder: The folder.
        text: Whether the page contains the texts of rows and prompts.

    Raises:
        RunError: A file was changed.
    """
    found = cast("Mapping[str, object]", read_json(folder / TUNE))
    settings = cast("Mapping[str, object]", found["settings"])
    if "sha256" not in found:
        return _unfinished_page(folder, settings, text=text)
    tuned = Tuned.load(folder) if text else Tuned.load(folder).without_texts()
    result, stages = tuned.result, RaceLog.read(folder).stages
    first: list[Block] = [
        Notes(notes=result.notes),
        Paragraph(text=verdict(result).replace("\n", ". ") + "."),
        TableBlock(table=_estimates_table(result)),
        _leaderboard_chart(tuned),
    ]
    race: list[Block] = [*(Paragraph(text=line) for line in course_lines(result)), TableBlock(table=_race_table(stages))]
    course = _race_chart(tuned, stages)
    race += [] if course is None else [course]
    sections = [
        Section(id="results", title="Recommendation", blocks=first),
        Section(id="candidates", title="All candidates", blocks=[TableBlock(table=tuned.leaderboard)]),
        Section(id="race", title="Course of the race", blocks=race),
        Section(id="labels", title="More labels", blocks=_curve(result)),
    ]
    hard = _hard_rows(result, text=text)
    sections += [hard] if hard is not None else []
    sections.append(_reproduction(settings, result, text=text))
    title = f"{result.task} · {result.rows} labeled rows · {result.model}"
    compared = (
        "" if result.baseline is None else f", and the best of them with {result.baseline}, the best baseline without a model"
    )
    lead = (
        f"{len(tuned.standings)} candidates are compared by {result.metric} on {result.answered} of {result.rows} labeled rows"
        f"{compared}. Recommended: {result.recommended}."
    )
    return Page(kind="Tuning", title=title, lead=lead, sections=sections)


def _unfinished_page(folder: Path, settings: Mapping[str, object], *, text: bool) -> Page:
    stages = RaceLog.read(folder).stages
    name = str(cast("Mapping[str, object]", settings["task"])["name"])
    rows = stages[-1].rows if stages else 0
    blocks: list[Block] = [TableBlock(table=_race_table(stages))] if stages else []
    facts = Section(id="settings", title="Settings and citation", blocks=settings_blocks(settings, text=text))
    return Page(
        kind="Unfinished tuning",
        title=name,
        lead=f"{rows} rows have been answered so far.",
        banner="This tuning is not finished. No figure here is a result. Repeat its command to continue it.",
        sections=[*([Section(id="race", title="So far", blocks=blocks)] if blocks else []), facts],
    )


def _estimates_table(result: TuningResult) -> Table:
    """Returns the scores that candidates were chosen by, and the estimates for new rows."""
    winner: tuple[Entry, ...] = (result.winner, result.score, Estimate(**result.estimate.model_dump()), result.optimism)
    lines = [winner]
    if result.baseline is not None and result.baseline_estimate is not None and result.baseline != result.winner:
        lines.append((f"{result.baseline} (baseline)", None, Estimate(**result.baseline_estimate.model_dump()), None))
    if result.test is not None:
        name = f"{result.recommended}, on {result.test_rows} test rows"
        lines.append((name, None, Estimate(**result.test.model_dump()), None))
    return Table(
        title=f"{result.metric} on new rows",
        columns=("candidate", "on the rows it was chosen by", "on new rows", "optimism"),
        rows=tuple(lines),
        names=1,
        caption="on new rows: estimated by repeating the race on resampled rows, with its 95% interval; optimism: by how much "
        "the score on the rows that a candidate was chosen by is too good",
    )


def _leaderboard_chart(tuned: Tuned) -> Chart:
    rows = [
        (each.name, Estimate(value=each.score, low=each.low, high=each.high), each.is_baseline)
        for each in tuned.standings[:SHOWN]
        if each.score is not None and each.low is not None and each.high is not None
    ]
    metric = tuned.result.metric
    title = f"{metric} of the first {len(rows)} of {len(tuned.standings)} candidates, on the rows they were chosen by"
    return charts.estimates(rows, metric=metric, title=title)


def _race_table(stages: Sequence[Stage]) -> Table:
    lines: list[tuple[Entry, ...]] = []
    for stage in stages:
        counts = Counter(each.reason for each in stage.dropped)
        lines.append((str(stage.rows), len(stage.candidates), *(counts[reason] for reason in ("test", "equivalent", "budget"))))
    return Table(
        title="Candidates after each block of rows",
        columns=("rows", "candidates", "dropped by the test", "as equivalent", "by the budget"),
        rows=tuple(lines),
        names=1,
        caption="dropped by the test: significantly worse than the leader; as equivalent: another one needs fewer tokens",
    )


def _race_chart(tuned: Tuned, stages: Sequence[Stage]) -> Chart | None:
    """Returns the share of correct answers of the best candidates after each block; None for a race of one block."""
    chosen = {each.number: each.name for each in tuned.standings[:LINES] if each.number is not None}
    values = [
        {"series": chosen[number], "x": stage.rows, "y": float(correct.mean())}
        for stage in stages
        for number, correct in zip(stage.candidates, stage.scores.correct, strict=True)
        if number in chosen and not np.isnan(correct).any()
    ]
    if len(stages) < 2 or not values:
        return None
    return line_charts.lines(
        values,
        x="rows",
        y="share of correct answers",
        series=list(chosen.values()),
        legend="candidate",
        title="Course of the race",
        description=f"Share of correct answers of the best {len(chosen)} candidates after each block of rows",
        note="Alignments are fitted again after each block. Select in the legend.",
    )


def _curve(result: TuningResult) -> list[Block]:
    blocks: list[Block] = [Paragraph(text=curve_text(result))]
    if len(result.curve) > 1:
        values = [{"series": result.winner, "x": point.rows, "y": point.score} for point in result.curve]
        chart = line_charts.lines(
            values,
            x="labeled rows",
            y=result.metric,
            series=[result.winner],
            legend="candidate",
            title="Learning curve",
            description=f"{result.metric} of {result.winner} by the number of labeled rows that its alignment is fitted on",
        )
        blocks.append(chart)
    return blocks


def _hard_rows(result: TuningResult, *, text: bool) -> Section | None:
    """Returns the rows that no candidate predicts; None if there are none."""
    if not result.hard_rows:
        return None
    columns = ("row", "label", "predicted", *(["text"] if text else []))
    table = Table(
        title="Rows that every candidate gets wrong",
        columns=columns,
        rows=tuple((row.name or row.id, row.label, row.predicted, *([row.text] if text else [])) for row in result.hard_rows),
        names=len(columns),
        caption="their labels may be wrong, or they are ambiguous",
    )
    return Section(id="hard", title="Hard rows", blocks=[TableBlock(table=table)])


def _reproduction(settings: Mapping[str, object], result: TuningResult, *, text: bool) -> Section:
    blocks: list[Block] = []
    if result.prompt:
        blocks.append(Code(title="The prompt of the first row", text=result.prompt))
    if result.command:
        blocks.append(Code(title="The command that tunes again", text=result.command))
    blocks += settings_blocks(settings, text=text)
    return Section(id="settings", title="Settings and reproduction", blocks=blocks)
