"""Rows of the fit part with all labels that apply to them, for aligners of multi-label tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from promptkit.core.needs import Outputs, Stored
from promptkit.needs.fit_rows import FirstRows

if TYPE_CHECKING:
    from promptkit.core.arrays import Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSets:
    """The model's outputs for rows of the fit part, and the labels that apply to them."""

    outputs: Outputs
    gold: Bools
    """Whether each label applies to each row, shape (rows, K)."""


@dataclass(frozen=True, slots=True)
class FitLabelSets(FirstRows[LabelSets]):
    """The outputs and labels of the first rows of the fit part whose labels may be used."""

    kind: ClassVar[str] = "fit label sets"
    uses_labels: ClassVar[bool] = True

    def load(self, stored: Stored) -> LabelSets:
        """Returns the outputs of the rows and their labels."""
        rows = [row for row in stored.fit_rows[: self.rows] if row.labels is not None]
        gold = [[label in (row.labels or ()) for label in stored.labels] for row in rows]
        return LabelSets(
            outputs=stored.outputs([row.record for row in rows]),
            gold=np.array(gold, bool).reshape(len(rows), len(stored.labels)),
        )
