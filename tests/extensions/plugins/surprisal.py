"""A metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats
    from promptkit.metrics import MetricInput


class Surprisal:
    """The mean negative log-probability of the gold label."""

    name = "surprisal"
    title = "surprisal"
    is_default = True
    interval = "bootstrap"
    bounds = (0.0, float("inf"))
    higher_is_better = False

    def applies_to(self, rows: MetricInput) -> bool:
        return rows.kind in ("labels", "choices")

    def values(self, rows: MetricInput) -> Floats:
        losses: Floats = -np.log(rows.probabilities[np.arange(len(rows)), rows.gold])
        return losses
