"""Turns model outputs into the records of a run's files, and checks records of an earlier execution."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from promptkit.core.examples import Example, LabeledExample
from promptkit.core.hashing import short_hash
from promptkit.core.output_reader import OutputReader
from promptkit.core.rendered import Rendered
from promptkit.core.requests import Output, Read, ReadOutput, is_finite
from promptkit.models.finite import not_finite
from promptkit.runs.folder import File
from promptkit.runs.schema import ReadRecord, RowRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One request of a run: a rendered row, and the record that will store its answer."""

    file: File
    """The file of the record."""
    id: str
    """Id of the record."""
    example: Example
    rendered: Rendered
    gold: LabeledExample | None = None
    """The row with its label, if the label may be recorded."""
    verb: Read | None = None
    """What to read at the answer slot; None to score or generate the answer."""


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


def read_record(query: Query, output: Output) -> ReadRecord:
    """Returns the record of token log-probabilities and a hidden state.

    Raises:
        ModelError: If a log-probability is not finite.
    """
    assert isinstance(output, ReadOutput)
    _check_finite(query.id, output)
    return {
        "id": query.id,
        "question": _request_hash(query),
        "logprobs": _packed(output.logprobs),
        "hidden": _packed(() if output.hidden is None else output.hidden.numpy()),
    }


def is_complete(record: Mapping[str, object], query: Query, reader: OutputReader, d_model: int) -> bool:
    """Returns whether a record of an earlier execution answers the query; the answer is computed again otherwise.

    Args:
        record: The record.
        query: The request with the record's id.
        reader: The first aligner.
        d_model: Width of the model's hidden states.
    """
    if query.verb is not None:
        counts = {"logprobs": len(query.verb.token_ids), "hidden": 0 if query.verb.hidden_layer is None else d_model}
        numbers = all(_is_packed(record.get(key), count) for key, count in counts.items())
        return numbers and record.get("question") == _request_hash(query)
    if any(record.get(key) != value for key, value in _prompt_fields(query.rendered).items()):
        return False
    return reader.is_complete(record, query.example, query.gold)


def _request_hash(query: Query) -> str:
    return short_hash(repr((query.rendered.text.ids, query.verb)))


def _packed(numbers: Sequence[float] | NDArray[np.float32]) -> str:
    """Numbers as little-endian float32 in base64."""
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


def _is_packed(value: object, count: int) -> bool:
    try:
        return isinstance(value, str) and len(base64.b64decode(value, validate=True)) == 4 * count
    except ValueError:
        return False


def unpacked(text: str) -> NDArray[np.float32]:
    """Returns the numbers of a field of a `ReadRecord`."""
    return np.frombuffer(base64.b64decode(text), "<f4")


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
