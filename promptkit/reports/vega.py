"""What the Vega-Lite specifications of all charts share.

Colors are those of Okabe and Ito, as in other figures of promptkit, and the scheme cividis; shapes and dashes distinguish
series as well. Text and axes have the color of the page's text, so that they follow its light or dark mode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Values = Sequence[Mapping[str, object]]
Spec = dict[str, object]

DASHES = ([1, 0], [5, 2], [2, 2], [6, 2, 2, 2], [3, 1, 1, 1])
"""The dashes of lines, in the order of the series."""
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


def field(name: str, kind: str, **more: object) -> Spec:
    """The encoding of a field of the data."""
    return {"field": name, "type": kind, **more}


def data(values: Values) -> Spec:
    """The data of a chart."""
    return {"values": [dict(value) for value in values]}


def series(names: Sequence[str], title: str) -> Spec:
    """The encoding that distinguishes series by color; the legend selects one of them."""
    return field("series", "nominal", title=title, sort=list(names), scale={"domain": list(names)})


def select() -> Spec:
    """The parameter by which a click on the legend selects series."""
    return {"name": "chosen", "select": {"type": "point", "fields": ["series"]}, "bind": "legend"}


FADED: Spec = {"condition": {"param": "chosen", "value": 1}, "value": 0.12}
"""The opacity of series, of which those that are not selected are faded."""
