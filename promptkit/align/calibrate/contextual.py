"""Contextual calibration (Zhao et al. 2021, 2102.09690): q = p / p_cf, of which p_cf is read without content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.align.calibrate.probabilities import Shift, normalized
from promptkit.core.alignment import ContentFreeInput, FitData, Needs
from promptkit.core.errors import InputError
from promptkit.core.registry import checked

if TYPE_CHECKING:
    from promptkit.core.arrays import Integers


@dataclass(frozen=True)
class Contextual:
    """q = p / p_cf, where p_cf is the mean of p over content-free inputs under the row's own context.

    The mean is of the label probabilities as the model gives them, and is renormalized once, at the end.
    """

    content_free: tuple[str, ...] = ("N/A", "", "[MASK]")
    """What stands for every input of a row."""
    name: ClassVar[str] = "contextual"

    def __post_init__(self) -> None:
        """Refuse to calibrate on nothing."""
        checked(self)
        if not self.content_free:
            raise InputError(
                "Contextual calibration needs at least one content-free text",
                code="empty-value",
                got=f"content_free={self.content_free!r}",
                hint='Use ("N/A",)',
                aligner=self.name,
                content_free=self.content_free,
            )

    @property
    def needs(self) -> Needs:
        """The content-free texts."""
        return Needs(stand_ins=self.content_free)

    def fit(self, support: FitData, labels: Integers | None = None) -> Shift:
        """A prior a context."""
        return averaged(support, self.content_free)


def averaged(support: FitData, stand_ins: Sequence[ContentFreeInput]) -> Shift:
    """The mean of p over what stands in for the inputs, as a prior a context."""
    read = np.stack([support.stand_ins[each] for each in stand_ins])
    return Shift(prior=normalized(np.logaddexp.reduce(read, axis=0)))  # (contexts, K); the mean's 1/M falls away
