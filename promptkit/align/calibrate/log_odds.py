"""Base class of calibrations of multi-label tasks, and their form after fitting: log-odds are shifted, label by label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.align.calibrate.unlabeled import check_rows
from promptkit.core.arguments import checked
from promptkit.core.needs import Outputs
from promptkit.core.state import stateful

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


@dataclass(frozen=True, kw_only=True)
class LogOddsCalibration:
    """A calibration that reads the log-odds of each label.

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
    def reads_log_odds(self) -> bool:
        """Whether it reads the log-odds of each label: always."""
        return True


@stateful("shifted-log-odds")
@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedLogOdds:
    """log-odds of the output = log-odds - shift. The shift becomes the point where a label's probability is 0.5."""

    shift: Floats
    """The shift of each label, shape (K,)."""

    def apply(self, outputs: Outputs) -> Floats:
        """Returns the shifted log-odds, shape (rows, K)."""
        shifted: Floats = outputs.logprobs - self.shift
        return shifted
