"""Turns model outputs into the records of a run's files, and checks records of an earlier execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from promptkit.core.asking import AskedRow
from promptkit.core.hashing import short_hash
from promptkit.core.output_reader import OutputReader
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, is_finite
from promptkit.models.finite import not_finite
from promptkit.runs.folder import File
from promptkit.runs.schema import RowRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Query(AskedRow):
    """One request of a run for the answer to a row, and the record that will store the answer."""

    file: File
    """The file of the record."""


class _Reasoning(TypedDict, total=False):
    reasoning: str


class _DemoLabels(TypedDict, total=False):
    demo_labels: list[str]


class _MayThink(TypedDict, total=False):
    may_think: bool


class _PromptFields(_Reasoning, _DemoLabels, _MayThink):
    """The fields of a row's record that come from the prompt."""

    demos: list[str]
    dropped: list[str]
    boundary: int
    prompt_hash: str
    tokens: int


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
    return {"id": query.id, **answer, **_prompt_fields(query.rendered)}


def skipped_record(query: Query, reader: OutputReader) -> RowRecord:
    """Returns the record of an evaluated row that is not sent to the model, and so has no answer."""
    return {"id": query.id, **reader.unanswered(query.gold), "skipped": True, **_prompt_fields(query.rendered)}


def is_complete(record: Mapping[str, object], query: Query, reader: OutputReader) -> bool:
    """Returns whether a record of an earlier execution answers the query; the answer is computed again otherwise.

    Args:
        record: The record.
        query: The request with the record's id.
        reader: The first aligner.
    """
    if any(record.get(key) != value for key, value in _prompt_fields(query.rendered).items()):
        return False
    return reader.is_complete(record, query.example, query.gold)


def _prompt_fields(rendered: Rendered) -> _PromptFields:
    text = "".join(piece.text for piece in rendered.pieces if piece.part == "reasoning")
    reasoning: _Reasoning = {"reasoning": text} if text else {}
    labels: _DemoLabels = {"demo_labels": list(rendered.demo_labels)} if rendered.demo_labels else {}
    may_think: _MayThink = {"may_think": True} if rendered.may_think else {}
    return {
        **reasoning,
        **may_think,
        "demos": list(rendered.demos),
        **labels,
        "dropped": list(rendered.dropped),
        "boundary": rendered.rescored_tokens,
        "prompt_hash": short_hash(repr(rendered.text.ids)),
        "tokens": len(rendered.text.ids),
    }


def _check_finite(row: str, output: Output) -> None:
    if not is_finite(output):
        raise not_finite(f"a number for row {row}", row=row)
