"""Base class of calibrations that are estimated on unlabeled rows: rows of the fit part, or the evaluated rows themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from promptkit.align.calibrate.checks import check_rows
from promptkit.align.logprobs import normalize_logprobs
from promptkit.align.unused import check_unused
from promptkit.core.arguments import checked
from promptkit.core.needs import FitData, Need, Needs, Outputs
from promptkit.needs.fit_rows import EvaluatedRows, FitRows

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

ROWS = 128
"""The default number of rows of the fit part."""
EstimateOn = Literal["fit", "test"]
"""The fit part, or the evaluated rows (transductive: the prediction for a row then depends on the other rows)."""


@dataclass(frozen=True, kw_only=True)
class UnlabeledCalibration:
    """A calibration that is estimated on unlabeled rows.

    Raises:
        InputError: `rows` is less than 1, or is given for the evaluated rows, all of which are used.
    """

    estimate_on: EstimateOn = "fit"
    """The rows: the fit part of the train split, or all evaluated rows (transductive)."""
    rows: int = ROWS
    """Maximum number of rows of the fit part."""
    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Checks the settings."""
        checked(self)
        check_rows(self.name, self.rows)
        if self.unlabeled == EvaluatedRows():  # all of them; `rows` has no effect
            check_unused(self.name, "estimate_on=test", rows=(self.rows, ROWS))

    @property
    def needs(self) -> Needs:
        """The unlabeled rows."""
        return (self.unlabeled,)

    @property
    def unlabeled(self) -> Need[Outputs]:
        """The rows of the fit part, or the evaluated rows."""
        return FitRows(self.rows) if self.estimate_on == "fit" else EvaluatedRows()

    @property
    def assumes_equal_classes(self) -> bool:
        """Whether it assumes that the classes are about equal in these rows."""
        return True

    def unlabeled_logprobs(self, data: FitData) -> Floats:
        """Returns the normalized label log-probabilities of the rows, shape (rows, K)."""
        return normalize_logprobs(data[self.unlabeled].logprobs)
