"""Draws a label map as a heat map: labels in rows, source classes in columns, weights as colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptkit.core.shown_text import label_text
from promptkit.display.panels import Panel
from promptkit.display.plots import GRAY, POINTS

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

WIDTH_OF_COLUMN, HEIGHT_OF_ROW = 0.2, 0.24
"""In inches."""
MARGINS = (2.4, 1.9)
"""Width and height around the colored cells, in inches."""
LONGEST_NAME = 24
"""Longer names are shortened, in characters."""


def label_map_panel(weights: Sequence[Sequence[float]], *, labels: Sequence[str], sources: Sequence[str], title: str) -> Panel:
    """Returns a heat map of weights. If some are negative, zero is white and the colors diverge from it.

    Args:
        weights: One row of weights for each label.
        labels: The names of the rows.
        sources: The names of the columns.
        title: The title.
    """

    def draw(figure: SubFigure) -> None:
        axes = figure.add_subplot()
        highest = max((abs(weight) for row in weights for weight in row), default=1.0) or 1.0
        diverges = any(weight < 0 for row in weights for weight in row)
        colors, lowest = ("RdBu_r", -highest) if diverges else ("cividis", 0.0)
        image = axes.imshow(weights, cmap=colors, vmin=lowest, vmax=highest, aspect="auto")
        axes.set_title(title, loc="left")
        axes.set_xticks(range(len(sources)), [_short(name) for name in sources], rotation=90, fontsize=POINTS - 2)
        axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for row in range(1, len(labels)):
            axes.axhline(row - 0.5, color="white" if not diverges else GRAY, linewidth=0.4)
        figure.colorbar(image, ax=axes, label="weight", fraction=0.03, pad=0.01)

    width, height = MARGINS
    return Panel(width=width + WIDTH_OF_COLUMN * len(sources), height=height + HEIGHT_OF_ROW * len(labels), draw=draw)


def _short(name: str) -> str:
    """The name as it is shown, in which matplotlib reads no formula."""
    return label_text(name, LONGEST_NAME).replace("$", r"\$")
