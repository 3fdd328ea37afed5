"""The token F1 of SQuAD (Rajpurkar et al. 2016, 1606.05250)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import GENERATED, Interval
from promptkit.metrics.squad import best_of, token_f1

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


class TokenF1:
    """The mean F1 score of the words of an answer, with the best of the accepted answers."""

    name: ClassVar[str] = "token_f1"
    title: ClassVar[str] = "token F1"
    is_default: ClassVar[bool] = False
    interval: ClassVar[Interval] = "wilson"
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns whether texts were generated."""
        return rows.kind in GENERATED

    def values(self, rows: MetricInput) -> Floats:
        """Returns the score of each row."""
        return best_of(rows, token_f1)
