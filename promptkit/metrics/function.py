"""Metrics that are plain functions of a prediction and the accepted answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.errors import InputError
from promptkit.core.metric_input import MetricInput
from promptkit.metrics.base import Interval

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

RowFunction = Callable[[str, tuple[str, ...]], float]
"""Returns the value of a row from its prediction and its accepted answers; higher is better."""


@dataclass(frozen=True, slots=True)
class FunctionMetric:
    """The mean of a function of each row's prediction and accepted answers; 0 for a row without an answer."""

    name: str
    function: RowFunction

    is_default: ClassVar[bool] = False
    interval: ClassVar[Interval] = "bootstrap"
    bounds: ClassVar[tuple[float, float]] = (-float("inf"), float("inf"))
    higher_is_better: ClassVar[bool] = True

    @property
    def title(self) -> str:
        """The title in tables: the name with spaces."""
        return self.name.replace("_", " ")

    def applies_to(self, rows: MetricInput) -> bool:
        """Returns True: every row has a prediction, or none, and accepted answers."""
        return True

    def values(self, rows: MetricInput) -> Floats:
        """Returns the value of each row.

        Raises:
            InputError: The function fails, or returns something that is not a number.
        """
        answers = zip(rows.predictions, rows.accepted, strict=True)
        return np.array([0.0 if text is None else self._value(text, accepted) for text, accepted in answers], float)

    def _value(self, prediction: str, accepted: tuple[str, ...]) -> float:
        try:
            return float(self.function(prediction, accepted))
        except Exception as error:
            raise InputError(
                f"The metric {self.name} fails: {type(error).__name__}: {error}",
                code="metric-failed",
                got=f"{self.name}({prediction!r}, {accepted!r})",
                hint="It is called with the prediction and the tuple of accepted answers, and returns a number",
                metric=self.name,
            ) from error
