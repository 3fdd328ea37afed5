"""The position of a smaller image on a canvas."""

from __future__ import annotations

from typing import NamedTuple


class Placement(NamedTuple):
    """A rectangle of pixels on a canvas."""

    top: int
    """The first row."""
    left: int
    """The first column."""
    height: int
    """The number of rows."""
    width: int
    """The number of columns."""

    def outside(self, size: tuple[int, int]) -> int:
        """Returns the number of pixels of a canvas, given by its height and width, that lie outside the rectangle."""
        return size[0] * size[1] - self.height * self.width


def centered(size: tuple[int, int], share: float) -> Placement:
    """Returns the rectangle in the middle of a canvas whose sides are a fraction of the sides of the canvas.

    Args:
        size: The height and width of the canvas.
        share: The fraction, above 0 and at most 1. Sides are rounded to whole pixels, at least one.
    """
    height, width = (max(1, round(share * length)) for length in size)
    return Placement(top=(size[0] - height) // 2, left=(size[1] - width) // 2, height=height, width=width)
