"""Batch calibration of each label of a multi-label task (after Zhou et al. 2023, 2309.17249)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.align.calibrate.log_odds import LogOddsCalibration, ShiftedLogOdds
from promptkit.align.calibrate.unlabeled import EstimateOn, check_all_evaluated, unlabeled_rows
from promptkit.core.needs import FitData, Need, Needs, Outputs


@dataclass(frozen=True, kw_only=True)
class LabelBatch(LogOddsCalibration):
    """Batch calibration of each label: its mean log-odds over unlabeled rows are subtracted.

    With two labels, yes and no, this is batch calibration with the geometric mean. Each label is then predicted for about half
    of the rows, so it suits labels that are about as often present as absent; `label-threshold` suits all labels.
    """

    estimate_on: EstimateOn = "fit"
    """Rows from which the mean is estimated: the fit part of the train split, or all evaluated rows (transductive)."""
    name: ClassVar[str] = "label-batch"

    def __post_init__(self) -> None:
        """Checks the settings."""
        LogOddsCalibration.__post_init__(self)
        check_all_evaluated(self.name, self.estimate_on, self.rows)

    @property
    def needs(self) -> Needs:
        """Rows of the fit part, or the evaluated rows."""
        return (self._rows,)

    @property
    def assumes_equal_classes(self) -> bool:
        """Whether it assumes equal classes: never, because several labels can apply to a row."""
        return False

    @property
    def _rows(self) -> Need[Outputs]:
        return unlabeled_rows(self.estimate_on, self.rows)

    def fit(self, data: FitData) -> ShiftedLogOdds:
        """Computes the mean log-odds of each label."""
        return ShiftedLogOdds(shift=data[self._rows].logprobs.mean(0))
