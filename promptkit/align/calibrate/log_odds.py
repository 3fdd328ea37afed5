"""Calibrations of multi-label tasks after fitting: the log-odds of each label are shifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.core.needs import Outputs
from promptkit.core.state import stateful

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


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
