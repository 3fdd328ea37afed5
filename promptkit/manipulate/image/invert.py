"""Inversion of the values of an image: dark objects on a light background, as in photographs, for light ones on a dark one.

x' = 1 - x
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.taxonomy import Kind
from promptkit.manipulate.image.fixed import FixedProgram


@dataclass(frozen=True, slots=True)
class Invert(FixedProgram):
    """Inverts the values of the image."""

    name: ClassVar[str] = "invert"
    kind: ClassVar[Kind] = Kind(format="fixed", location="input", operator="parametric")
