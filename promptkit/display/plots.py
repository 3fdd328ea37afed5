"""The figures of a study, drawn with matplotlib. Knows nothing of studies: what is drawn is handed over as numbers.

The colors are Okabe and Ito's (2008), which the color-blind tell apart; where there is no color, markers and dashes do.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from promptkit.core.errors import InputError, missing_extra
from promptkit.metrics.intervals import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C7A00")
"""Okabe and Ito's, their yellow darkened so that it is seen on white."""
MARKERS = "osD^v<>p"
DASHES: Sequence[Any] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
GRAY = "#555555"
POINTS = 9
"""The size of the type, in a figure that is printed as wide as it is drawn."""
DPI = 200
FORMATS = (".png", ".pdf", ".svg")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line: a figure, or none, for each place on the x axis."""

    name: str
    points: tuple[Estimate | None, ...]
    is_baseline: bool = False
    """Whether it is drawn as what one compares with: gray, and without an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dots:
    """One row of dots, and their mean."""

    name: str
    style: int
    """Rows of one style have one color and one marker."""
    values: tuple[float, ...]


def _matplotlib() -> None:
    """Raise where it is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise missing_extra("matplotlib", "studies", "A plot") from None


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """The function, with the house style while it draws."""

    @wraps(draw)
    def drawn(*args: P.args, **keywords: P.kwargs) -> Figure:
        _matplotlib()
        from matplotlib import rc_context

        with rc_context({"font.size": POINTS, "axes.titlesize": POINTS, "axes.spines.top": False, "axes.spines.right": False}):
            return draw(*args, **keywords)

    return drawn


@styled
def lines(series: Sequence[Series], *, ticks: Sequence[str], x: str, y: str, legend: str, title: str, caption: str) -> Figure:
    """A line a series over evenly spaced places, each point with its interval as a bar; controls behind them, in gray."""
    figure, axes = _new(6.8, 3.9, title, caption)
    mine, theirs = [each for each in series if not each.is_baseline], [each for each in series if each.is_baseline]
    step = min(0.09, 0.5 / len(mine))
    handles = [_line(axes, each, step * (number - (len(mine) - 1) / 2), number) for number, each in enumerate(mine)]
    handles += [_control(axes, each, len(ticks), number) for number, each in enumerate(theirs)]
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlim(-0.45, len(ticks) - 0.55)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if len(series) > 1:
        axes.legend(
            handles=handles,
            title=legend,
            alignment="left",
            frameon=False,
            loc="upper left",
            bbox_to_anchor=(1.01, 1.03),
            handlelength=3.4,
        )
    return figure


def _line(axes: Axes, series: Series, offset: float, number: int) -> Any:
    places = [(place + offset, point) for place, point in enumerate(series.points) if point is not None]
    return axes.errorbar(
        [place for place, _ in places],
        [point.value for _, point in places],
        yerr=[[p.value - p.low for _, p in places], [p.high - p.value for _, p in places]],
        color=COLORS[number % len(COLORS)],
        marker=MARKERS[number % len(MARKERS)],
        linestyle=DASHES[number % len(DASHES)],
        markersize=5,
        linewidth=1.4,
        elinewidth=0.9,
        capsize=2,
        label=series.name,
        zorder=3,
    )


def _control(axes: Axes, series: Series, ticks: int, number: int) -> Any:
    """From edge to edge where it holds everywhere, else with an open marker where it holds."""
    places = [(float(place), point.value) for place, point in enumerate(series.points) if point is not None]
    everywhere = len(places) == ticks
    if everywhere:
        places = [(-0.45, places[0][1]), *places, (ticks - 0.55, places[-1][1])]
    (line,) = axes.plot(
        [place for place, _ in places],
        [value for _, value in places],
        color=GRAY,
        linestyle=DASHES[1 + number % (len(DASHES) - 1)],
        linewidth=1,
        marker="" if everywhere else MARKERS[number % len(MARKERS)],
        markersize=6,
        markerfacecolor="white",
        label=series.name,
        zorder=2,
    )
    return line


@styled
def heatmap(
    values: Sequence[Sequence[Estimate | None]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    y: str,
    x: str,
    unit: str,
    title: str,
    caption: str,
) -> Figure:
    """A square a cell, with its figure and interval written in it."""
    from math import nan

    figure, axes = _new(2.2 + 1.05 * len(columns), 1.7 + 0.55 * len(rows), title, caption)
    grid = [[nan if each is None else each.value for each in line] for line in values]
    image = axes.imshow(grid, cmap="cividis", aspect="auto")
    low, high = image.get_clim()
    for row, line in enumerate(values):
        for column, each in enumerate(line):
            if each is None:
                axes.text(column, row, "–", ha="center", va="center", color=GRAY)
            else:
                ink = "white" if high == low or (each.value - low) / (high - low) < 0.5 else "black"
                text = f"{each.value:.3f}\n{each.low:.2f}–{each.high:.2f}"
                axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=POINTS - 1)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, label=unit, fraction=0.06)
    return figure


@styled
def dots(rows: Sequence[Dots], *, x: str, y: str, title: str, caption: str) -> Figure:
    """A row of dots for each name, a dot for each value in their order from top to bottom, and a bar at their mean."""
    figure, axes = _new(6.2, 1.3 + 0.38 * len(rows), title, caption)
    for number, row in enumerate(rows):
        average = sum(row.values) / len(row.values)
        axes.plot([average, average], [number - 0.36, number + 0.36], color="black", linewidth=1.2, zorder=2)
        axes.plot(
            row.values,
            [number + 0.56 * ((place + 0.5) / len(row.values) - 0.5) for place in range(len(row.values))],
            color=COLORS[row.style % len(COLORS)],
            marker=MARKERS[row.style % len(MARKERS)],
            linestyle="",
            markersize=5,
            markeredgecolor="white",
            markeredgewidth=0.5,
            zorder=3,
        )
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.hlines(
        [number + 0.5 for number in range(len(rows) - 1)],
        0,
        1,
        transform=axes.get_yaxis_transform(),
        color="#eeeeee",
        linewidth=0.8,
    )
    axes.set_axisbelow(True)
    return figure


def _new(width: float, height: float, title: str, caption: str) -> tuple[Figure, Axes]:
    """A figure of one picture."""
    figure = page(width, height, caption)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    return figure, axes


def page(width: float, height: float, caption: str) -> Figure:
    """An empty figure; it is of no pyplot, so that it neither opens windows nor changes anybody's settings."""
    from matplotlib.figure import Figure

    class Plot(Figure):
        """A figure that shows itself in a notebook."""

        def _repr_png_(self) -> bytes:
            return png(self)

    figure = Plot(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.text(0.01, -0.01, caption, fontsize=POINTS - 2, color=GRAY, va="top")
    return figure


def check_drawable(path: Path) -> None:
    """Raise unless a figure could be written there, before anything is computed for it."""
    _matplotlib()
    if path.suffix not in FORMATS:
        hint = f"Use a file name that ends in {', '.join(FORMATS)}"
        raise InputError(f"A plot cannot be written to {path}", code="unknown-format", hint=hint, file=str(path))


def write(figure: Figure | None, path: Path) -> None:
    """Write a figure; raises where there is none, or where it cannot be written."""
    if figure is None:
        raise InputError(
            f"The study has too few dimensions for a plot in {path}",
            code="too-few-dimensions",
            hint="Leave out --plot",
            file=str(path),
        )
    try:
        figure.savefig(path, bbox_inches="tight")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path} cannot be written: {reason}", code="cannot-write", file=str(path), reason=reason) from None


def png(figure: Figure) -> bytes:
    """The picture."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI // 2, bbox_inches="tight")
    return stream.getvalue()
