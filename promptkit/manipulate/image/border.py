"""Border: learned pixels around a smaller image (AR, Elsayed et al. 2018, arXiv:1806.11146; ILM-VP, Chen et al. 2022,
arXiv:2211.11635).

    x' = sigmoid(frame) outside, resize(x) in the middle

AR uses tanh on a canvas from -1 to 1, and ILM-VP the sigmoid, so that both stay within valid pixels. Before training the frame
is 0 and the border uniformly 0.5: the program then equals `Place` with the same share. The border of VP (Bahng et al. 2022,
arXiv:2203.17274) is added to the edges of an image of full size instead, as `Watermark` does on all pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.placement import centered
from promptkit.core.taxonomy import Kind
from promptkit.manipulate.image.checks import check_share
from promptkit.manipulate.image.learned import LearnedProgram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from promptkit.core.model import ImageCard

FRAME = "frame"


@dataclass(frozen=True, slots=True)
class Border(LearnedProgram):
    """Surrounds a smaller image by learned pixels (AR, arXiv:1806.11146; ILM-VP, arXiv:2211.11635).

    Its parameter is `frame`, of shape (channels, pixels), with the pixels of the border from left to right and top to bottom.
    """

    share: float = 0.6
    """The side of the image as a share of that of the canvas."""

    name: ClassVar[str] = "border"
    operation: ClassVar[str] = "border"
    kind: ClassVar[Kind] = Kind(format="learnable", location="input", operator="concatenative")
    title: ClassVar[str] = "a border"
    shapes: ClassVar[Mapping[str, str]] = {FRAME: "channels pixels"}

    @property
    def learning_rate(self) -> float:
        """The default peak learning rate, before the sigmoid."""
        return 0.05

    def _check_settings(self) -> None:
        check_share("share", self.share)

    def _sizes_for(self, card: ImageCard) -> Mapping[str, int]:
        return {**LearnedProgram._sizes_for(self, card), "pixels": centered(card.size, self.share).outside(card.size)}

    def _operation_settings(self) -> Mapping[str, str | float]:
        return {"share": self.share}

    def pictures(self) -> Mapping[str, NDArray[np.floating]]:
        """Returns the learned border around a gray square in the place of the image."""
        if FRAME not in self.parameters:
            return {}
        frame = self.parameters[FRAME].numpy()
        height, width = (int(side) for side in str(self.base["size"]).split("x"))
        inner = centered((height, width), self.share)
        outside = np.ones((height, width), bool)
        outside[inner.top : inner.top + inner.height, inner.left : inner.left + inner.width] = False
        canvas = np.full((len(frame), height, width), 0.5)
        canvas[:, outside] = 1 / (1 + np.exp(-frame))
        return {"the border, around a gray square in the place of the image": canvas}
