"""Matrix scaling (Guo et al. 2017, 1706.04599): log q = W log p + b, W of full rank, held to the identity.

Kull et al. 2019 (1910.12656, ODIR) penalize b and W off the diagonal. Here the diagonal is held to 1 as well, with one strength
for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.align.calibrate.scaling import LinearScaling, Scaling


@dataclass(frozen=True)
class Affine(Scaling):
    """A score of each label from the log-probabilities of all, fitted on labeled rows of the fit part."""

    name: ClassVar[str] = "affine"

    def identity(self, labels: int) -> LinearScaling:
        """K (K + 1) numbers."""
        return LinearScaling(weight=np.eye(labels), bias=np.zeros(labels))
