"""Heat maps, such as confusion matrices and label maps."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.display.table import Table
from promptkit.reports import vega
from promptkit.reports.blocks import Chart


def heatmap(
    cells: vega.Values,
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
    cells: vega.Values,
    rows: Sequence[str],
    columns: Sequence[str],
    y: str,
    x: str,
    unit: str,
    number: str,
    domain: tuple[float, float] | None,
    diverging: bool,
) -> vega.Spec:
    scale: vega.Spec = {"scheme": "blueorange"} if diverging else {"scheme": "cividis"}
    values = [float(str(cell["value"])) for cell in cells] or [0.0]
    highest = max(map(abs, values)) or 1.0
    low, high = domain or ((-highest, highest) if diverging else (min(0.0, *values), max(values)))
    scale["domain"] = [low, high]
    # Below the middle of cividis numbers are white, above they are black; in the diverging scheme they are black near 0.
    dark = f"abs(datum.value) > {0.6 * highest}" if diverging else f"datum.value < {low + 0.55 * (high - low)}"
    color = {"condition": {"test": dark, "value": "white"}, "value": "black"}
    fits = max(len(rows), len(columns)) <= vega.MOST_NUMBERS
    step = 26 if fits else max(6, 460 // len(columns))
    wide = 60 if len(columns) <= 6 else step
    encoding: vega.Spec = {
        "y": vega.field("row", "nominal", sort=list(rows), title=y, scale={"domain": list(rows)}),
        "x": vega.field(
            "column",
            "nominal",
            sort=list(columns),
            title=x,
            scale={"domain": list(columns)},
            axis={"labelAngle": 0 if len(columns) <= 6 else -60, "labelLimit": 60 if len(columns) <= 6 else 150},
        ),
        "tooltip": [
            vega.field("row", "nominal", title=y),
            vega.field("column", "nominal", title=x),
            vega.field("text", "quantitative", format=number, title=unit),
        ],
    }
    legend = {"orient": "right", "gradientLength": 120, "title": unit}
    layers: list[vega.Spec] = [
        {"mark": {"type": "rect"}, "encoding": {"color": vega.field("value", "quantitative", scale=scale, legend=legend)}}
    ]
    if fits:
        size = {"type": "text", "fontSize": 11}
        layers.append({"mark": size, "encoding": {"text": vega.field("text", "quantitative", format=number), "color": color}})
    return {"data": vega.data(cells), "width": {"step": wide}, "height": {"step": step}, "encoding": encoding, "layer": layers}
