"""Vector scaling (Guo et al. 2017, 1706.04599): log q[y] = w[y] log p[y] + b[y]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from promptkit.align.calibrate.scaling import LinearScaling, Scaling


@dataclass(frozen=True, kw_only=True)
class Vector(Scaling):
    """Vector scaling: a weight and a bias for each label, fitted on labeled rows."""

    name: ClassVar[str] = "vector"

    def identity(self, labels: int) -> LinearScaling:
        """Returns the identity, with 2 K parameters."""
        return LinearScaling(weight=np.ones(labels), bias=np.zeros(labels))
