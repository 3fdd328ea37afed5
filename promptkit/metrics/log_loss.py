"""The log-loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import SCORED, Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

LEAST = 1e-6
"""The least probability of the gold label: a row without an answer has this one, and no single row decides the mean."""


class LogLoss:
    """The mean negative log-probability of the gold label, in nats; the probability is at least `LEAST`."""

    name: ClassVar[str] = "log_loss"
    title: ClassVar[str] = "log-loss"
    is_default: ClassVar[bool] = False
    interval: ClassVar[Interval] = "bootstrap"
    bounds: ClassVar[tuple[float, float]] = (0.0, float(-np.log(LEAST)))
    higher_is_better: ClassVar[bool] = False

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether labels or choices were scored."""
        return rows.kind in SCORED

    def values(self, rows: MetricInput) -> Floats:
        """Returns the negative log-probability of the gold label of each row."""
        losses: Floats = -np.log(np.maximum(rows.probabilities[np.arange(len(rows)), rows.gold], LEAST))
        return losses
