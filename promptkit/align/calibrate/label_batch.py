"""Batch calibration of each label of a multi-label task (after Zhou et al. 2023, 2309.17249)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.align.calibrate.log_odds import ShiftedLogOdds
from promptkit.align.calibrate.unlabeled import UnlabeledCalibration
from promptkit.core.needs import FitData


@dataclass(frozen=True, kw_only=True)
class LabelBatch(UnlabeledCalibration):
    """Batch calibration of each label: its mean log-odds over unlabeled rows are subtracted.

    With two labels, yes and no, this is batch calibration with the geometric mean. Each label is then predicted for about half
    of the rows, so it suits labels that are about as often present as absent; `label-threshold` suits all labels.
    """

    name: ClassVar[str] = "label-batch"

    @property
    def reads_log_odds(self) -> bool:
        """Whether it reads the log-odds of each label: always."""
        return True

    @property
    def assumes_equal_classes(self) -> bool:
        """Whether it assumes equal classes: never, because several labels can apply to a row."""
        return False

    def fit(self, data: FitData) -> ShiftedLogOdds:
        """Computes the mean log-odds of each label."""
        return ShiftedLogOdds(shift=data[self.unlabeled].logprobs.mean(0))
