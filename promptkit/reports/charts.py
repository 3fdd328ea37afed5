"""Vega-Lite specifications of the charts of a report, from plain numbers.

Colors are those of Okabe and Ito, as in other figures of promptkit, and the scheme cividis; shapes and dashes distinguish
series as well. Text and axes have the color of the page's text, so that they follow its light or dark mode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptkit.display.table import Table
from promptkit.metrics.intervals import Estimate
from promptkit.reports.blocks import Chart

Values = Sequence[Mapping[str, object]]
Spec = dict[str, object]

DASHES = ([1, 0], [5, 2], [2, 2], [6, 2, 2, 2], [3, 1, 1, 1])
ROW = 22
"""The height of a row of a chart, in pixels."""
MOST_NUMBERS = 24
"""With more rows or columns than this, a heat map has no numbers in its cells."""
CONFIG: Spec = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "aria": False,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.15,
        "titleFontWeight": "normal",
        "labelLimit": 150,
    },
    "legend": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "orient": "bottom",
        "columns": 2,
        "titleFontWeight": "normal",
        "labelLimit": 150,
        "symbolLimit": 60,
    },
    "header": {"labelColor": "currentColor", "titleColor": "currentColor"},
    "text": {"color": "currentColor"},
}
"""The configuration that all charts share, besides the colors and shapes, which `charts.js` takes from the style sheet."""


def _field(name: str, kind: str, **more: object) -> Spec:
    return {"field": name, "type": kind, **more}


def _data(values: Values) -> Spec:
    return {"values": [dict(value) for value in values]}


def _series(names: Sequence[str], title: str) -> Spec:
    """The encoding that distinguishes series by color; the legend selects one of them."""
    return _field("series", "nominal", title=title, sort=list(names), scale={"domain": list(names)})


def _select() -> Spec:
    """The parameter by which a click on the legend selects series."""
    return {"name": "chosen", "select": {"type": "point", "fields": ["series"]}, "bind": "legend"}


FADED: Spec = {"condition": {"param": "chosen", "value": 1}, "value": 0.12}


def estimates(rows: Sequence[tuple[str, Estimate, bool]], *, metric: str, title: str) -> Chart:
    """Returns a dot with a 95% interval for each estimate.

    Args:
        rows: The name, the estimate, and whether it is a baseline, from top to bottom.
        metric: The title of the x axis.
        title: The title of the chart.
    """
    kinds = ("model", "without a model")
    values = [
        {"name": name, "value": each.value, "low": each.low, "high": each.high, "series": kinds[is_baseline]}
        for name, each, is_baseline in rows
    ]
    y = _field("name", "nominal", sort=None, title=None)
    legend: Spec = {} if any(is_baseline for *_, is_baseline in rows) else {"legend": None}
    color = _field("series", "nominal", title=None, scale={"domain": list(kinds)}, **legend)
    tooltip = [_field("name", "nominal"), *(_field(name, "quantitative", format=".3f") for name in ("value", "low", "high"))]
    spec: Spec = {
        "data": _data(values),
        "width": "container",
        "height": ROW * len(rows),
        "encoding": {"y": y, "color": color, "tooltip": tooltip},
        "layer": [
            {"mark": {"type": "rule", "size": 2}, "encoding": {"x": _field("low", "quantitative"), "x2": {"field": "high"}}},
            {
                "mark": {"type": "point", "filled": True, "size": 80},
                "encoding": {
                    "x": _field("value", "quantitative", title=metric, scale={"zero": False}),
                    "shape": _field("series", "nominal", title=None, scale={"domain": list(kinds)}, **legend),
                },
            },
        ],
    }
    best = max(rows, key=lambda row: row[1].value)
    description = f"{metric} of {len(rows)} candidates with 95% intervals; the highest is {best[1].value:.3f} for {best[0]}"
    return Chart(title=title, description=description, spec=spec, note="Bars are 95% intervals.")


def lines(
    values: Values,
    *,
    x: str,
    y: str,
    series: Sequence[str],
    legend: str,
    title: str,
    description: str,
    note: str = "",
    table: Table | None = None,
    ordinal: bool = False,
    points: bool = True,
    diagonal: bool = False,
    rule: float | None = None,
    zero: bool = False,
) -> Chart:
    """Returns a chart of lines, of which a click on the legend selects some.

    Args:
        values: For each point `x`, `y` and `series`, and optionally `low` and `high`, its interval, and further values for
            its tooltip.
        x: The title of the x axis.
        y: The title of the y axis.
        series: The names of the lines.
        legend: The title of the legend.
        title: The title of the chart.
        description: Its text alternative.
        note: How to read it.
        table: Its numbers.
        ordinal: Whether the x values are evenly spaced names.
        points: Whether each value has a mark.
        diagonal: Whether to draw the diagonal from 0 to 1.
        rule: The x value of a dotted vertical line.
        zero: Whether the y axis begins at 0.
    """
    spec = _lines_spec(values, x, y, series, legend, ordinal, points, diagonal, rule, zero)
    return Chart(title=title, description=description, spec=spec, note=note, table=table)


def _lines_spec(
    values: Values,
    x: str,
    y: str,
    series: Sequence[str],
    legend: str,
    ordinal: bool,
    points: bool,
    diagonal: bool,
    rule: float | None,
    zero: bool,
) -> Spec:
    x_type = "ordinal" if ordinal else "quantitative"
    scale = {"domain": [0, 1]} if diagonal else {"zero": zero}
    whole = all(isinstance(value["x"], int) for value in values)
    axis: Spec = {"labelAngle": 0} if ordinal else {"tickMinStep": 1} if whole else {}
    x_axis = _field("x", x_type, title=x, sort=None, axis=axis)
    if diagonal:
        x_axis["scale"] = scale
    more = [name for name in values[0] if name not in ("x", "y", "series")] if values else []
    tooltip = [
        _field("series", "nominal", title=legend),
        _field("x", x_type, title=x),
        _field("y", "quantitative", title=y, format=".3f"),
        *(_field(name, "quantitative", format=".3~f") for name in more),
    ]
    encoding: Spec = {"x": x_axis, "color": _series(series, legend), "opacity": FADED, "tooltip": tooltip}
    line: Spec = {
        "params": [_select()],
        "mark": {"type": "line"},
        "encoding": {
            "y": _field("y", "quantitative", title=y, scale=scale),
            "strokeDash": _field(
                "series", "nominal", title=legend, scale={"domain": list(series), "range": [list(each) for each in DASHES]}
            ),
        },
    }
    layers: list[Spec] = [line]
    if diagonal:
        layers.insert(0, _diagonal())
    if rule is not None:
        layers.insert(0, _rule(rule))
    if "low" in more:
        interval = {"y": _field("low", "quantitative"), "y2": {"field": "high"}}
        layers.append({"mark": {"type": "rule", "size": 1.5}, "encoding": interval})
    if points:
        shape = _field("series", "nominal", title=legend, scale={"domain": list(series)})
        mark = {"type": "point", "filled": True, "size": 50}
        layers.append({"mark": mark, "encoding": {"y": _field("y", "quantitative"), "shape": shape}})
    return {"data": _data(values), "width": "container", "height": 260, "encoding": encoding, "layer": layers}


def _diagonal() -> Spec:
    """The line from (0, 0) to (1, 1)."""
    ends: Values = [{"a": 0, "b": 0}, {"a": 1, "b": 1}]
    axes = {"x": _field("a", "quantitative"), "y": _field("b", "quantitative")}
    mark = {"type": "line", "color": "currentColor", "opacity": 0.5, "strokeDash": [4, 3], "strokeWidth": 1}
    return {"data": _data(ends), "mark": mark, "encoding": {**axes, "color": None, "tooltip": None, "opacity": None}}


def _rule(at: float) -> Spec:
    """A vertical line."""
    mark = {"type": "rule", "color": "currentColor", "opacity": 0.6, "strokeDash": [2, 3]}
    encoding = {"x": _field("at", "quantitative"), "color": None, "tooltip": None, "opacity": None}
    return {"data": _data([{"at": at}]), "mark": mark, "encoding": encoding}


def scatter(values: Values, *, x: str, y: str, series: Sequence[str], title: str, description: str, note: str) -> Chart:
    """Returns points with two shares as coordinates, `x` and `y`, and the diagonal; `series` gives their color and shape."""
    scale = {"domain": [0, 1]}
    points: Spec = {
        "params": [_select()],
        "mark": {"type": "point", "size": 30},
        "encoding": {
            "x": _field("x", "quantitative", title=x, scale=scale),
            "y": _field("y", "quantitative", title=y, scale=scale),
            "color": _series(series, "row"),
            "shape": _field("series", "nominal", title="row", scale={"domain": list(series)}),
            "opacity": FADED,
            "tooltip": [_field("series", "nominal"), *(_field(name, "quantitative", format=".3f") for name in ("x", "y"))],
        },
    }
    spec: Spec = {"data": _data(values), "width": "container", "height": 320, "layer": [_diagonal(), points]}
    return Chart(title=title, description=description, spec=spec, note=note)


def heatmap(
    cells: Values,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    y: str,
    x: str,
    unit: str,
    title: str,
    description: str,
    note: str = "",
    number: str = ".2f",
    domain: tuple[float, float] | None = None,
    diverging: bool = False,
    table: Table | None = None,
) -> Chart:
    """Returns a heat map, with the numbers in its cells if they fit.

    Args:
        cells: `row`, `column`, `value`, by which a cell is colored, and `text`, the number that it shows.
        rows: The names of the rows, from top to bottom.
        columns: The names of the columns.
        y: The title of the rows.
        x: The title of the columns.
        unit: The title of the colors.
        title: The title of the chart.
        description: Its text alternative.
        note: How to read it.
        number: The format of the numbers.
        domain: The values of the first and the last color.
        diverging: Whether the colors diverge from 0.
        table: Its numbers.
    """
    spec = _heatmap_spec(cells, rows, columns, y, x, unit, number, domain, diverging)
    return Chart(title=title, description=description, spec=spec, note=note, table=table)


def _heatmap_spec(
    cells: Values,
    rows: Sequence[str],
    columns: Sequence[str],
    y: str,
    x: str,
    unit: str,
    number: str,
    domain: tuple[float, float] | None,
    diverging: bool,
) -> Spec:
    scale: Spec = {"scheme": "blueorange"} if diverging else {"scheme": "cividis"}
    values = [float(str(cell["value"])) for cell in cells] or [0.0]
    highest = max(map(abs, values)) or 1.0
    low, high = domain or ((-highest, highest) if diverging else (min(0.0, *values), max(values)))
    scale["domain"] = [low, high]
    # Below the middle of cividis numbers are white, above they are black; in the diverging scheme they are black near 0.
    dark = f"abs(datum.value) > {0.6 * highest}" if diverging else f"datum.value < {low + 0.55 * (high - low)}"
    color = {"condition": {"test": dark, "value": "white"}, "value": "black"}
    fits = max(len(rows), len(columns)) <= MOST_NUMBERS
    step = 26 if fits else max(6, 460 // len(columns))
    wide = 60 if len(columns) <= 6 else step
    encoding: Spec = {
        "y": _field("row", "nominal", sort=list(rows), title=y, scale={"domain": list(rows)}),
        "x": _field(
            "column",
            "nominal",
            sort=list(columns),
            title=x,
            scale={"domain": list(columns)},
            axis={"labelAngle": 0 if len(columns) <= 6 else -60, "labelLimit": 60 if len(columns) <= 6 else 150},
        ),
        "tooltip": [
            _field("row", "nominal", title=y),
            _field("column", "nominal", title=x),
            _field("text", "quantitative", format=number, title=unit),
        ],
    }
    legend = {"orient": "right", "gradientLength": 120, "title": unit}
    layers: list[Spec] = [
        {"mark": {"type": "rect"}, "encoding": {"color": _field("value", "quantitative", scale=scale, legend=legend)}}
    ]
    if fits:
        size = {"type": "text", "fontSize": 11}
        layers.append({"mark": size, "encoding": {"text": _field("text", "quantitative", format=number), "color": color}})
    return {"data": _data(cells), "width": {"step": wide}, "height": {"step": step}, "encoding": encoding, "layer": layers}


def bars(values: Values, *, names: Sequence[str], series: Sequence[str], x: str, title: str, description: str) -> Chart:
    """Returns horizontal bars, one for each series below the other for each name.

    Args:
        values: `name`, `series` and `value`.
        names: The names, from top to bottom.
        series: The names of the series.
        x: The title of the x axis.
        title: The title of the chart.
        description: Its text alternative.
    """
    spec: Spec = {
        "data": _data(values),
        "params": [_select()],
        "width": "container",
        "height": len(names) * (4 + len(series) * (10 if len(names) <= MOST_NUMBERS else 5)),
        "mark": {"type": "bar"},
        "encoding": {
            "y": _field("name", "nominal", sort=list(names), title=None, axis={"labelOverlap": True}),
            "yOffset": _field("series", "nominal", sort=list(series)),
            "x": _field("value", "quantitative", title=x),
            "color": _series(series, ""),
            "opacity": FADED,
            "tooltip": [_field("name", "nominal"), _field("series", "nominal"), _field("value", "quantitative", title=x)],
        },
    }
    return Chart(title=title, description=description, spec=spec)


def dots(values: Values, *, x: str, title: str, description: str, note: str, table: Table | None = None) -> Chart:
    """Returns a row of dots for each `name`, with a bar at their mean; `value` is the position of a dot."""
    y = _field("name", "nominal", sort=None, title=None)
    spec: Spec = {
        "data": _data(values),
        "width": "container",
        "height": ROW * len({str(value["name"]) for value in values}),
        "encoding": {"y": y},
        "layer": [
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.7},
                "encoding": {
                    "x": _field("value", "quantitative", title=x, scale={"zero": False}),
                    "tooltip": [_field("name", "nominal"), _field("value", "quantitative", format=".3f", title=x)],
                },
            },
            {
                "mark": {"type": "tick", "thickness": 2.5, "size": 16},
                "encoding": {"x": _field("value", "quantitative", aggregate="mean")},
            },
        ],
    }
    return Chart(title=title, description=description, spec=spec, note=note, table=table)
