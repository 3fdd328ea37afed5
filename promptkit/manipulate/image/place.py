"""Placement: a smaller image in the middle of the canvas.

    x' = background, with resize(x) in the middle

It is `Border` without learned pixels, and shows how much of the effect of a border is due to the smaller image alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from promptkit.core.taxonomy import Kind
from promptkit.manipulate.image.checks import check_share
from promptkit.manipulate.image.fixed import FixedProgram


@dataclass(frozen=True, slots=True)
class Place(FixedProgram):
    """Resizes the image to a share of the canvas, and places it in the middle of a uniform background."""

    share: float = 0.6
    """The side of the image as a share of that of the canvas."""
    _: KW_ONLY
    background: float = 0.5
    """The value of the background in all channels, from 0 to 1."""

    name: ClassVar[str] = "place"
    kind: ClassVar[Kind] = Kind(format="fixed", location="input", operator="concatenative")

    def __post_init__(self) -> None:
        FixedProgram.__post_init__(self)
        check_share("share", self.share)
        check_share("background", self.background, lowest=0.0)

    def _operation_settings(self) -> Mapping[str, str | float]:
        return {"share": self.share, "background": self.background}
