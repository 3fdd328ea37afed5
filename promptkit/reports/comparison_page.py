"""The page of several runs of one task, which are compared row by row with the first one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from promptkit.analysis.compare import compare_runs
from promptkit.analysis.comparison import Compared, Comparison
from promptkit.display.table import Table
from promptkit.metrics.intervals import Estimate
from promptkit.reports import charts, line_charts
from promptkit.reports.blocks import Block, Chart, Notes, Page, Section, TableBlock
from promptkit.reports.items import items_block
from promptkit.reports.run_page import figure_sections
from promptkit.reports.settings import settings_section
from promptkit.reports.thumbnails import thumbnails
from promptkit.runs.run import Run

MOST_POINTS = 2000
"""The most rows that a scatter plot shows."""
OUTCOMES = ("both right", "only the first right", "only the other right", "both wrong")


def comparison_page(folders: Sequence[Path], *, text: bool) -> Page:
    """Returns the page of several runs.

    Args:
        folders: The folders of the runs; the first branch of each is compared with that of the first run.
        text: Whether the page contains the texts of the data.

    Raises:
        RunError: A folder contains no finished run, or the runs are of different tasks or have no row in common.
    """
    runs = [Run.load(folder) for folder in folders]
    comparison = compare_runs(runs)
    names = [branch.name for branch in comparison.branches]
    notes = [f"{name}: {note}" for name, run in zip(names, runs, strict=True) for note in run.notes]
    if comparison.left_out:
        notes.insert(0, f"{comparison.left_out} rows are not in every run and are left out of the comparison")
    tables = [comparison.table(), comparison.metrics_table()]
    blocks: list[Block] = [Notes(notes=notes), *(TableBlock(table=table) for table in tables if table is not None)]
    blocks.append(_values_chart(comparison))
    images = thumbnails(runs[0]) if text else None
    sections = [Section(id="results", title="Results", blocks=blocks), *_paired_sections(runs, names)]
    sections.append(Section(id="rows", title="Rows", blocks=[items_block(runs, names, text=text, images=images)]))
    numbered = [(number, name, run) for number, (name, run) in enumerate(zip(names, runs, strict=True), start=1)]
    for number, name, run in numbered:
        sections += figure_sections(run, name, number)
    sections += [settings_section(run.path, text=text, name=name, number=number) for number, name, run in numbered]
    title = f"{comparison.task} · {comparison.split} · {comparison.n} rows · {len(runs)} runs"
    return Page(kind="Comparison of runs", title=title, lead=_lead(comparison), sections=sections)


def _lead(comparison: Comparison) -> str:
    first, *others = comparison.branches
    metric = comparison.main_metric
    value = first.metrics[metric]
    sentences = [
        f"{len(others)} {'run is' if len(others) == 1 else 'runs are'} compared row by row with {first.name}, "
        f"which has {value.title} {value.value.value:.3f} on the {comparison.n} rows that all have."
    ]
    return " ".join([*sentences, *(_sentence(other, metric, first.name) for other in others[:3])])


def _sentence(other: Compared, metric: str, first: str) -> str:
    found = other.metrics.get(metric)
    if found is None or found.difference is None:
        return f"{other.name} does not have this metric."
    difference = found.difference
    p = "" if found.p is None else f", p = {found.p:.2g}"
    return (
        f"{other.name} has {found.value.value:.3f}: {difference.value:+.3f} against {first} "
        f"(95% interval {difference.low:+.3f} to {difference.high:+.3f}{p}), with {len(other.flips)} different predictions."
    )


def _values_chart(comparison: Comparison) -> Chart:
    metric = comparison.main_metric
    title = comparison.branches[0].metrics[metric].title
    rows: list[tuple[str, Estimate, bool]] = [
        (branch.name, branch.metrics[metric].value, False) for branch in comparison.branches if metric in branch.metrics
    ]
    return charts.estimates(rows, metric=title, title=f"{title} of each run")


def _paired_sections(runs: Sequence[Run], names: Sequence[str]) -> list[Section]:
    """Returns, for each run but the first, how its rows differ from those of the first one."""
    sections = []
    for number, (run, name) in enumerate(zip(runs[1:], names[1:], strict=True), start=1):
        pairs = _pairs(runs[0], run)
        counts = Counter(outcome for outcome, _, _ in pairs)
        table = Table(
            title=f"Rows of {names[0]} and {name}",
            columns=(names[0], f"{name}: right", f"{name}: wrong"),
            rows=(("right", counts[OUTCOMES[0]], counts[OUTCOMES[1]]), ("wrong", counts[OUTCOMES[2]], counts[OUTCOMES[3]])),
            names=1,
            caption="number of rows; the rows can be listed below: show flipped",
        )
        blocks: list[Block] = [TableBlock(table=table)]
        points = [(outcome, one, other) for outcome, one, other in pairs if one is not None and other is not None]
        if points:
            blocks.append(_scatter(points, names[0], name))
        sections.append(Section(id=f"paired-{number}", title=f"{names[0]} and {name} by row", blocks=blocks))
    return sections


def _pairs(first: Run, other: Run) -> list[tuple[str, float | None, float | None]]:
    """Returns the outcome of each shared row, and the probability of its gold label in both runs."""
    positions = {row: index for index, row in enumerate(other.ids)}
    (one, one_probabilities), (two, two_probabilities) = (_correct_and_probabilities(run) for run in (first, other))
    return [
        (
            OUTCOMES[(0 if one[index] else 2) + (0 if two[positions[row]] else 1)],
            one_probabilities[index],
            two_probabilities[positions[row]],
        )
        for index, row in enumerate(first.ids)
        if row in positions
    ]


def _correct_and_probabilities(run: Run) -> tuple[list[bool], list[float | None]]:
    """Returns whether each row is right, and the probability of its gold label; None without one."""
    rows = run.results[0].metric_input
    correct = [bool(each) for each in rows.correct]
    if "ece" not in run.results[0].metrics:
        return correct, [None] * len(rows)
    probabilities = rows.probabilities
    pairs = enumerate(zip(rows.gold, rows.answered, strict=True))
    return correct, [float(probabilities[index, gold]) if answered else None for index, (gold, answered) in pairs]


def _scatter(points: Sequence[tuple[str, float, float]], first: str, other: str) -> Chart:
    shown = points[:MOST_POINTS]
    values = [{"x": one, "y": two, "series": outcome} for outcome, one, two in shown]
    higher = sum(two > one for _, one, two in points)
    note = "A point is a row; on the dashed diagonal both runs give its gold label the same probability."
    if len(shown) < len(points):
        note += f" The first {len(shown)} rows are shown."
    return line_charts.scatter(
        values,
        x=f"probability of the gold label, {first}",
        y=other,
        series=OUTCOMES,
        title=f"Probability of the gold label: {first} and {other}",
        description=f"{other} gives the gold label a higher probability than {first} in {higher} of {len(points)} rows",
        note=note,
    )
