"""Automatic contrast: the values of each image are stretched to the whole range.

    x' = (x - min x) / (max x - min x)

The minimum and the maximum are over all pixels and channels of an image, which keeps its hues; a uniform image is unchanged.
Pillow's `ImageOps.autocontrast` stretches each channel on its own instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.taxonomy import Kind
from promptkit.manipulate.image.fixed import FixedProgram


@dataclass(frozen=True, slots=True)
class Autocontrast(FixedProgram):
    """Stretches the values of the image to the range from 0 to 1."""

    name: ClassVar[str] = "autocontrast"
    kind: ClassVar[Kind] = Kind(format="fixed", location="input", operator="parametric")
