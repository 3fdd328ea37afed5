"""Calibrations that are fitted on labeled rows of the fit part: those rows, and the loss over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.calibrate.probabilities import normalized
from promptkit.align.calibrate.unlabeled import check_rows
from promptkit.core.alignment import FitData, Needs
from promptkit.core.errors import TaskError
from promptkit.core.registry import checked

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True)
class Labeled:
    """Fitted on the first rows of the fit part, less those whose label may not be known."""

    rows: int = 128
    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse to fit on nothing."""
        checked(self)
        check_rows(self.name, self.rows)

    @property
    def needs(self) -> Needs:
        """Labeled rows."""
        return Needs(rows=self.rows, labels=True)


def known(name: str, support: FitData, labels: Integers | None, rows: int) -> tuple[Floats, Integers]:
    """Normalized log-probabilities (rows, K) and labels (rows,) of the first rows, less those whose label may not be known."""
    if labels is None or not (labels[:rows] >= 0).any():
        raise TaskError(
            f"The calibration {name} has no labeled rows to fit on",
            code="no-labeled-rows",
            hint="Give the task more train rows, or set rows=...",
            calibration=name,
        )
    may = labels[:rows] >= 0
    return normalized(support.rows.logprobs[:rows][may]), labels[:rows][may]


def loss(logprobs: Floats, labels: Integers) -> float:
    """The mean over rows of -log q of the right label, q renormalized."""
    right = logprobs[np.arange(len(labels)), labels]
    return float((np.logaddexp.reduce(logprobs, axis=1) - right).mean())
