"""Statistical alignment: label log-probabilities corrected by what the prompt alone prefers. Post hoc, no further pass.

A calibration answers log q[i, y] for log p[i, y], up to a constant in y. What it must see besides it states as `needs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from promptkit.aligners import Needs, Support
from promptkit.errors import PromptkitError
from promptkit.registry import checked, settings_of

if TYPE_CHECKING:
    from promptkit.types import Floats


@dataclass(frozen=True)
class Contextual:
    """Contextual calibration (Zhao et al. 2021, 2102.09690): q = p / p_cf.

    p_cf is the mean, over content-free inputs under the item's own context, of the label probabilities as the model
    gives them; it is renormalised once, at the end.
    """

    content_free: tuple[str, ...] = ("N/A", "", "[MASK]")
    """What stands for every input of a row."""
    name: ClassVar[str] = "contextual"

    def __post_init__(self) -> None:
        """Refuse to calibrate on nothing."""
        checked(self)
        if not self.content_free:
            raise PromptkitError("Contextual calibration needs at least one content-free text", hint='Give ("N/A",)')

    @property
    def needs(self) -> Needs:
        """The content-free rows."""
        return Needs(content_free=self.content_free)

    def align(self, logprobs: Floats, support: Support) -> Floats:
        """Shape (items, K) -> (items, K)."""
        free = np.stack([support.content_free[text] for text in self.content_free])
        prior = np.logaddexp.reduce(free, axis=0)  # (contexts, K); the mean's 1/M falls away
        calibrated: Floats = logprobs - normalised(prior)[support.context]
        return calibrated

    def settings(self) -> Mapping[str, object]:
        """As given."""
        return settings_of(self)


@dataclass(frozen=True)
class Batch:
    """Batch calibration (Zhou et al. 2023, 2309.17249): log q = log p - mean over unlabelled inputs of log p."""

    estimate_on: Literal["fit", "test"] = "fit"
    """Unlabelled rows of the train split's fit part, or the very rows that are evaluated (transductive)."""
    rows: int = 128
    """At most how many rows of the fit part."""
    mean: Literal["geometric", "arithmetic"] = "geometric"
    """The mean of log p (the default), or the log of the mean of p."""
    name: ClassVar[str] = "batch"

    def __post_init__(self) -> None:
        """Refuse to calibrate on nothing."""
        checked(self)
        if self.rows < 1:
            raise PromptkitError("Batch calibration needs at least one row", got=f"rows={self.rows}")

    @property
    def needs(self) -> Needs:
        """Rows of the fit part, unless the test rows serve."""
        return Needs(unlabelled=self.rows if self.estimate_on == "fit" else 0)

    def align(self, logprobs: Floats, support: Support) -> Floats:
        """Shape (items, K) -> (items, K)."""
        seen = normalised(support.unlabelled[: self.rows] if self.estimate_on == "fit" else logprobs)
        prior = seen.mean(0) if self.mean == "geometric" else np.logaddexp.reduce(seen, axis=0)
        return normalised(logprobs) - normalised(prior)

    def settings(self) -> Mapping[str, object]:
        """As given."""
        return settings_of(self)


def normalised(logprobs: Floats) -> Floats:
    """Log-probabilities renormalised over the labels, the last axis."""
    whole: Floats = logprobs - np.logaddexp.reduce(logprobs, axis=-1, keepdims=True)
    return whole


CALIBRATIONS: Mapping[str, type] = {calibration.name: calibration for calibration in (Contextual, Batch)}
