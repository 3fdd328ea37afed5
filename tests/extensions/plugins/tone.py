"""A fixed and a learnable manipulation of images, and the operations on pixels that they use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.core.taxonomy import Kind
from promptkit.manipulate.image.fixed import FixedProgram
from promptkit.manipulate.image.learned import LearnedProgram

if TYPE_CHECKING:
    from torch import Tensor

Settings = Mapping[str, str | float]


@dataclass(frozen=True, slots=True)
class Posterize(FixedProgram):
    """Rounds the values of the image."""

    levels: int = 4
    """The number of different values."""
    name: ClassVar[str] = "posterize"
    kind: ClassVar[Kind] = Kind(format="fixed", location="input", operator="parametric")

    def _operation_settings(self) -> Mapping[str, str | float]:
        return {"levels": float(self.levels)}


def posterize(batch: Tensor, arrays: Sequence[Tensor], settings: Settings, size: tuple[int, int]) -> Tensor:
    steps = float(settings["levels"]) - 1
    return (batch * steps).round() / steps


@dataclass(frozen=True, slots=True)
class Brightness(LearnedProgram):
    """Adds a learned number to each channel of the image."""

    name: ClassVar[str] = "brightness"
    operation: ClassVar[str] = "brighten"
    title: ClassVar[str] = "a brightness"
    kind: ClassVar[Kind] = Kind(format="learnable", location="input", operator="additive")
    shapes: ClassVar[Mapping[str, str]] = {"offset": "channels"}


def brighten(batch: Tensor, arrays: Sequence[Tensor], settings: Settings, size: tuple[int, int]) -> Tensor:
    (offset,) = arrays
    return (batch + offset[:, None, None]).clamp(0, 1)
