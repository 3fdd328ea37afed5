"""The Brier score."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import SCORED, Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class Brier:
    """The mean squared distance between the label probabilities and the one-hot gold label, from 0 to 2."""

    name: ClassVar[str] = "brier"
    title: ClassVar[str] = "Brier"
    is_default: ClassVar[bool] = True
    interval: ClassVar[Interval] = "bootstrap"
    bounds: ClassVar[tuple[float, float]] = (0.0, 2.0)
    higher_is_better: ClassVar[bool] = False

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether labels or choices were scored."""
        return rows.kind in SCORED

    def values(self, rows: MetricInput) -> Floats:
        """Returns the squared distance of each row."""
        distances: Floats = ((rows.probabilities - np.eye(rows.logprobs.shape[1])[rows.gold]) ** 2).sum(1)
        return distances
