"""The exact match of SQuAD (Rajpurkar et al. 2016, 1606.05250)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import GENERATED, Interval
from promptkit.metrics.squad import best_of

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class SquadExactMatch:
    """The share of rows whose answer equals an accepted answer after the normalization of SQuAD.

    Unlike `exact_match` it does not depend on the extraction's `normalize`.
    """

    name: ClassVar[str] = "squad_exact_match"
    title: ClassVar[str] = "SQuAD EM"
    is_default: ClassVar[bool] = False
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether texts were generated."""
        return rows.kind in GENERATED

    def values(self, rows: MetricInput) -> Floats:
        """Returns 1 for each correct row, else 0."""
        return best_of(rows, lambda prediction, answer: float(prediction == answer))
