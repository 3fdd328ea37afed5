"""Affine program: trained size, position, angle, gain and offset of the image (trainable resize, AutoVP, Tsai et al. 2023,
arXiv:2310.08381).

    x' = clamp((1 + gain) * move(resize(x)) + offset, 0, 1)

`move` scales the image by exp(s) around the middle of the canvas, shifts and rotates it, by bilinear sampling. Beyond the image
the canvas has the value `background`. AutoVP trains the scale only, and combines it with a border. All parameters are 0 before
training; sampling then changes values only by rounding, by at most about 2e-6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from promptkit.core.taxonomy import Kind
from promptkit.manipulate.image.checks import check_share
from promptkit.manipulate.image.learned import LearnedProgram

MOVEMENT, TONE = "movement", "tone"


@dataclass(frozen=True, slots=True)
class Affine(LearnedProgram):
    """Scales, shifts and rotates the image, and changes its gain and offset (trainable resize, AutoVP, arXiv:2310.08381).

    Its parameters are `movement`, of shape (4,): the logarithm of the scale, the downward and the rightward shift in halves of
    the canvas, and the clockwise angle in radians; and `tone`, of shape (2,): the gain minus 1, and the offset.
    """

    _: KW_ONLY
    background: float = 0.5
    """The value around the moved image in all channels, from 0 to 1."""

    name: ClassVar[str] = "affine"
    operation: ClassVar[str] = "affine"
    kind: ClassVar[Kind] = Kind(format="learnable", location="input", operator="parametric")
    title: ClassVar[str] = "an affine program"
    shapes: ClassVar[Mapping[str, str]] = {MOVEMENT: "movements", TONE: "tones"}

    def _check_settings(self) -> None:
        check_share("background", self.background, lowest=0.0)

    def _sizes(self) -> Mapping[str, int]:
        return {"movements": 4, "tones": 2}

    def _operation_settings(self) -> Mapping[str, str | float]:
        return {"background": self.background}
