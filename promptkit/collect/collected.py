"""The records of a run, divided into its folds: what one fit may see, and the rows that it is applied to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from promptkit.collect.read_outputs import ReadOutputs
from promptkit.core.records import RowRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldOutputs:
    """The outputs of one fold, or of a run without folds. Everything fitted for its rows uses only these."""

    fold: int
    """The fold, from 1; 0 for a run without folds."""
    positions: Sequence[int]
    """The indices of its evaluated rows among all evaluated rows of the run."""
    samples: Sequence[RowRecord]
    """Records of its evaluated rows."""
    support: Sequence[RowRecord]
    """Records of the further rows that its aligners need. They are rows of the other folds."""
    read_outputs: ReadOutputs | None
    """What was read in addition, if anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The outputs of a run: one pass of a model over the evaluated rows and the rows that aligners need."""

    samples: Sequence[RowRecord]
    """Records of the evaluated rows, in the run's order."""
    support: Sequence[RowRecord]
    """Records of the further rows that the aligners need."""
    read_outputs: Mapping[int, ReadOutputs] = field(default_factory=dict)
    """What was read in addition, by fold; the key is 0 for a run without folds."""

    def folds(self) -> list[FoldOutputs]:
        """Returns the outputs of each fold; a single one for a run without folds."""
        folds = sorted({record.get("fold", 0) for record in self.samples}) or [0]
        return [self._fold(fold) for fold in folds]

    def _fold(self, fold: int) -> FoldOutputs:
        positions = [index for index, record in enumerate(self.samples) if record.get("fold", 0) == fold]
        return FoldOutputs(
            fold=fold,
            positions=positions,
            samples=[self.samples[index] for index in positions],
            support=[record for record in self.support if record.get("fold", 0) == fold],
            read_outputs=self.read_outputs.get(fold),
        )
