"""Draws estimates with their intervals, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptkit.display.panels import Panel
from promptkit.display.plots import COLORS
from promptkit.metrics.intervals import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


def estimates_panel(estimates: Sequence[tuple[str, Estimate]], *, x: str, title: str) -> Panel:
    """Returns a panel with a dot and a 95% interval for each estimate.

    Args:
        estimates: Names and estimates, from top to bottom.
        x: The title of the x axis.
        title: The title.
    """

    def draw(figure: SubFigure) -> None:
        axes = figure.add_subplot()
        for row, (_, estimate) in enumerate(estimates):
            bar = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
            axes.errorbar([estimate.value], [row], xerr=bar, fmt="o", color=COLORS[0], markersize=5, capsize=2)
        axes.set_yticks(range(len(estimates)), [name for name, _ in estimates])
        axes.set_ylim(len(estimates) - 0.5, -0.5)
        axes.set_xlabel(x)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_title(title, loc="left")

    return Panel(width=6.2, height=1.1 + 0.27 * len(estimates), draw=draw)
