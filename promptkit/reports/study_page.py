"""The page of a study: its table, the grid as lines and as a heat map, the spread over seeds, and the variance split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from promptkit.core.errors import InputError
from promptkit.display.table import Entry, Plain, Table, text_of
from promptkit.reports import charts, heatmaps, line_charts
from promptkit.reports.blocks import Block, Chart, Notes, Page, Section, TableBlock
from promptkit.reports.settings import TEXT_OPTIONS, settings_blocks
from promptkit.studies import measures, tables
from promptkit.studies.cells import SEED, EvaluatedGrid
from promptkit.studies.folder import read_record
from promptkit.studies.study import Study


def study_page(folder: Path, *, text: bool) -> Page:
    """Returns the page of a study.

    Args:
        folder: The folder of the study, beside those of its runs.
        text: Whether instructions and templates that are values of a dimension are shown.

    Raises:
        RunError: A run of the study is missing or was changed.
    """
    record, study = read_record(folder), Study.load(folder)
    study = study if text else _without_texts(study)
    metric = measures.check_metric(study.cells, None)
    notes = [study.failure_summary] if study.failures else []
    blocks: list[Block] = [Notes(notes=notes), TableBlock(table=study.table())]
    drawn = [lines_chart(study, metric), heatmap_chart(study, metric), spread_chart(study, metric)]
    blocks += [chart for chart in drawn if chart is not None]
    sections = [Section(id="results", title="Results", blocks=blocks)]
    options = study.varying([SEED, "task"])
    if len(study.tasks) == 1 and options:
        sections.append(Section(id="best", title="The best", blocks=[TableBlock(table=tables.best(study, options, metric))]))
    variance = _variance(study)
    sections += [variance] if variance is not None else []
    sections.append(Section(id="cells", title="Cells", blocks=[TableBlock(table=_cells_table(study))]))
    settings: dict[str, object] = {"promptkit": record["promptkit"], "limit": record["limit"], "dimensions": study.dimensions}
    sections.append(Section(id="settings", title="Settings and citation", blocks=settings_blocks(settings, text=text)))
    varying = [f"{name} ({len(study.dimensions[name])} values)" for name in study.varying()]
    lead = f"{len(study.cells)} cells on the same rows are compared by {metric}: {', '.join(varying) or 'one combination'}."
    return Page(kind="Study", title=study.title, lead=lead, sections=sections)


def _without_texts(study: Study) -> Study:
    """Returns the study with numbers in place of the values of dimensions that are texts."""
    hidden = {
        name: {value: f"{name} {number}" for number, value in enumerate(values, start=1)}
        for name, values in study.dimensions.items()
        if name in TEXT_OPTIONS
    }

    def shown(values: Mapping[str, Plain]) -> dict[str, Plain]:
        return {name: hidden[name][value] if name in hidden else value for name, value in values.items()}

    return replace(
        study,
        dimensions={
            name: tuple(hidden[name].values()) if name in hidden else values for name, values in study.dimensions.items()
        },
        cells=tuple(replace(cell, values=shown(cell.values)) for cell in study.cells),
        failures=tuple(replace(each, values=shown(each.values)) for each in study.failures),
    )


def lines_chart(study: EvaluatedGrid, metric: str) -> Chart | None:
    """Returns the metric along the numeric dimension, with a line for each value of another; None without a numeric one."""
    x = tables.numeric_dimension(study)
    if x is None:
        return None
    color = next(iter(study.varying([SEED, x])), None)
    lines = study.combinations([] if color is None else [color])
    names = [_name(line) or metric for line in lines]
    values = []
    for name, line in zip(names, lines, strict=True):
        for at in study.combinations([x]):
            mean = tables.mean_of(study, metric, line | at)
            if mean is not None:
                point = {"x": at[x], "y": mean.value, "low": mean.low, "high": mean.high}
                values.append({"series": name, **point})
    named = [x, *([] if color is None else [color])]
    return line_charts.lines(
        values,
        x=x,
        y=metric,
        series=names,
        legend=color or "",
        title=f"{metric} by {x}",
        description=f"{metric} for {len(study.dimensions[x])} values of {x}, in {len(names)} lines",
        note="; ".join(filter(None, ["bars are 95% intervals", study.averaged_over(named), "select in the legend"])),
        ordinal=True,
        table=tables.means(study, named, None, metric, None),
    )


def heatmap_chart(study: EvaluatedGrid, metric: str) -> Chart | None:
    """Returns the metric for each pair of values of the two largest dimensions; None if fewer than two vary."""
    names = sorted(study.varying([SEED]), key=lambda name: -len(study.dimensions[name]))[:2]
    if len(names) < 2:
        return None
    rows, columns = names
    cells: list[dict[str, object]] = []
    for pair in study.combinations([rows, columns]):
        mean = tables.mean_of(study, metric, pair)
        if mean is not None:
            place = {"row": text_of(pair[rows]), "column": text_of(pair[columns])}
            cells.append({**place, "value": mean.value, "text": mean.value})
    numbers = [float(str(cell["value"])) for cell in cells]
    return heatmaps.heatmap(
        cells,
        rows=[text_of(value) for value in study.dimensions[rows]],
        columns=[text_of(value) for value in study.dimensions[columns]],
        y=rows,
        x=columns,
        unit=metric,
        title=f"{metric} by {rows} and {columns}",
        description=f"{metric} from {min(numbers):.3f} to {max(numbers):.3f} over {rows} and {columns}",
        note=study.averaged_over(names),
        domain=(min(numbers), max(numbers)),
    )


def spread_chart(study: EvaluatedGrid, metric: str) -> Chart | None:
    """Returns a dot for each seed, in a row for each combination of the other dimensions; None without several seeds."""
    if SEED not in study.varying():
        return None
    names = study.varying([SEED])
    values: list[dict[str, object]] = []
    for combination in study.combinations(names):
        for seed in study.combinations([SEED]):
            mean = tables.mean_of(study, metric, combination | seed)
            if mean is not None:
                values.append({"name": _name(combination) or metric, "value": mean.value, "seed": seed[SEED]})
    seeds, rows = len(study.dimensions[SEED]), len(study.combinations(names))
    return charts.dots(
        values,
        x=metric,
        title="Spread over seeds",
        description=f"{metric} of each of {seeds} seeds, for {rows} combinations",
        note=f"A row is a combination of {', '.join(names)}. A dot is one seed; the bar is their mean.",
    )


def _name(values: Mapping[str, Plain]) -> str:
    """Returns the values of a combination."""
    return ", ".join(map(text_of, values.values()))


def _variance(study: Study) -> Section | None:
    """Returns the variance split; None if the study does not allow it."""
    try:
        table = study.variance()
    except InputError:
        return None
    shares = [(str(row[0]), float(str(row[2]))) for row in table.rows]
    chart = charts.bars(
        [{"name": name, "series": "share", "value": share} for name, share in shares],
        names=[name for name, _ in shares],
        series=["share"],
        x="share of the variance",
        title="Where right and wrong answers vary",
        description="; ".join(f"{name} {share:.0%}" for name, share in shares),
    )
    return Section(id="variance", title="Variance", blocks=[chart, TableBlock(table=table)])


def _cells_table(study: EvaluatedGrid) -> Table:
    """Returns the main metric and the run of each cell."""
    names = list(study.dimensions)
    metrics = [measures.metric_of(cell, measures.check_metric([cell], None)) for cell in study.cells]
    rows: list[tuple[Entry, ...]] = []
    for cell, metric in zip(study.cells, metrics, strict=True):
        estimate = measures.mean([cell], metric.name)
        rows.append((*(text_of(cell.values[name]) for name in names), cell.run.path.name, metric.title, estimate))
    columns = (*names, "run", "metric", "value")
    return Table(title="All cells", columns=columns, rows=tuple(rows), names=len(names) + 2)
