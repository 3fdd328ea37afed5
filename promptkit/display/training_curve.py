"""Draws the course of a training run: the loss of each step, and the evaluations on dev rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptkit.display.panels import Panel
from promptkit.display.plots import COLORS, GRAY

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure


def training_panel(
    losses: Sequence[float],
    dev_losses: Sequence[tuple[int, float]],
    dev_values: Sequence[tuple[int, float]],
    *,
    metric: str,
    best: int,
    title: str,
) -> Panel:
    """Returns a panel with the losses, and beside it the main metric on dev if there is one.

    Args:
        losses: The loss of each step.
        dev_losses: Number of steps, and the loss on dev after them.
        dev_values: Number of steps, and the value of the main metric on dev after them; empty if there is none.
        metric: The name of the metric.
        best: The number of steps whose result is kept.
        title: The title.
    """

    def draw(figure: SubFigure) -> None:
        panels = figure.subplots(1, 2 if dev_values else 1, squeeze=False)[0]
        panels[0].plot(range(1, len(losses) + 1), losses, color=COLORS[0], linewidth=1.2, label="training rows, each step")
        panels[0].plot(*zip(*dev_losses, strict=True), color=COLORS[1], marker="s", linestyle="--", label="dev rows")
        panels[0].set_ylabel("loss")
        panels[0].legend(frameon=False)
        if dev_values:
            panels[1].plot(*zip(*dev_values, strict=True), color=COLORS[1], marker="s", linestyle="--")
            panels[1].set_ylabel(f"{metric} on dev rows")
        for axes in panels:
            axes.axvline(best, color=GRAY, linewidth=0.8, linestyle=":")
            axes.set_xlabel("steps (dotted: the best on dev, which is kept)")
            axes.xaxis.get_major_locator().set_params(integer=True)
        panels[0].set_title(title, loc="left")

    return Panel(width=7.4, height=2.7, draw=draw)
