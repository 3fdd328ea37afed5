"""Rows of a task, without and with their labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from promptkit.core.fingerprints import Fingerprint
from promptkit.core.hashing import short_hash
from promptkit.core.read_only import read_only
from promptkit.core.values import Value, as_text, value_identity

ID_DIGITS = 12
"""The number of hexadecimal digits in the id of a row."""
JOINT = ", "
"""Joins the labels of a row of a multi-label task where they are shown."""
Part = Literal["pool", "fit", "dev"]
"""A part of a task's train split: demonstrations come from `pool`, aligners are fitted on `fit`, searches evaluate on `dev`."""

TaskKind = Literal["classification", "multi-label", "choice", "generation"]
"""What answers are: one of the labels that all rows share, any number of these labels, one of the choices of each row, or free
texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A row without its label: all that a manipulation or a fit may see of a test row."""

    id: str
    """The hash of what the row shows to a model. A repeat has the suffix `#2`, `#3`."""
    inputs: Mapping[str, Value]
    """Variable -> text, array or file."""
    choices: tuple[str, ...] = ()
    """The answer choices of this row, in order; empty if the task declares labels or asks for free text."""
    fingerprint: Fingerprint | None = field(default=None, compare=False, repr=False)
    """Identifies the row in other files and tasks; None if the inputs do."""

    def __post_init__(self) -> None:
        """Makes the mappings read-only: tasks, prompts and users share rows."""
        object.__setattr__(self, "inputs", read_only(self.inputs))

    @property
    def content(self) -> Fingerprint:
        """The fingerprint of the row: `fingerprint`, or by default the fingerprint of all inputs."""
        return self.fingerprint or Fingerprint.of(self.inputs.values())

    @property
    def texts(self) -> Mapping[str, str]:
        """The inputs, all of which must be texts.

        Raises:
            TaskError: An input is an array or a file.
        """
        return {variable: as_text(value, variable, self.id) for variable, value in self.inputs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledExample(Example):
    """A row with its answer: a demonstration, a row to fit on, or a test row with its gold answer."""

    label: str
    """The label, the correct one of `choices`, or a correct text."""
    accepted: tuple[str, ...] = ()
    """For free-text answers, all correct texts, `label` first."""
    labels: tuple[str, ...] = ()
    """The labels of a row of a multi-label task, in the declared order, which `label` joins; empty for other tasks."""
    value: float | None = None
    """The number of the row on the scale of its task; None without a scale."""
    rationale: Mapping[str, str] = field(default_factory=dict)
    """The reasoning that leads to the answer: template variable -> text, for the target block of a demonstration only."""
    row_id: str | None = field(default=None, compare=False)
    """The row's id in a column that the user named. It is shown with results and determines nothing."""

    def __post_init__(self) -> None:
        """Makes the mappings read-only."""
        Example.__post_init__(self)
        object.__setattr__(self, "rationale", read_only(self.rationale))

    @property
    def answers(self) -> tuple[str, ...]:
        """All correct answers: the accepted texts, or else the label."""
        return self.accepted or (self.label,)

    def identity(self) -> str:
        """Returns everything about the row that can determine a result, as text."""
        inputs = {variable: value_identity(value) for variable, value in self.inputs.items()}
        answer = [self.label, self.accepted, self.labels, self.value]
        return json.dumps([self.id, inputs, self.choices, *answer, dict(self.rationale)], sort_keys=True)

    def unlabeled(self) -> Example:
        """Returns the row without its answer and rationale."""
        return Example(id=self.id, inputs=self.inputs, choices=self.choices, fingerprint=self.fingerprint)

    def answered(self) -> Example:
        """Returns the row with its rationale and only the gold answer, so that the answer's likelihood can be scored."""
        inputs = {**self.inputs, **self.rationale}
        return Example(id=self.id, inputs=inputs, choices=(self.label,), fingerprint=self.fingerprint)


def gold_labels(row: LabeledExample, kind: TaskKind) -> tuple[str, ...]:
    """Returns the labels of a row: all that apply to it in a multi-label task, and otherwise its label."""
    return row.labels if kind == "multi-label" else (row.label,)


def content_id(row: Example) -> str:
    """Returns the id of a row without a repeat number: a hash of what it shows to a model and of its choices."""
    return row.content.digest(row.choices)[:ID_DIGITS]


def inputs_of(row_id: str) -> str:
    """Returns the id without its repeat number. It is equal for all rows that show the same to a model, in every split."""
    return row_id.partition("#")[0]


def rows_hash(rows: Iterable[LabeledExample]) -> str:
    """Returns a hash of everything about rows that can determine a result, in their order."""
    return short_hash("\n".join(row.identity() for row in rows))
