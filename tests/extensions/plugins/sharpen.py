"""A calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from promptkit.core.needs import FitData, Needs, Outputs
from promptkit.core.state import stateful

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats


@stateful("sharpened")
@dataclass(frozen=True)
class Sharpened:
    """The fitted calibration."""

    power: float

    def apply(self, outputs: Outputs) -> Floats:
        return outputs.logprobs * self.power


@dataclass(frozen=True, kw_only=True)
class Sharpen:
    """Multiplies label log-probabilities by a constant."""

    power: float = 2.0
    """The constant; a negative one predicts the least likely label."""
    name: ClassVar[str] = "sharpen"
    needs: ClassVar[Needs] = ()

    def fit(self, data: FitData) -> Sharpened:
        return Sharpened(self.power)
