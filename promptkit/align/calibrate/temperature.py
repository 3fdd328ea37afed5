"""Temperature scaling (Guo et al. 2017, 1706.04599): log q = log p / T. No prediction changes; how sure they are does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.calibrate.labelled import Linear, known, loss
from promptkit.align.calibrate.unlabelled import check_rows
from promptkit.aligners import Needs, Support
from promptkit.registry import checked, settings_of

if TYPE_CHECKING:
    from promptkit.types import Integers

BOUNDS = (0.01, 100.0)


@dataclass(frozen=True)
class Temperature:
    """log q = log p / T, T in [0.01, 100] the likeliest on labelled rows of the fit part."""

    rows: int = 128
    name: ClassVar[str] = "temperature"

    def __post_init__(self) -> None:
        """Refuse to fit on nothing."""
        checked(self)
        check_rows(self.name, self.rows)

    @property
    def needs(self) -> Needs:
        """Labelled rows."""
        return Needs(rows=self.rows, labels=True)

    def fit(self, support: Support, labels: Integers | None = None) -> Linear:
        """One temperature."""
        from scipy.optimize import minimize_scalar

        logprobs, gold = known(self.name, support, labels, self.rows)
        low, high = np.log(BOUNDS)
        found = minimize_scalar(lambda t: loss(logprobs / np.exp(t), gold), bounds=(low, high), method="bounded")
        size = logprobs.shape[1]
        return Linear(weight=np.full(size, 1 / np.exp(found.x)), bias=np.zeros(size))

    def settings(self) -> Mapping[str, object]:
        """As given."""
        return settings_of(self)
