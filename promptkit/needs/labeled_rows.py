"""Labeled rows of the fit part: the same number of each label, drawn by hash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from promptkit.core.errors import InputError
from promptkit.core.examples import LabeledExample
from promptkit.core.need_context import Counts, FitPart, NeedContext, Problem, PromptedRow
from promptkit.core.needs import LabeledOutputs, Need, Stored
from promptkit.core.seeding import hash_rank
from promptkit.core.state import stateful
from promptkit.needs.fit_rows import check_has_labels, fit_row_of

SALT = "labelled"
"""Part of the hash that draws labeled rows. Changing it would change which rows are drawn."""


def draw_per_class(per_class: int, seed: int, rows: Sequence[tuple[str, str]]) -> list[int]:
    """Draws the same number of rows of each label, by hash.

    The draw does not depend on the order of the rows, and leaving out rows only adds other rows to it.

    Args:
        per_class: How many rows of each label.
        seed: The seed of the draw.
        rows: Id and label of each row.

    Returns:
        The indices of the drawn rows, ascending.
    """
    ranked = sorted(range(len(rows)), key=lambda index: hash_rank(seed, SALT, rows[index][0]))
    counts: Counter[str] = Counter()
    drawn = []
    for index in ranked:
        label = rows[index][1]
        if counts[label] < per_class:
            counts[label] += 1
            drawn.append(index)
    return sorted(drawn)


@stateful("labeled-rows")
@dataclass(frozen=True, slots=True)
class LabeledRows(Need[LabeledOutputs]):
    """The outputs and labels of the same number of rows of each label. A row that is itself evaluated is never drawn."""

    per_class: int
    """Rows of each label; a label with fewer rows contributes all of them."""
    seed: int
    """The seed of the draw."""
    minimum: int = field(default=0, compare=False)
    """The minimum number of rows, over all labels together."""

    kind: ClassVar[str] = "labeled rows"
    uses_labels: ClassVar[bool] = True

    @property
    def uses_fit_part(self) -> bool:
        """Whether it uses rows of the fit part: always."""
        return True

    def select(self, part: FitPart) -> Sequence[LabeledExample]:
        """Draws the rows."""
        known = [(row.id, row.label) for row in part.untested]
        return [part.untested[index] for index in draw_per_class(self.per_class, self.seed, known)]

    def check(self, counts: Counts, aligner: str) -> None:
        """Refuses rows that are all evaluated, and too few rows."""
        check_has_labels(aligner, counts.has_label)
        most = min(sum(counts.has_label), self.per_class * counts.labels)
        if most < self.minimum:
            raise InputError(
                f"The calibration {aligner} needs at least {self.minimum} labeled rows to vote",
                code="too-few-labeled-rows",
                got=f"at most {most} labeled rows",
                hint="Use a smaller k, or a larger per_class",
                calibration=aligner,
                given=most,
                needed=self.minimum,
            )

    @classmethod
    def warnings(cls, needs: Sequence[Self], labels: Sequence[str], fit_labels: Sequence[str | None]) -> list[str]:
        """Returns a warning if some labels have fewer rows than are drawn."""
        scarce = scarce_labels(max(need.per_class for need in needs), labels, fit_labels)
        return [] if scarce is None else [str(scarce)]

    def load(self, stored: Stored) -> LabeledOutputs:
        """Draws the rows again, from the rows that have an answer."""
        known = [(row, row.label) for row in stored.fit_rows if row.label is not None]
        drawn = [known[index] for index in self.draw([(row.row, label) for row, label in known])]
        gold = [stored.labels.index(label) for _, label in drawn]
        return LabeledOutputs(outputs=stored.outputs([row.record for row, _ in drawn]), gold=np.array(gold, int))

    def missing(self, stored: Stored) -> Problem | None:
        """Returns a problem if the run did not draw these rows: more rows of the same seed contain fewer."""
        drawn = [need for need in stored.needs if isinstance(need, LabeledRows)]
        if any(need.seed == self.seed and need.per_class >= self.per_class for need in drawn):
            return None
        fields = {"per_class": self.per_class, "seed": self.seed}
        return Problem(code="missing-labeled-rows", text=f"{self.per_class} labeled rows of each label", fields=fields)

    def draw(self, rows: Sequence[tuple[str, str]]) -> list[int]:
        """Returns the indices of the drawn rows, given the id and label of each row."""
        return draw_per_class(self.per_class, self.seed, rows)

    def prompted(self, need_context: NeedContext) -> list[PromptedRow]:
        """Returns the drawn rows with their prompts, while reads are planned."""
        known = [(row, fit_row_of(row.id), row.gold) for row in need_context.fit_rows]
        labeled = [(row, name, gold.label) for row, name, gold in known if name is not None and gold is not None]
        return [labeled[index][0] for index in self.draw([(name, label) for _, name, label in labeled])]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScarceLabels:
    """Some labels have fewer labeled rows than a calibration draws per class."""

    counts: dict[str, int]
    """Label -> number of its rows."""
    labels: int
    """Number of all labels."""
    needed: int
    """Number of rows that are drawn per class."""

    def __str__(self) -> str:
        counts = [f"{label} ({count})" for label, count in self.counts.items()]
        names = ", ".join(counts[:5]) + (", ..." if len(counts) > 5 else "")
        return f"{len(counts)} of {self.labels} labels have fewer than {self.needed} labeled rows in the fit part: {names}"


def scarce_labels(needed: int, labels: Sequence[str], fit_labels: Sequence[str | None]) -> ScarceLabels | None:
    """Returns the labels with fewer rows than are drawn per class, or None if there are none.

    Args:
        needed: How many rows are drawn per class.
        labels: The labels.
        fit_labels: Labels of the rows of the fit part; None for a label that may not be used.
    """
    counts = Counter(fit_labels)
    scarce = {label: counts[label] for label in labels if counts[label] < needed}
    return ScarceLabels(counts=scarce, labels=len(labels), needed=needed) if scarce else None
