"""Figures that consist of several panels, one below the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.display.plots import page, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A part of a figure."""

    width: float
    """In inches; the figure is as wide as its widest panel."""
    height: float
    """In inches."""
    draw: Callable[[SubFigure], None]
    """Draws the panel into a subfigure."""


@styled
def stack_panels(panels: Sequence[Panel], caption: str) -> Figure:
    """Returns a figure with the panels from top to bottom.

    Args:
        panels: The panels, at least one.
        caption: The text below the figure.
    """
    heights = [panel.height for panel in panels]
    figure = page(max(panel.width for panel in panels), sum(heights), caption)
    parts = figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights).ravel()
    for part, panel in zip(parts, panels, strict=True):
        panel.draw(part)
    return figure
