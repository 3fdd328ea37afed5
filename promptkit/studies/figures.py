"""The figures of a study: which numbers are drawn, and what is written beside them. `plots` draws them."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

from promptkit.core.errors import InputError
from promptkit.display import plots
from promptkit.display.table import Plain, text_of
from promptkit.runs.run import TITLES
from promptkit.studies import measures
from promptkit.studies.baselines import Baselines
from promptkit.studies.cells import SEED, Evaluated, Names, several
from promptkit.studies.tables import SHOTS, beside, mean_of, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(study: Evaluated, x: str | None, color: str | None, metric: str | None, baselines: Baselines | None) -> Figure:
    """See `Study.plot`."""
    metric = measures.check_metric(study.cells, metric)
    x = x or number(study)
    if x is None:
        raise InputError(
            "The study has no numeric dimension for the x axis",
            code="no-numeric-dimension",
            hint=f"Choose one, such as plot(x='k'); the dimensions are {', '.join(study.dimensions)}",
            dimensions=tuple(study.dimensions),
        )
    color = color or next(iter(study.varying([SEED, x])), None)
    study.check(x, *several(color or []))
    places = study.combinations([x])
    series = [
        plots.Series(name=label(*values.values()), points=tuple(mean_of(study, metric, values | place) for place in places))
        for values in study.combinations(several(color or []))
    ]
    for name, points in beside(baselines, metric, places).items():
        series.append(plots.Series(name=name, points=tuple(points), is_baseline=True))
    return plots.lines(
        series,
        ticks=[label(place[x]) for place in places],
        x=dimension(x),
        y=axis(study, metric),
        legend=color or "",
        title=study.title,
        caption=caption(study, [x, *several(color or [])]),
    )


def heatmap(study: Evaluated, rows: str, columns: str, metric: str | None) -> Figure:
    """See `Study.heatmap`."""
    metric = measures.check_metric(study.cells, metric)
    study.check(rows, columns)
    down, across = study.combinations([rows]), study.combinations([columns])
    return plots.heatmap(
        [[mean_of(study, metric, one | other) for other in across] for one in down],
        rows=[label(each[rows]) for each in down],
        columns=[label(each[columns]) for each in across],
        y=dimension(rows),
        x=dimension(columns),
        unit=axis(study, metric),
        title=study.title,
        caption=caption(study, [rows, columns]),
    )


def spread(study: Evaluated, over: str, by: Names | None, metric: str | None) -> Figure:
    """See `Study.spread`."""
    metric = measures.check_metric(study.cells, metric)
    names = study.varying([over]) if by is None else several(by)
    study.check(over, *names)
    rows = []
    for values in study.combinations(names):
        found = [mean_of(study, metric, values | one) for one in study.combinations([over])]
        name, first = label(*values.values()), next(iter(values.items()), None)
        style = study.dimensions[first[0]].index(first[1]) if first else 0
        rows.append(plots.Dots(name=name, style=style, values=tuple(each.value for each in found if each is not None)))
    return plots.dots(
        [row for row in rows if row.values],
        x=axis(study, metric),
        y=", ".join(map(dimension, names)),
        title=study.title,
        caption="; ".join(filter(None, [f"a dot: one {over}; the bar: their mean", study.averaged([over, *names])])),
    )


def by_itself(study: Evaluated, baselines: Baselines | None = None) -> Figure | None:
    """What a study shows of its own accord; None where it has too few dimensions."""
    if number(study) is not None:
        return plot(study, None, None, None, baselines)
    names = study.varying([SEED])
    if len(names) == 2:
        return heatmap(study, names[0], names[1], None)
    return spread(study, SEED, None, None) if SEED in study.varying() else None


def axis(study: Evaluated, metric: str) -> str:
    """A metric's name, and its unit if it has one."""
    return TITLES.get(metric, metric) + (" (share of items)" if metric in study.cells[0].result.shares else "")


def label(*values: Plain) -> str:
    """Values as a picture names them: a text of many words in a few short lines."""
    return fill(", ".join(map(text_of, values)), 28, max_lines=3, placeholder=" …")


def dimension(name: str) -> str:
    """A dimension's name and unit."""
    return f"{name} (demonstrations)" if name in SHOTS else name


def caption(study: Evaluated, named: list[str]) -> str:
    """What a point is a mean of, and what its interval is over."""
    over = "items and seeds" if SEED in study.varying(named) else "items"
    return "; ".join(filter(None, [study.averaged(named), f"95% intervals over {over}"]))
