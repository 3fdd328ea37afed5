"""Sample-specific mask, SMM: a learned image, multiplied by a mask that a small network computes from each image (Cai et al.
2024, arXiv:2406.03150).

    x' = clamp(r + delta * upsample(f(r)), 0, 1), with r = resize(x)

f is the paper's network of five 3 x 3 convolutions with 8, 16, 32, 64 and as many features as channels, ReLU between them, and
max pooling after the first ones, so that one value of the mask covers a square of `patch` pixels. Three things differ from the
authors' code: there is no batch normalization, with which the result for an image would depend on its batch; f reads pixels
before the model's own normalization; and the result is clamped. The weights of f start random, scaled for ReLU (He et al. 2015,
arXiv:1502.01852), with a bias of 1 in the last layer: training starts near a watermark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.errors import InputError
from promptkit.core.seeding import generator
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.image.learned import DELTA, LearnedProgram

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNEL = 3
WIDTHS = (8, 16, 32, 64)
"""The number of features after each convolution but the last."""
PATCHES = (1, 2, 4, 8, 16)
"""The possible sides of a square, which doubles with each pooling."""


def _shapes() -> dict[str, str]:
    """Returns the shapes of the parameters, with the convolutions numbered from 1."""
    names = ["channels", *(f"features{number}" for number, _ in enumerate(WIDTHS, 1)), "channels"]
    shapes = {DELTA: "channels height width"}
    for number in range(1, len(names)):
        shapes[f"weight{number}"] = f"{names[number]} {names[number - 1]} kernel kernel"
        shapes[f"bias{number}"] = names[number]
    return shapes


@dataclass(frozen=True, slots=True)
class SampleMask(LearnedProgram):
    """Adds a learned image times a mask that a small network computes from each image (SMM, Cai et al. 2024, arXiv:2406.03150).

    Its parameters are `delta`, of shape (channels, height, width), and the `weight` and `bias` of each convolution.
    """

    patch: int = 8
    """The side of the squares that share one value of the mask, in pixels: 1, 2, 4, 8 or 16."""
    _: KW_ONLY
    seed: int = 0
    """The seed of the initial weights of the network."""

    name: ClassVar[str] = "mask"
    operation: ClassVar[str] = "mask"
    kind: ClassVar[Kind] = Kind(format="learnable", location="input", operator="additive")
    title: ClassVar[str] = "a sample-specific mask"
    shapes: ClassVar[Mapping[str, str]] = _shapes()

    def _check_settings(self) -> None:
        if self.patch not in PATCHES:
            raise InputError(
                "The patches of a sample-specific mask must have a side of 1, 2, 4, 8 or 16 pixels",
                code="out-of-range",
                got=f"patch={self.patch}",
                patch=self.patch,
            )

    def _sizes(self) -> Mapping[str, int]:
        return {"kernel": KERNEL, **{f"features{number}": width for number, width in enumerate(WIDTHS, 1)}}

    def _untrained(self, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, NDArray[np.floating]]:
        draw = generator("mask", self.seed)
        parameters = dict(LearnedProgram._untrained(self, shapes))
        for name, shape in shapes.items():
            if name.startswith("weight"):
                parameters[name] = draw.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        parameters[f"bias{len(WIDTHS) + 1}"] += 1
        return parameters

    def _operation_settings(self) -> Mapping[str, str | float]:
        return {"patch": self.patch}

    def _initial_settings(self) -> Mapping[str, object]:
        return {"seed": self.seed}
