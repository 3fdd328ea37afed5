"""Base class of calibrations that are fitted on labeled rows of the fit part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.align.calibrate.checks import check_rows
from promptkit.align.logprobs import normalize_logprobs
from promptkit.core.arguments import checked
from promptkit.core.errors import TaskError
from promptkit.core.needs import FitData, Needs
from promptkit.needs.fit_rows import FitLabels

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers


@dataclass(frozen=True, kw_only=True)
class LabeledCalibration:
    """A calibration that is fitted on the first rows of the fit part, without rows that are themselves evaluated.

    Raises:
        InputError: `rows` is less than 1.
    """

    rows: int = 128
    """Maximum number of rows of the fit part."""
    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Checks the settings."""
        checked(self)
        check_rows(self.name, self.rows)

    @property
    def needs(self) -> Needs:
        """Labeled rows of the fit part."""
        return (self.labels,)

    @property
    def labels(self) -> FitLabels:
        """The first rows of the fit part with their labels."""
        return FitLabels(self.rows)

    def labeled_rows(self, data: FitData) -> tuple[Floats, Integers]:
        """Returns the rows that a fit may use.

        Returns:
            Normalized log-probabilities, shape (rows, K), and indices of the labels, shape (rows,).

        Raises:
            TaskError: No row has a label that may be used.
        """
        outputs, gold = data[self.labels].outputs, data[self.labels].gold
        known = gold >= 0
        if not known.any():
            raise TaskError(
                f"The calibration {self.name} has no labeled rows to fit on",
                code="no-labeled-rows",
                hint="Give the task more train rows, or set rows=...",
                calibration=self.name,
            )
        return normalize_logprobs(outputs.logprobs[known]), gold[known]
