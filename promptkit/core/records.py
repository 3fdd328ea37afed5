"""The types of the records of model outputs: a row with its answer, and what is read in addition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NotRequired, TypedDict

from promptkit.core.answer_record import AnswerRecord, is_answered
from promptkit.core.need_context import ReadField

RecordFile = Literal["samples", "support", "outputs"]
"""What a record belongs to: an evaluated row, a further row that an aligner needs, or further outputs.

A run has one file for each.
"""
RECORD_FILES: tuple[RecordFile, ...] = ("samples", "support", "outputs")


class Record(TypedDict):
    """An entry of the outputs of a pass of a model, and a line of any `.jsonl` file of a run."""

    id: str
    fold: NotRequired[int]
    """The fold that the evaluated row belongs to, or whose prediction the record is for; absent without folds."""


def record_key(record: Record) -> str:
    """Returns what distinguishes a record from the others of its file: its id, and its fold if there are folds."""
    return fold_key(record.get("fold", 0), record["id"])


def fold_key(fold: int, record_id: str) -> str:
    """Returns the key of the record with an id in a fold; fold 0 means a run without folds."""
    return f"fold {fold} {record_id}" if fold else record_id


def record_head(record_id: str, fold: int) -> Record:
    """Returns the first fields of a record."""
    return {"id": record_id, "fold": fold} if fold else {"id": record_id}


class RowRecord(Record, AnswerRecord):
    """A line of `samples.jsonl` or `support.jsonl`: a prompt and the model's answer to it.

    The record of a row without a prompt, such as an image, has only `prompt_hash` in addition to the answer.
    """

    reasoning: NotRequired[str]
    may_think: NotRequired[bool]
    """True if labels were scored where the model may begin a thought; absent otherwise."""
    demos: NotRequired[list[str]]
    """Ids of the demonstrations in the prompt, in order."""
    demo_labels: NotRequired[list[str]]
    dropped: NotRequired[list[str]]
    """Ids of the demonstrations that did not fit the context."""
    seen: NotRequired[bool]
    """True if the predictor was fitted on the row; absent otherwise."""
    boundary: NotRequired[int]
    """Number of prompt tokens that are rescored with every continuation."""
    prompt_hash: str
    """Hash of what the model read."""
    tokens: NotRequired[int]
    """Number of tokens in the prompt."""


def answered(records: Sequence[RowRecord]) -> list[RowRecord]:
    """Returns the records of the rows that have an answer of the model: scores, or generated texts."""
    return [record for record in records if is_answered(record)]


class ReadRecord(Record):
    """A line of `outputs.jsonl`: log-probabilities and a hidden state, as base64 of little-endian float32."""

    question: str
    """Hash of the input and the request."""
    logprobs: str
    hidden: str


class InputTensorRecord(TypedDict):
    """A tensor that is read for inputs that a need defines."""

    field: ReadField
    keys: list[str]
    """The inputs, in the order of the tensor's rows."""


class ReadPlanRecord(Record):
    """The first line of `outputs.jsonl`: what is read."""

    metadata: dict[str, object]
    """The metadata of needs, which is stored with the tensors."""
    rows: dict[str, tuple[int, ReadField]]
    """Tensor that is read for every row -> number of the request, and the stored part of its output."""
    inputs: dict[str, InputTensorRecord]
    """Tensors that are read for inputs that needs define, by name."""
