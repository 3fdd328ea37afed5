"""A threshold for each label of a multi-label task, fitted on labeled rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.calibrate.checks import check_rows
from promptkit.align.calibrate.log_odds import ShiftedLogOdds
from promptkit.core.arguments import checked
from promptkit.core.errors import TaskError
from promptkit.core.needs import FitData, Needs
from promptkit.needs.label_sets import FitLabelSets

if TYPE_CHECKING:
    from promptkit.core.arrays import Bools, Floats

MARGIN = 1.0
"""How far the thresholds that accept all rows, or none, are from the log-odds of the rows."""


@dataclass(frozen=True, kw_only=True)
class LabelThreshold:
    """A threshold for each label, which maximizes its F1 on labeled rows; the log-odds are shifted so that it becomes 0.

    Among thresholds with the same F1 the one nearest to a probability of 0.5 is chosen. A label that applies to none of the
    rows therefore keeps the threshold of 0.5.

    Raises:
        InputError: `rows` is less than 1.
    """

    rows: int = 128
    """Maximum number of rows of the fit part."""
    name: ClassVar[str] = "label-threshold"

    def __post_init__(self) -> None:
        """Checks the settings."""
        checked(self)
        check_rows(self.name, self.rows)

    @property
    def reads_log_odds(self) -> bool:
        """Whether it reads the log-odds of each label: always."""
        return True

    @property
    def needs(self) -> Needs:
        """Labeled rows of the fit part."""
        return (self._rows,)

    @property
    def _rows(self) -> FitLabelSets:
        return FitLabelSets(self.rows)

    def fit(self, data: FitData) -> ShiftedLogOdds:
        """Chooses the threshold of each label."""
        rows = data[self._rows]
        if not len(rows.gold):
            raise TaskError(
                f"The calibration {self.name} has no labeled rows to fit on",
                code="no-labeled-rows",
                hint="Give the task more train rows, or set rows=...",
                calibration=self.name,
            )
        pairs = zip(rows.outputs.logprobs.T, rows.gold.T, strict=True)
        return ShiftedLogOdds(shift=np.array([best_threshold(log_odds, gold) for log_odds, gold in pairs]))


def best_threshold(log_odds: Floats, gold: Bools) -> float:
    """Returns the threshold above which log-odds are positive that has the highest F1.

    The candidates are 0, the middle between neighboring log-odds, and one beyond each end.

    Args:
        log_odds: The log-odds of a label, shape (rows,).
        gold: Whether the label applies to each row, shape (rows,).
    """
    distinct = np.unique(log_odds)
    between = (distinct[1:] + distinct[:-1]) / 2
    thresholds = np.array([0.0, distinct[0] - MARGIN, *between, distinct[-1] + MARGIN])
    predicted = log_odds[None] > thresholds[:, None]
    f1 = 2 * (predicted & gold).sum(1) / np.maximum(predicted.sum(1) + gold.sum(), 1)
    best = thresholds[f1 >= f1.max() - 1e-12]
    return float(min(best, key=lambda threshold: (abs(threshold), threshold)))
