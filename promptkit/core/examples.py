"""Rows of a task, without and with their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Part = Literal["pool", "fit", "dev"]
"""A part of a task's train split: demonstrations come from the pool, aligners are fitted on fit, searches choose by dev."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row without its label: all that a manipulation or a fit may see of a test row."""

    id: str
    """Hash of the inputs; an exact repeat gets `#2`, `#3` by row order."""
    inputs: Mapping[str, str]
    """Template variable -> text."""
    choices: tuple[str, ...] = ()
    """The answers that this row offers, in its own order; none where the task declares labels, or asks for any text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledExample(Example):
    """One row with its answer: a demonstration, a row to fit on, or the gold of a test row."""

    label: str
    """The label, the right one of `choices`, or the text that is a right answer."""
    accepted: tuple[str, ...] = ()
    """Where the answer is a text: every text that is right, `label` first."""
    rationale: Mapping[str, str] = field(default_factory=dict)
    """Template variable -> text, for the target block of a demonstration alone: how the answer is come by."""

    def unlabeled(self) -> Example:
        """What a model may see of it."""
        return Example(id=self.id, inputs=self.inputs, choices=self.choices)

    def answered(self) -> Example:
        """With its working, and the right answer as the one that is offered, so that how likely that is can be asked."""
        return Example(id=self.id, inputs={**self.inputs, **self.rationale}, choices=(self.label,))


def inputs_of(row_id: str) -> str:
    """Equal for rows of equal inputs, whichever split they stand in: the id without its number among repeats."""
    return row_id.partition("#")[0]
