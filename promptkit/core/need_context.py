"""What a need may use while it plans its requests, and the requests that it plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from promptkit.core.examples import Example, LabeledExample
from promptkit.core.manipulation import Ask, Encode
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Request, Verb

if TYPE_CHECKING:
    from promptkit.core.arrays import Array

ReadField = Literal["logprobs", "hidden"]
"""The part of an output that is stored: log-probabilities of tokens or classes, or a hidden state."""


def context_id(demos: Sequence[str]) -> str:
    """Returns the identifier of a row's context: the ids of its demonstrations, in order."""
    return " ".join(demos)


# ---- what is known before the model is queried -------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPart:
    """The rows of the fit part of a train split."""

    rows: Sequence[LabeledExample]
    """All rows, ordered by hash."""
    untested: Sequence[LabeledExample]
    """The rows whose inputs do not occur in the evaluated split. Only their labels may be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The numbers of rows and labels that an aligner is fitted on."""

    labels: int
    """Number of labels."""
    evaluated: int
    """Number of evaluated rows."""
    has_label: Sequence[bool]
    """For each row of the fit part, whether its label may be used."""
    classes: int | None = None
    """Number of classes of the image classifier; None for a language model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a need is not met by a run."""

    code: str
    """Stable name of the problem in kebab case, such as `missing-premise`."""
    text: str
    """What is missing, such as `hidden states of layer 3`, or why it is impossible, as a clause."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """The values that the problem is about."""


# ---- what is requested -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptedRow:
    """A row that the model answers: an evaluated row, or a further one."""

    id: str
    """The id of its record."""
    example: Example
    rendered: Rendered
    gold: LabeledExample | None = None
    """The row with its label, if the label may be recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedContext:
    """What a need may use while it plans its requests."""

    encode: Encode
    """Renders rows."""
    ask: Ask
    """The model, which may be queried immediately."""
    evaluated: Sequence[PromptedRow]
    """The evaluated rows. Their labels are unknown."""
    fit_rows: Sequence[PromptedRow]
    """The selected rows of the fit part, with the labels that may be used."""
    fit: Sequence[LabeledExample]
    """All rows of the fit part."""
    label_words: Mapping[str, str]
    """The word of each label; empty if there are none."""
    source_classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The names of the classes of an image classifier that mean each label, if they were written by hand."""
    other_models: Mapping[str, Ask] = field(default_factory=dict)
    """The models that needs list in `models`, by name."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """The metadata of the reads that were planned before, including the reads of required needs."""

    def with_metadata(self, metadata: Mapping[str, object]) -> NeedContext:
        """Returns a copy with the metadata of further reads."""
        return replace(self, metadata={**self.metadata, **metadata})


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRead:
    """An output that is read for every evaluated row and every selected row of the fit part."""

    tensor: str
    """The name of the tensor, which has one row per row."""
    verb: Verb
    """What is requested for the row's prompt."""
    field: ReadField
    """The part of the output that is stored."""
    width: int
    """Number of stored values for each row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRead:
    """An output that is read for an input that the need defines."""

    tensor: str
    """The name of the tensor, which has one row per key, in their order."""
    key: str
    request: Request
    field: ReadField
    """The part of the output that is stored."""
    width: int
    """Number of stored values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRead:
    """Numbers that are known when reads are planned, such as an answer of another model. They are stored like reads."""

    tensor: str
    """As in `InputRead`."""
    key: str
    numbers: Array
    field: ReadField = "hidden"
    """As in `InputRead`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """What the needs of one kind read."""

    metadata: Mapping[str, object] = field(default_factory=dict)
    """Stored with the tensors, as JSON values."""
    rows: Sequence[RowRead] = ()
    inputs: Sequence[InputRead] = ()
    known: Sequence[KnownRead] = ()
