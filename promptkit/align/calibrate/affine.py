"""Matrix scaling (Guo et al. 2017, 1706.04599): log q = W log p + b with a full matrix W, regularized toward the identity.

Off-diagonal and intercept regularization (Kull et al. 2019, 1910.12656) penalizes b and the off-diagonal elements of W. Here
the diagonal is penalized toward 1 as well, with the same strength.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.align.calibrate.scaling import LinearScaling, Scaling


@dataclass(frozen=True, kw_only=True)
class Affine(Scaling):
    """Matrix scaling: the score of a label is a linear function of the log-probabilities of all labels."""

    name: ClassVar[str] = "affine"

    def identity(self, labels: int) -> LinearScaling:
        """Returns the identity, with K (K + 1) parameters."""
        return LinearScaling(weight=np.eye(labels), bias=np.zeros(labels))
