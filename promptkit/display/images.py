"""Draws images before and after operations on their pixels, with the likeliest classes of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.display.panels import Panel
from promptkit.display.plots import COLORS, POINTS

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure
    from numpy.typing import NDArray

LINE = 1.35
"""The height of an image in inches."""
LONGEST_NAME = 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image and its likeliest classes."""

    pixels: NDArray[np.float32]
    """Shape (channels, height, width), values between 0 and 1."""
    classes: Sequence[tuple[str, float]]
    """Names and probabilities, the likeliest first."""


def pictures_panel(rows: Sequence[tuple[str, Sequence[Picture]]], *, columns: Sequence[str]) -> Panel:
    """Returns a panel with a row of pictures for each image.

    Args:
        rows: The title of each image, and its pictures.
        columns: The title of each picture.
    """

    def draw(figure: SubFigure) -> None:
        axes = figure.subplots(len(rows), 2 * len(columns), squeeze=False, width_ratios=[1, 1.35] * len(columns))
        for line, (title, pictures) in zip(axes, rows, strict=True):
            for number, picture in enumerate(pictures):
                _draw_picture(line[2 * number], picture)
                _draw_classes(line[2 * number + 1], picture, COLORS[number])
            line[0].set_ylabel(title, rotation=0, ha="right", va="center")
        for number, column in enumerate(columns):
            axes[0][2 * number].set_title(column, loc="left")

    return Panel(width=0.7 + 2.35 * LINE * len(columns) * 1.15, height=0.35 + LINE * len(rows), draw=draw)


def _draw_picture(axes: Axes, picture: Picture) -> None:
    pixels = picture.pixels.transpose(1, 2, 0)
    axes.imshow(pixels if pixels.shape[-1] == 3 else pixels[..., 0], cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _draw_classes(axes: Axes, picture: Picture, color: str) -> None:
    """Draws a bar for each probability, with the class below its bar."""
    axes.barh(range(len(picture.classes)), [probability for _, probability in picture.classes], height=0.28, color=color)
    for row, (name, probability) in enumerate(picture.classes):
        short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        axes.text(0, row - 0.2, f"{short} {probability:.2f}", fontsize=POINTS - 2.5, va="bottom", ha="left")
    axes.set_xlim(0, 1)
    axes.set_ylim(len(picture.classes) - 0.6, -0.8)
    axes.axis("off")
