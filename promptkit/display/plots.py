"""Line plots, heat maps and dot plots, drawn with matplotlib from plain numbers.

The color palette is by Okabe and Ito (2008), which readers with color vision deficiency can distinguish. Markers and dashes
distinguish the series in black and white.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

from promptkit.core.caller import setting
from promptkit.core.errors import InputError, missing_extra
from promptkit.display.text_table import with_interval
from promptkit.metrics.intervals import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C7A00")
"""The colors of Okabe and Ito, with a darker yellow that is visible on white."""
MARKERS = "osD^v<>p"
DASHES: Sequence[str | tuple[int, tuple[float, ...]]] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.2)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
)
GRAY = "#555555"
POINTS = 9
"""The font size, for figures printed at their original width."""
DPI = 200
FORMATS = (".png", ".pdf", ".svg")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a line plot."""

    name: str
    """The name in the legend."""
    points: tuple[Estimate | None, ...]
    """One value for each tick of the x axis; None leaves a gap."""
    is_baseline: bool = False
    """Whether the line is a baseline, drawn in gray and without intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dots:
    """One row of a dot plot, with a bar at the mean."""

    name: str
    """The name of the row."""
    style: int
    """The index of the row's color and marker."""
    values: tuple[float, ...]
    """One dot for each value."""


def _require_matplotlib() -> None:
    if find_spec("matplotlib") is None:
        raise missing_extra("matplotlib", "studies", "A plot")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Applies the common style while a function draws a figure; raises MissingPackage without matplotlib."""

    @wraps(draw)
    def draw_with_style(*args: P.args, **keywords: P.kwargs) -> Figure:
        _require_matplotlib()
        from matplotlib import rc_context

        with rc_context({"font.size": POINTS, "axes.titlesize": POINTS, "axes.spines.top": False, "axes.spines.right": False}):
            return draw(*args, **keywords)

    return draw_with_style


@styled
def lines(series: Sequence[Series], *, ticks: Sequence[str], x: str, y: str, legend: str, title: str, caption: str) -> Figure:
    """Draws a line plot with intervals as error bars, and baselines in gray below the lines.

    Args:
        series: The lines and the baselines.
        ticks: The labels of the x axis, evenly spaced.
        x: The title of the x axis.
        y: The title of the y axis.
        legend: The title of the legend, which is drawn if there are several series.
        title: The title of the figure.
        caption: The text below the figure.
    """
    figure, axes = _new(6.8, 3.9, title, caption)
    main, baselines = [line for line in series if not line.is_baseline], [line for line in series if line.is_baseline]
    step = min(0.09, 0.5 / len(main))  # lines are shifted sideways to keep their error bars apart
    handles: list[ErrorbarContainer | Line2D] = []
    handles += [_line(axes, line, step * (number - (len(main) - 1) / 2), number) for number, line in enumerate(main)]
    handles += [_baseline(axes, line, len(ticks), number) for number, line in enumerate(baselines)]
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


def _line(axes: Axes, series: Series, offset: float, number: int) -> ErrorbarContainer:
    xs = [tick + offset for tick, point in enumerate(series.points) if point is not None]
    points = [point for point in series.points if point is not None]
    return axes.errorbar(
        xs,
        [point.value for point in points],
        yerr=[[point.value - point.low for point in points], [point.high - point.value for point in points]],
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


def _baseline(axes: Axes, series: Series, ticks: int, number: int) -> Line2D:
    """Draws a line from edge to edge if the baseline has all points, else with open markers."""
    points = [(float(tick), point.value) for tick, point in enumerate(series.points) if point is not None]
    is_complete = len(points) == ticks
    if is_complete:
        points = [(-0.45, points[0][1]), *points, (ticks - 0.55, points[-1][1])]
    (line,) = axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=GRAY,
        linestyle=DASHES[1 + number % (len(DASHES) - 1)],
        linewidth=1,
        marker="" if is_complete else MARKERS[number % len(MARKERS)],
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
    """Draws a heat map with the value and its interval in each cell.

    Args:
        values: One row of values for each name in `rows`; None leaves a cell empty.
        rows: The names of the rows.
        columns: The names of the columns.
        y: The title of the rows.
        x: The title of the columns.
        unit: The title of the color bar.
        title: The title of the figure.
        caption: The text below the figure.
    """
    from math import nan

    figure, axes = _new(2.2 + 1.05 * len(columns), 1.7 + 0.55 * len(rows), title, caption)
    grid = [[nan if value is None else value.value for value in row] for row in values]
    image = axes.imshow(grid, cmap="cividis", aspect="auto")
    low, high = image.get_clim()
    for row, estimates in enumerate(values):
        for column, estimate in enumerate(estimates):
            if estimate is None:
                axes.text(column, row, "–", ha="center", va="center", color=GRAY)
            else:
                color = "white" if high == low or (estimate.value - low) / (high - low) < 0.5 else "black"
                text = with_interval(asdict(estimate), "\n")
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=POINTS - 1)
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
    """Draws a dot plot: the values of each row from top to bottom, and a bar at their mean.

    Args:
        rows: The rows, from top to bottom.
        x: The title of the x axis.
        y: The title of the rows.
        title: The title of the figure.
        caption: The text below the figure.
    """
    figure, axes = _new(6.2, 1.3 + 0.38 * len(rows), title, caption)
    for number, row in enumerate(rows):
        mean = sum(row.values) / len(row.values)
        axes.plot([mean, mean], [number - 0.36, number + 0.36], color="black", linewidth=1.2, zorder=2)
        axes.plot(
            row.values,
            [number + 0.56 * ((index + 0.5) / len(row.values) - 0.5) for index in range(len(row.values))],
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
    """A figure with one plot."""
    figure = page(width, height, caption)
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    return figure, axes


def page(width: float, height: float, caption: str) -> Figure:
    """Returns an empty figure with a caption, `width` by `height` inches.

    The figure does not use pyplot, so it opens no window and changes no global settings.
    """
    from matplotlib.figure import Figure

    class Plot(Figure):
        """A figure that notebooks display as PNG."""

        def _repr_png_(self) -> bytes:
            return png(self)

    figure = Plot(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.text(0.01, -0.01, caption, fontsize=POINTS - 2, color=GRAY, va="top")
    return figure


def check_drawable(path: Path) -> None:
    """Checks that a figure can be written to a file, before anything is computed.

    Raises:
        InputError: The file format is not supported.
        MissingPackage: matplotlib is not installed.
    """
    _require_matplotlib()
    if path.suffix not in FORMATS:
        hint = f"Use a file name that ends in {', '.join(FORMATS)}"
        raise InputError(f"A plot cannot be written to {path}", code="unknown-format", hint=hint, file=str(path))


def write(figure: Figure | None, path: Path) -> None:
    """Writes a figure to a file.

    Raises:
        InputError: The figure is None, because the study has too few dimensions, or the file cannot be written.
    """
    if figure is None:
        raise InputError(
            f"The study has too few dimensions for a plot in {path}",
            code="too-few-dimensions",
            hint=f"Leave out {setting('plot')}",
            file=str(path),
        )
    try:
        figure.savefig(path, bbox_inches="tight")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path} cannot be written: {reason}", code="cannot-write", file=str(path), reason=reason) from None


def png(figure: Figure) -> bytes:
    """Returns a figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI // 2, bbox_inches="tight")
    return stream.getvalue()
