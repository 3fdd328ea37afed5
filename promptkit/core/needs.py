"""What aligners need in addition to the evaluated rows: the base class of needs, and the data that aligners are fitted on.

A need is a value that an aligner declares. It defines how its data is collected: which rows of the fit part it selects, what it
requests from the model, how the answers are stored in the run's files, and what the aligner gets. The package `needs` has one
file per need. Needs of other packages work in the same way and need no registration.

The life of a need in a run:

1. `check` raises an error before the model is queried if the need cannot be met, and `select` chooses rows of the fit part.
2. `further_rows` renders rows that the model answers like evaluated rows; their records are in `support.jsonl`.
3. `reads` plans further outputs of every row, or of inputs that the need defines; they are tensors of `outputs.safetensors`.
4. `load` turns the stored answers into the value that `FitData[need]` returns, and `load_rows` into `Outputs[need]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, Self, TypeVar, cast

from promptkit.core.capabilities import Feature
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.inputs import Modality
from promptkit.core.manipulation import Encode
from promptkit.core.need_context import Counts, FitPart, NeedContext, Problem, PromptedRow, Reads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptkit.core.arrays import Floats, Integers

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

UNKNOWN = -1
"""Replaces the index of a label that no fit may see, and of a context that no evaluated row has."""


# ---- what is stored ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The model's outputs for rows, without their labels. The first axis of every array is the row.

    `outputs[need]` is the array that a `RowNeed` has read for the rows.
    """

    logprobs: Floats
    """Log-probabilities of the labels in the declared order, not normalized, shape (rows, K); log-odds of each label for a
    multi-label task."""
    context: Integers
    """The index of each row's context among the contexts of the evaluated rows, shape (rows,); -1 for any other context."""
    reads: Mapping[RowNeed[object], Floats] = field(default_factory=dict)
    """Need -> its array, shape (rows, width)."""

    def __getitem__(self, need: RowNeed[object]) -> Floats:
        return self.reads[need]

    def __len__(self) -> int:
        return len(self.context)

    def take(self, rows: Integers | slice) -> Outputs:
        """Returns the outputs for some of the rows."""
        reads = {need: values[rows] for need, values in self.reads.items()}
        return Outputs(logprobs=self.logprobs[rows], context=self.context[rows], reads=reads)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledOutputs:
    """The model's outputs for rows of the fit part, and their labels."""

    outputs: Outputs
    gold: Integers
    """The index of each row's label, shape (rows,); -1 for a label that may not be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitData:
    """What an aligner is fitted on. `data[need]` is the value of a need that the aligner declares."""

    labels: tuple[str, ...]
    """The labels in the declared order; empty if rows have different answer choices."""
    items: Outputs
    """The evaluated rows, for unsupervised estimates."""
    values: Mapping[Need[object], object] = field(default_factory=dict)
    """Need -> its value."""

    def __getitem__(self, need: Need[T]) -> T:
        return cast("T", self.values[need])


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFitRow:
    """An answered row of the fit part in a run's files."""

    record: str
    """Id of its record."""
    row: str
    """Id of the example."""
    label: str | None
    """Its label, if that may be used."""
    labels: tuple[str, ...] | None = None
    """All labels that apply to it, if they may be used; None for a task with one label per row."""


class Stored(Protocol):
    """The answers of a run that needs may see. Labels of evaluated rows are not among them."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the declared order; empty if rows have different answer choices."""
        ...

    @property
    def label_words(self) -> Mapping[str, str]:
        """The word of each label; empty if there are none."""
        ...

    @property
    def needs(self) -> Sequence[Need[object]]:
        """The needs that the run has collected."""
        ...

    @property
    def evaluated(self) -> Sequence[str]:
        """Ids of the evaluated rows that have an answer."""
        ...

    @property
    def contexts(self) -> Sequence[str]:
        """The different contexts of the evaluated rows, as `context_id` returns them."""
        ...

    @property
    def fit_rows(self) -> Sequence[StoredFitRow]:
        """The rows of the fit part that have an answer."""
        ...

    @property
    def metadata(self) -> Mapping[str, object]:
        """The metadata of all reads; empty if there are none."""
        ...

    def __contains__(self, record: str) -> bool:
        """Whether there is an answered record with this id."""
        ...

    def outputs(self, records: Sequence[str]) -> Outputs:
        """Returns the outputs for rows, given the ids of their records."""
        ...

    def scores(self, records: Sequence[str]) -> Floats:
        """Returns label log-probabilities of records, shape (records, K).

        If rows have different answer choices, these are the scores of each row's choices, padded with -inf.

        Raises:
            ModelError: A record has no answer.
        """
        ...

    def tensor(self, name: str) -> NDArray[np.float32]:
        """Returns a tensor of reads."""
        ...

    def positions(self, records: Sequence[str]) -> list[int]:
        """Returns the indices of rows in the tensors of `RowRead`, given the ids of their records."""
        ...


# ---- a need ------------------------------------------------------------------------------------------


class Need(Generic[T_co]):
    """What an aligner needs in addition to the evaluated rows, and how it is collected.

    Subclasses are frozen dataclasses. Their fields determine what is collected; fields that only `check` uses are left out of
    comparisons. `FitData[need]` has the type `T_co`.
    """

    kind: ClassVar[str]
    """A stable name. Needs of one kind are collected together, and a run's files list their rows in the order of kinds."""
    at_answer_slot: ClassVar[bool] = False
    """Whether something is read where a prompt's answer begins."""
    uses_labels: ClassVar[bool] = False
    """Whether it passes labels of the fit part to the aligner."""
    works_with_choices: ClassVar[bool] = False
    """Whether rows may have different answer choices."""

    @property
    def features(self) -> frozenset[Feature]:
        """What the model must support for it, in addition to answers."""
        return frozenset()

    @property
    def requires(self) -> tuple[Need[object], ...]:
        """Other needs that it builds on, which are collected first."""
        return ()

    @property
    def models(self) -> tuple[str, ...]:
        """The names of other models that it queries, such as a sentence encoder."""
        return ()

    @property
    def uses_fit_part(self) -> bool:
        """Whether it needs rows of the fit part."""
        return False

    @property
    def contains_texts(self) -> bool:
        """Whether it contains texts of rows, which must not be published by default."""
        return False

    @property
    def uses_other_rows(self) -> bool:
        """Whether the value for a row depends on other rows of a task: of the fit part, or evaluated ones."""
        return self.uses_fit_part

    def asks_by_fit_part(self, modality: Modality) -> bool:
        """Returns whether its requests depend on rows of the fit part, so that they cannot be sent before these are chosen.

        Args:
            modality: The modality of the model.
        """
        return False

    def select(self, part: FitPart) -> Sequence[LabeledExample]:
        """Returns the rows of the fit part that the model answers."""
        return ()

    def determined_by(self, part: FitPart) -> Sequence[LabeledExample]:
        """Returns the rows of the fit part that its value depends on."""
        return self.select(part)

    def check(self, counts: Counts, aligner: str) -> None:
        """Refuses the need if there are too few rows or labels.

        Args:
            counts: The numbers of rows and labels.
            aligner: The name of the aligner, for the message.

        Raises:
            InputError: If the aligner cannot be fitted.
        """

    def check_modality(self, modality: Modality, *, has_source_classes: bool) -> None:
        """Refuses a model of a modality whose outputs do not contain what is needed.

        Args:
            modality: The modality of the model.
            has_source_classes: Whether the classes of an image classifier that mean each label were written by hand.

        Raises:
            InputError: The need cannot be met.
        """

    def dry_run(self, encode: Encode, example: Example) -> None:
        """Raises the errors that rendering would raise, for one row."""

    @classmethod
    def further_rows(cls, needs: Sequence[Self], need_context: NeedContext) -> Sequence[PromptedRow]:
        """Returns further rows that the model answers, for all needs of this kind."""
        return ()

    @classmethod
    def reads(cls, needs: Sequence[Self], need_context: NeedContext) -> Reads:
        """Returns what is read in addition to answers, for all needs of this kind."""
        return Reads()

    @classmethod
    def warnings(cls, needs: Sequence[Self], labels: Sequence[str], fit_labels: Sequence[str | None]) -> list[str]:
        """Returns warnings about the collected rows, for all needs of this kind.

        Args:
            needs: The needs.
            labels: The labels in the declared order.
            fit_labels: Labels of the rows of the fit part; None for a label that may not be used.
        """
        return []

    def load(self, stored: Stored) -> T_co:
        """Returns its value from the stored answers."""
        raise NotImplementedError

    def missing(self, stored: Stored) -> Problem | None:
        """Returns a problem if a finished run lacks its data, else None."""
        return None

    @classmethod
    def first_missing(cls, needs: Sequence[Self], stored: Stored) -> Problem | None:
        """Returns a problem if a finished run lacks data of several needs of this kind, else None."""
        return next((problem for need in needs if (problem := need.missing(stored))), None)

    def impossible(self, manipulation: Mapping[str, object]) -> Problem | None:
        """Returns why it cannot be collected with the settings of a manipulation, or None."""
        return None

    def is_shared(self, *, has_labels: bool, one_context: bool) -> bool:
        """Returns whether its value is the same for all rows, so that it can be computed once for a saved predictor.

        Args:
            has_labels: Whether all rows have the same labels, and not answer choices of their own.
            one_context: Whether all rows have the same demonstrations.
        """
        return True

    def fixed(self, stored: Stored, fit: Sequence[LabeledExample]) -> Need[T_co]:
        """Returns a need with the same value for other rows, which uses no rows of the fit part.

        Args:
            stored: The answers that it was collected from.
            fit: All rows of the fit part.
        """
        return self


class RowNeed(Need[T_co]):
    """A need that has an array for every row, which is `Outputs[need]`."""

    def fixed(self, stored: Stored, fit: Sequence[LabeledExample]) -> RowNeed[T_co]:
        """Returns a need that reads the same for other rows, and uses no rows of the fit part."""
        return self

    def load_rows(self, stored: Stored, records: Sequence[str]) -> Floats:
        """Returns what was read for rows, shape (rows, width).

        Args:
            stored: The stored answers.
            records: Ids of the rows' records.
        """
        raise NotImplementedError


Needs = tuple[Need[object], ...]
"""What an aligner needs."""


def with_required(needs: Sequence[Need[object]]) -> list[Need[object]]:
    """Returns needs and the needs that they require, without repeats; a need comes after the needs that it requires."""
    found: dict[Need[object], None] = {}
    for need in needs:
        found |= dict.fromkeys([*with_required(need.requires), need])
    return [*found]


def by_kind(needs: Sequence[Need[object]]) -> Iterator[tuple[type[Need[object]], list[Need[object]]]]:
    """Yields the needs of each kind, in an order that does not depend on the order of the needs: required kinds first."""
    groups: dict[type[Need[object]], list[Need[object]]] = {}
    for need in needs:
        groups.setdefault(type(need), []).append(need)
    yield from sorted(groups.items(), key=lambda item: (max(map(_depth, item[1])), item[0].kind))


def _depth(need: Need[object]) -> int:
    return 1 + max(map(_depth, need.requires), default=-1)
