"""A required number of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.errors import InputError
from promptkit.core.need_context import Counts
from promptkit.core.needs import Need, Stored


@dataclass(frozen=True, slots=True)
class LabelCount(Need[int]):
    """The number of labels, which must equal the number of an aligner's settings. It requests nothing from the model."""

    count: int

    kind: ClassVar[str] = "label count"

    def check(self, counts: Counts, aligner: str) -> None:
        """Refuses any other number of labels."""
        if self.count != counts.labels:
            raise InputError(
                f"The calibration {aligner} needs one number for each label",
                code="wrong-length",
                got=f"{self.count} for {counts.labels} labels",
                calibration=aligner,
                given=self.count,
                needed=counts.labels,
            )

    def load(self, stored: Stored) -> int:
        """Returns the number of labels."""
        return len(stored.labels)
