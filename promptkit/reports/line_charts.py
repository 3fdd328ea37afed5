"""Line charts and scatter plots of two numbers."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.display.table import Table
from promptkit.reports import vega
from promptkit.reports.blocks import Chart


def lines(
    values: vega.Values,
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
    values: vega.Values,
    x: str,
    y: str,
    series: Sequence[str],
    legend: str,
    ordinal: bool,
    points: bool,
    diagonal: bool,
    rule: float | None,
    zero: bool,
) -> vega.Spec:
    x_type = "ordinal" if ordinal else "quantitative"
    scale = {"domain": [0, 1]} if diagonal else {"zero": zero}
    whole = all(isinstance(value["x"], int) for value in values)
    axis: vega.Spec = {"labelAngle": 0} if ordinal else {"tickMinStep": 1} if whole else {}
    x_axis = vega.field("x", x_type, title=x, sort=None, axis=axis)
    if diagonal:
        x_axis["scale"] = scale
    more = [name for name in values[0] if name not in ("x", "y", "series")] if values else []
    tooltip = [
        vega.field("series", "nominal", title=legend),
        vega.field("x", x_type, title=x),
        vega.field("y", "quantitative", title=y, format=".3f"),
        *(vega.field(name, "quantitative", format=".3~f") for name in more),
    ]
    encoding: vega.Spec = {"x": x_axis, "color": vega.series(series, legend), "opacity": vega.FADED, "tooltip": tooltip}
    line: vega.Spec = {
        "params": [vega.select()],
        "mark": {"type": "line"},
        "encoding": {
            "y": vega.field("y", "quantitative", title=y, scale=scale),
            "strokeDash": vega.field(
                "series", "nominal", title=legend, scale={"domain": list(series), "range": [list(each) for each in vega.DASHES]}
            ),
        },
    }
    layers: list[vega.Spec] = [line]
    if diagonal:
        layers.insert(0, _diagonal())
    if rule is not None:
        layers.insert(0, _rule(rule))
    if "low" in more:
        interval = {"y": vega.field("low", "quantitative"), "y2": {"field": "high"}}
        layers.append({"mark": {"type": "rule", "size": 1.5}, "encoding": interval})
    if points:
        shape = vega.field("series", "nominal", title=legend, scale={"domain": list(series)})
        mark = {"type": "point", "filled": True, "size": 50}
        layers.append({"mark": mark, "encoding": {"y": vega.field("y", "quantitative"), "shape": shape}})
    return {"data": vega.data(values), "width": "container", "height": 260, "encoding": encoding, "layer": layers}


def _diagonal() -> vega.Spec:
    """The line from (0, 0) to (1, 1)."""
    ends: vega.Values = [{"a": 0, "b": 0}, {"a": 1, "b": 1}]
    axes = {"x": vega.field("a", "quantitative"), "y": vega.field("b", "quantitative")}
    mark = {"type": "line", "color": "currentColor", "opacity": 0.5, "strokeDash": [4, 3], "strokeWidth": 1}
    return {"data": vega.data(ends), "mark": mark, "encoding": {**axes, "color": None, "tooltip": None, "opacity": None}}


def _rule(at: float) -> vega.Spec:
    """A vertical line."""
    mark = {"type": "rule", "color": "currentColor", "opacity": 0.6, "strokeDash": [2, 3]}
    encoding = {"x": vega.field("at", "quantitative"), "color": None, "tooltip": None, "opacity": None}
    return {"data": vega.data([{"at": at}]), "mark": mark, "encoding": encoding}


def scatter(values: vega.Values, *, x: str, y: str, series: Sequence[str], title: str, description: str, note: str) -> Chart:
    """Returns points with two shares as coordinates, `x` and `y`, and the diagonal; `series` gives their color and shape."""
    scale = {"domain": [0, 1]}
    points: vega.Spec = {
        "params": [vega.select()],
        "mark": {"type": "point", "size": 30},
        "encoding": {
            "x": vega.field("x", "quantitative", title=x, scale=scale),
            "y": vega.field("y", "quantitative", title=y, scale=scale),
            "color": vega.series(series, "row"),
            "shape": vega.field("series", "nominal", title="row", scale={"domain": list(series)}),
            "opacity": vega.FADED,
            "tooltip": [
                vega.field("series", "nominal"),
                *(vega.field(name, "quantitative", format=".3f") for name in ("x", "y")),
            ],
        },
    }
    spec: vega.Spec = {"data": vega.data(values), "width": "container", "height": 320, "layer": [_diagonal(), points]}
    return Chart(title=title, description=description, spec=spec, note=note)
