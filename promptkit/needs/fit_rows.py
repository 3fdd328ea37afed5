"""Unlabeled rows: the first rows of the fit part, or the evaluated rows themselves; and the labels of the first rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample
from promptkit.core.need_context import Counts, FitPart, Problem
from promptkit.core.needs import UNKNOWN, LabeledOutputs, Need, Outputs, Stored, T_co

FIT = "fit "
"""The start of the id of the record of a row of the fit part."""


def fit_id(row: str) -> str:
    """Returns the id of the record of a row of the fit part."""
    return f"{FIT}{row}"


def fit_row_of(record: str) -> str | None:
    """Returns the id of the row of the fit part that a record is about, or None for any other record."""
    return record.removeprefix(FIT) if record.startswith(FIT) else None


@dataclass(frozen=True, slots=True)
class EvaluatedRows(Need[Outputs]):
    """The outputs of the evaluated rows themselves, for a transductive fit."""

    rows: int | None = None
    """The maximum number of rows."""
    per_label: int = field(default=0, compare=False)
    """The minimum number of rows per label for an estimate."""

    kind: ClassVar[str] = "evaluated rows"

    @property
    def uses_other_rows(self) -> bool:
        """Whether other rows have an effect: always, because all evaluated rows together determine the value."""
        return True

    def check(self, counts: Counts, aligner: str) -> None:
        """Refuses too few rows per label."""
        _check_per_label(aligner, counts, counts.evaluated if self.rows is None else min(counts.evaluated, self.rows), self)

    def load(self, stored: Stored) -> Outputs:
        """Returns the outputs of the rows."""
        return stored.outputs(stored.evaluated[: self.rows])


@dataclass(frozen=True, slots=True)
class FirstRows(Need[T_co]):
    """A need for the first rows of the fit part."""

    rows: int
    """The maximum number of rows."""
    per_label: int = field(default=0, compare=False)
    """The minimum number of rows per label for an estimate."""

    @property
    def uses_fit_part(self) -> bool:
        """Whether it uses rows of the fit part: always."""
        return True

    def select(self, part: FitPart) -> Sequence[LabeledExample]:
        """Returns the first rows."""
        return part.rows[: self.rows]

    def check(self, counts: Counts, aligner: str) -> None:
        """Refuses too few rows per label, and rows without labels if labels are needed."""
        if self.uses_labels:
            check_has_labels(aligner, counts.has_label[: self.rows])
        _check_per_label(aligner, counts, len(counts.has_label[: self.rows]), self)

    def missing(self, stored: Stored) -> Problem | None:
        """Returns a problem if the run has no such rows; fewer rows than needed are no problem."""
        if stored_first_rows(stored):
            return None
        text = f"{'labeled ' if self.uses_labels else ''}rows of the fit part"
        return Problem(code="missing-fit-rows", text=text, fields={"labeled": self.uses_labels})

    def _outputs(self, stored: Stored) -> Outputs:
        return stored.outputs([row.record for row in stored.fit_rows[: self.rows]])


@dataclass(frozen=True, slots=True)
class FitRows(FirstRows[Outputs]):
    """The outputs of the first rows of the fit part, without their labels."""

    kind: ClassVar[str] = "fit rows"

    def load(self, stored: Stored) -> Outputs:
        """Returns the outputs of the rows."""
        return self._outputs(stored)


@dataclass(frozen=True, slots=True)
class FitLabels(FirstRows[LabeledOutputs]):
    """The outputs and labels of the first rows of the fit part."""

    kind: ClassVar[str] = "fit labels"
    uses_labels: ClassVar[bool] = True

    def load(self, stored: Stored) -> LabeledOutputs:
        """Returns the outputs of the rows, and their labels as far as they may be used."""
        rows = stored.fit_rows[: self.rows]
        gold = [UNKNOWN if row.label is None else stored.labels.index(row.label) for row in rows]
        return LabeledOutputs(outputs=self._outputs(stored), gold=np.array(gold, int))


def most_first_rows(needs: Sequence[Need[object]]) -> int:
    """Returns how many of the first rows of the fit part are needed."""
    return max((need.rows for need in needs if isinstance(need, FirstRows)), default=0)


def stored_first_rows(stored: Stored) -> int:
    """Returns how many of the first rows of the fit part a run contains. Rows that were drawn by label are not counted."""
    return len(stored.fit_rows[: most_first_rows(stored.needs)])


def check_has_labels(aligner: str, has_label: Sequence[bool]) -> None:
    """Raises InputError if no label may be used."""
    if not any(has_label):
        raise InputError(
            f"The calibration {aligner} needs labels, and every row of the fit part is itself evaluated",
            code="rows-are-evaluated",
            hint="Evaluate a split other than train, on which aligners are fitted",
            calibration=aligner,
        )


def _check_per_label(aligner: str, counts: Counts, available: int, need: EvaluatedRows | FirstRows[object]) -> None:
    needed = need.per_label * counts.labels
    if available < needed:
        raise InputError(
            f"The calibration {aligner} needs at least {need.per_label} rows for each label",
            code="too-few-rows",
            got=f"{available} rows for {counts.labels} labels",
            hint="Use more rows, or another calibration",
            calibration=aligner,
            given=available,
            needed=needed,
        )
