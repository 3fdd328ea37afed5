"""Filter: a learned convolution that is added to the image.

    x' = clamp(r + kernel * r + bias, 0, 1), with r = resize(x) and the convolution *

It can sharpen or blur, mix the channels and change the tone. Images are padded with their edge pixels, so that a filter draws
no frame. An untrained filter changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.errors import InputError
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.image.learned import LearnedProgram

KERNEL, BIAS = "kernel", "bias"


@dataclass(frozen=True, slots=True)
class Filter(LearnedProgram):
    """Adds a learned convolution of the image to it.

    Its parameters are `kernel`, of shape (channels, channels, size, size), and `bias`, of shape (channels,).
    """

    size: int = 5
    """The side of the kernel in pixels, an odd number."""

    name: ClassVar[str] = "filter"
    operation: ClassVar[str] = "filter"
    kind: ClassVar[Kind] = Kind(format="learnable", location="input", operator="parametric")
    title: ClassVar[str] = "a filter"
    shapes: ClassVar[Mapping[str, str]] = {KERNEL: "channels channels size size", BIAS: "channels"}

    @property
    def learning_rate(self) -> float:
        """The default peak learning rate; lower than for other programs, since every weight acts on all pixels."""
        return 0.003

    def _check_settings(self) -> None:
        if self.size < 1 or self.size % 2 == 0:
            raise InputError(
                "The side of the kernel of a filter must be a positive odd number",
                code="out-of-range",
                got=f"size={self.size}",
                size=self.size,
            )

    def _sizes(self) -> Mapping[str, int]:
        return {"size": self.size}

    def _placement_settings(self) -> Mapping[str, object]:
        return {"size": self.size}
