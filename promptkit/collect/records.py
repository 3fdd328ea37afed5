"""Turns model outputs into the records of a run's files, and checks records of an earlier execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from promptkit.core.hashing import short_hash
from promptkit.core.need_context import PromptedRow
from promptkit.core.output_reader import OutputReader
from promptkit.core.records import RecordFile, RowRecord, fold_key, record_head
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, is_finite
from promptkit.models.finite import not_finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Query(PromptedRow):
    """One request of a run for the answer to a row, and the record that will store the answer."""

    file: RecordFile
    """The file of the record."""
    fold: int = 0
    """The fold, from 1; 0 without folds."""

    @property
    def key(self) -> str:
        """The key of the record."""
        return fold_key(self.fold, self.id)


class _PromptFields(TypedDict, total=False):
    """The fields of a row's record that come from its prompt; absent for other inputs."""

    reasoning: str
    may_think: bool
    demos: list[str]
    demo_labels: list[str]
    dropped: list[str]
    boundary: int
    tokens: int
    seen: bool
    """Added to the record of an evaluated row when the run is finished."""


class _InputFields(_PromptFields):
    """The fields of a row's record that come from what the model read."""

    prompt_hash: str


def row_record(query: Query, reader: OutputReader, output: Output) -> RowRecord:
    """Returns the record of a row's answer.

    Args:
        query: The request.
        reader: The first aligner, which reads the answer from the output.
        output: The model's output.

    Raises:
        TemplateError: If two labels have the same tokens.
        ModelError: If a log-probability is not finite.
    """
    _check_finite(query.id, output)
    answer = reader.record(query.example, query.rendered, output, query.gold)
    return {**record_head(query.id, query.fold), **answer, **_input_fields(query.rendered)}


def skipped_record(query: Query, reader: OutputReader) -> RowRecord:
    """Returns the record of an evaluated row that is not sent to the model, and so has no answer."""
    head = record_head(query.id, query.fold)
    return {**head, **reader.unanswered(query.gold), "skipped": True, **_input_fields(query.rendered)}


def is_complete(record: Mapping[str, object], query: Query, reader: OutputReader) -> bool:
    """Returns whether a record of an earlier execution answers the query; the answer is computed again otherwise.

    Args:
        record: The record.
        query: The request with the record's id.
        reader: The first aligner.
    """
    if any(record.get(key) != value for key, value in _input_fields(query.rendered).items()):
        return False
    return reader.is_complete(record, query.example, query.gold)


def _input_fields(rendered: Rendered) -> _InputFields:
    fingerprint = short_hash(rendered.input.fingerprint())
    if rendered.input.modality != "text":
        return {"prompt_hash": fingerprint}
    fields: _PromptFields = {}
    reasoning = "".join(piece.text for piece in rendered.pieces if piece.part == "reasoning")
    if reasoning:
        fields["reasoning"] = reasoning
    if rendered.may_think:
        fields["may_think"] = True
    fields["demos"] = list(rendered.demos)
    if rendered.demo_labels:
        fields["demo_labels"] = list(rendered.demo_labels)
    fields["dropped"] = list(rendered.dropped)
    fields["boundary"] = rendered.rescored_tokens
    return {**fields, "prompt_hash": fingerprint, "tokens": rendered.input.cost}


def _check_finite(row: str, output: Output) -> None:
    if not is_finite(output):
        raise not_finite(f"a number for row {row}", row=row)
