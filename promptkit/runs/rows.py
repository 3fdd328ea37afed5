"""The evaluated rows of a run: their inputs and gold answers, as `predictions.jsonl` contains them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self, cast

from promptkit.core.arrays import Array
from promptkit.core.examples import LabeledExample
from promptkit.core.records import record_head
from promptkit.core.values import FileReference, Value
from promptkit.runs.schema import EvaluatedRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedRow:
    """An evaluated row of a run."""

    id: str
    """The hash of what the row shows to a model; a repeat has the suffix `#2`, `#3`."""
    fold: int = 0
    """The fold that the row belongs to, from 1; 0 without folds."""
    row_id: str | None = None
    """The id in the column that the user named; None if none was named."""
    inputs: Mapping[str, str]
    """Variable -> the text that the template shows; for a file or an array, the hash of its content."""
    gold: str
    """The label or a correct answer."""
    accepted: tuple[str, ...] = ()
    """For free-text answers, all correct texts."""
    choices: tuple[str, ...] = ()
    """The answer choices of the row; empty if all rows have the same labels, and for free texts."""

    @classmethod
    def of(cls, row: LabeledExample, shown: Collection[str], fold: int = 0) -> Self:
        """Returns a row of a task as an evaluated row.

        Args:
            row: The row.
            shown: The variables that the template shows.
            fold: The fold that the row belongs to; 0 without folds.
        """
        inputs = {variable: _shown(value) for variable, value in row.inputs.items() if variable in shown}
        return cls(
            id=row.id, fold=fold, row_id=row.row_id, inputs=inputs, gold=row.label, accepted=row.accepted, choices=row.choices
        )

    @classmethod
    def from_record(cls, record: EvaluatedRecord) -> Self:
        """Returns the row of a line of `predictions.jsonl`."""
        return cls(
            id=record["id"],
            fold=record.get("fold", 0),
            row_id=record.get("row_id"),
            inputs=record["inputs"],
            gold=record["gold"],
            accepted=tuple(record.get("accepted", ())),
            choices=tuple(record.get("choices", ())),
        )

    def to_record(self) -> EvaluatedRecord:
        """Returns the row as the first fields of a line of `predictions.jsonl`."""
        record: dict[str, object] = {**record_head(self.id, self.fold)}
        if self.row_id is not None:
            record["row_id"] = self.row_id
        record["inputs"] = dict(self.inputs)
        if self.choices:
            record["choices"] = list(self.choices)
        record["gold"] = self.gold
        if self.accepted:
            record["accepted"] = list(self.accepted)
        return cast("EvaluatedRecord", record)


def _shown(value: Value) -> str:
    """Returns a value as text; the text of a file does not depend on where the file is."""
    if isinstance(value, FileReference):
        return f"sha256:{value.digest}"
    if isinstance(value, Array):
        return f"{value.dtype} array of shape {'x'.join(map(str, value.shape))}, sha256:{value.digest}"
    return value
