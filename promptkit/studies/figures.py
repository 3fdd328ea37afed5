"""The figures of a study: selects the numbers and labels; `promptkit.display.plots` draws them."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from promptkit.core.errors import InputError
from promptkit.display import plots
from promptkit.display.table import Plain, text_of
from promptkit.studies import measures
from promptkit.studies.baselines import Baselines
from promptkit.studies.cells import SEED, EvaluatedGrid, Names, as_names
from promptkit.studies.tables import SHOTS, baseline_rows, mean_of, numeric_dimension

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(study: EvaluatedGrid, x: str | None, color: str | None, metric: str | None, baselines: Baselines | None) -> Figure:
    """Returns a line plot; see `Study.plot`."""
    metric = measures.check_metric(study.cells, metric)
    x = numeric_dimension(study) if x is None else x
    if x is None:
        raise InputError(
            "The study has no numeric dimension for the x axis",
            code="no-numeric-dimension",
            hint=f"Choose one, such as plot(x='k'); the dimensions are {', '.join(study.dimensions)}",
            dimensions=tuple(study.dimensions),
        )
    color = next(iter(study.varying([SEED, x])), None) if color is None else color
    color_names = [] if color is None else [color]
    study.check(x, *color_names)
    x_values = study.combinations([x])
    series = [
        plots.Series(name=_label(*values.values()), points=tuple(mean_of(study, metric, values | at) for at in x_values))
        for values in study.combinations(color_names)
    ]
    for name, points in baseline_rows(study, baselines, metric, x_values).items():
        series.append(plots.Series(name=name, points=tuple(points), is_baseline=True))
    return plots.lines(
        series,
        ticks=[_label(value[x]) for value in x_values],
        x=_dimension_title(x),
        y=_metric_title(study, metric),
        legend=color or "",
        title=study.title,
        caption=_caption(study, [x, *color_names]),
    )


def heatmap(study: EvaluatedGrid, rows: str, columns: str, metric: str | None) -> Figure:
    """Returns a heat map; see `Study.heatmap`."""
    metric = measures.check_metric(study.cells, metric)
    study.check(rows, columns)
    row_values, column_values = study.combinations([rows]), study.combinations([columns])
    return plots.heatmap(
        [[mean_of(study, metric, row | column) for column in column_values] for row in row_values],
        rows=[_label(row[rows]) for row in row_values],
        columns=[_label(column[columns]) for column in column_values],
        y=_dimension_title(rows),
        x=_dimension_title(columns),
        unit=_metric_title(study, metric),
        title=study.title,
        caption=_caption(study, [rows, columns]),
    )


def spread(study: EvaluatedGrid, over: str, by: Names | None, metric: str | None) -> Figure:
    """Returns a plot with a dot for each value of a dimension; see `Study.spread`."""
    metric = measures.check_metric(study.cells, metric)
    names = study.varying([over]) if by is None else as_names(by)
    study.check(over, *names)
    rows = []
    for values in study.combinations(names):
        means = [mean_of(study, metric, values | value) for value in study.combinations([over])]
        first = next(iter(values.items()), None)
        style = study.dimensions[first[0]].index(first[1]) if first else 0
        dots = tuple(mean.value for mean in means if mean is not None)
        rows.append(plots.Dots(name=_label(*values.values()), style=style, values=dots))
    return plots.dots(
        [row for row in rows if row.values],
        x=_metric_title(study, metric),
        y=", ".join(map(_dimension_title, names)),
        title=study.title,
        caption="; ".join(filter(None, [f"a dot: one {over}; the bar: their mean", study.averaged_over([over, *names])])),
    )


def default_figure(study: EvaluatedGrid, baselines: Baselines | None = None) -> Figure | None:
    """Returns the figure that fits the dimensions of a study best, or None if there are too few.

    A line plot if a dimension is numeric, a heat map for two dimensions, and otherwise the spread over seeds.
    """
    if numeric_dimension(study) is not None:
        return plot(study, None, None, None, baselines)
    names = study.varying([SEED])
    if len(names) == 2:
        return heatmap(study, names[0], names[1], None)
    return spread(study, SEED, None, None) if SEED in study.varying() else None


def _metric_title(study: EvaluatedGrid, metric: str) -> str:
    """Returns the title of a metric, with its unit if it has one."""
    if metric == measures.MAIN:
        return metric
    chosen = measures.metric_of(study.cells[0], metric)
    return chosen.title + (" (share of items)" if chosen.interval == "wilson" else "")


def _label(*values: Plain) -> str:
    """Values as a label, on at most three short lines."""
    return fill(", ".join(map(text_of, values)), 28, max_lines=3, placeholder=" …")


def _dimension_title(name: str) -> str:
    """Returns the name of a dimension, with its unit if it has one."""
    return f"{name} (demonstrations)" if name in SHOTS else name


def _caption(study: EvaluatedGrid, names: Sequence[str]) -> str:
    """Returns the caption: the dimensions a figure averages over, and the sources of variation in its intervals."""
    over = "items and seeds" if SEED in study.varying(names) else "items"
    return "; ".join(filter(None, [study.averaged_over(names), f"95% intervals over {over}"]))
