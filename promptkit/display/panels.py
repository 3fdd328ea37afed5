"""Figures of several parts, one below the other, each with a size of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.display.plots import page, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One part of a figure."""

    width: float
    """In inches; the figure is as wide as its widest part."""
    height: float
    """In inches."""
    draw: Callable[[SubFigure], None]
    """Draws it into its part of the figure."""


@styled
def stacked(panels: Sequence[Panel], caption: str) -> Figure:
    """Returns a figure with panels from top to bottom.

    Args:
        panels: The parts, at least one.
        caption: The text below the figure.
    """
    heights = [panel.height for panel in panels]
    figure = page(max(panel.width for panel in panels), sum(heights), caption)
    parts = figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights).ravel()
    for part, panel in zip(parts, panels, strict=True):
        panel.draw(part)
    return figure
