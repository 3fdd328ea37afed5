"""Watermark: one learned image that is added to every image (VP, Bahng et al. 2022, arXiv:2203.17274).

    x' = clamp(resize(x) + delta, 0, 1)

VP's own code adds to the normalized image and does not clamp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.taxonomy import Kind
from promptkit.manipulate.image.learned import DELTA, LearnedProgram


@dataclass(frozen=True, slots=True)
class Watermark(LearnedProgram):
    """Adds a learned image to the resized image (VP, Bahng et al. 2022, arXiv:2203.17274).

    Its parameter is `delta`, of shape (channels, height, width).
    """

    name: ClassVar[str] = "watermark"
    operation: ClassVar[str] = "add"
    kind: ClassVar[Kind] = Kind(format="learnable", location="input", operator="additive")
    title: ClassVar[str] = "a watermark"
    shapes: ClassVar[Mapping[str, str]] = {DELTA: "channels height width"}
