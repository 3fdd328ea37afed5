"""Charts of estimates, counts and single values, with a row for each name."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.metrics.intervals import Estimate
from promptkit.reports import vega
from promptkit.reports.blocks import Chart


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
    y = vega.field("name", "nominal", sort=None, title=None)
    legend: vega.Spec = {} if any(is_baseline for *_, is_baseline in rows) else {"legend": None}
    color = vega.field("series", "nominal", title=None, scale={"domain": list(kinds)}, **legend)
    tooltip = [
        vega.field("name", "nominal"),
        *(vega.field(name, "quantitative", format=".3f") for name in ("value", "low", "high")),
    ]
    spec: vega.Spec = {
        "data": vega.data(values),
        "width": "container",
        "height": vega.ROW * len(rows),
        "encoding": {"y": y, "color": color, "tooltip": tooltip},
        "layer": [
            {
                "mark": {"type": "rule", "size": 2},
                "encoding": {"x": vega.field("low", "quantitative"), "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 80},
                "encoding": {
                    "x": vega.field("value", "quantitative", title=metric, scale={"zero": False}),
                    "shape": vega.field("series", "nominal", title=None, scale={"domain": list(kinds)}, **legend),
                },
            },
        ],
    }
    best = max(rows, key=lambda row: row[1].value)
    description = f"{metric} of {len(rows)} candidates with 95% intervals; the highest is {best[1].value:.3f} for {best[0]}"
    return Chart(title=title, description=description, spec=spec, note="Bars are 95% intervals.")


def bars(values: vega.Values, *, names: Sequence[str], series: Sequence[str], x: str, title: str, description: str) -> Chart:
    """Returns horizontal bars, one for each series below the other for each name.

    Args:
        values: `name`, `series` and `value`.
        names: The names, from top to bottom.
        series: The names of the series.
        x: The title of the x axis.
        title: The title of the chart.
        description: Its text alternative.
    """
    value = vega.field("value", "quantitative", title=x)
    spec: vega.Spec = {
        "data": vega.data(values),
        "params": [vega.select()],
        "width": "container",
        "height": len(names) * (4 + len(series) * (10 if len(names) <= vega.MOST_NUMBERS else 5)),
        "mark": {"type": "bar"},
        "encoding": {
            "y": vega.field("name", "nominal", sort=list(names), title=None, axis={"labelOverlap": True}),
            "yOffset": vega.field("series", "nominal", sort=list(series)),
            "x": value,
            "color": vega.series(series, ""),
            "opacity": vega.FADED,
            "tooltip": [vega.field("name", "nominal"), vega.field("series", "nominal"), value],
        },
    }
    return Chart(title=title, description=description, spec=spec)


def dots(values: vega.Values, *, x: str, title: str, description: str, note: str) -> Chart:
    """Returns a row of dots for each `name`, with a bar at their mean; `value` is the position of a dot."""
    y = vega.field("name", "nominal", sort=None, title=None)
    spec: vega.Spec = {
        "data": vega.data(values),
        "width": "container",
        "height": vega.ROW * len({str(value["name"]) for value in values}),
        "encoding": {"y": y},
        "layer": [
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.7},
                "encoding": {
                    "x": vega.field("value", "quantitative", title=x, scale={"zero": False}),
                    "tooltip": [vega.field("name", "nominal"), vega.field("value", "quantitative", format=".3f", title=x)],
                },
            },
            {
                "mark": {"type": "tick", "thickness": 2.5, "size": 16},
                "encoding": {"x": vega.field("value", "quantitative", aggregate="mean")},
            },
        ],
    }
    return Chart(title=title, description=description, spec=spec, note=note)
