"""Turns model outputs into the records of a run's files, and checks records of an earlier execution."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from promptkit.align.vote import majority
from promptkit.core.alignment import Extractor, Scorer
from promptkit.core.errors import TemplateError
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.hashing import short_hash
from promptkit.core.rendered import Rendered
from promptkit.core.requests import GenerateOutput, Generation, Output, Read, ReadOutput, ScoreOutput, is_finite
from promptkit.inputs.text.encoding import counted
from promptkit.models.finite import not_finite
from promptkit.runs.folder import File
from promptkit.runs.schema import ContinuationRecord, GenerationRecord, ReadRecord, RowRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECIMALS = 6
"""Decimals of log-probabilities in records."""


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


class _AnswerFields(TypedDict, total=False):
    """The fields of a row's record that come from the answer."""

    gold: str
    accepted: list[str]
    prediction: str | None
    correct: bool
    skipped: bool
    no_answer: bool
    logprobs: dict[str, float]
    continuations: list[ContinuationRecord]
    given: list[int]
    generations: list[GenerationRecord]


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


def row_record(query: Query, reader: Scorer | Extractor, output: Output) -> RowRecord:
    """Returns the record of a row's answer.

    Args:
        query: The request.
        reader: The first aligner, which reads the answer from the output.
        output: The model's output.

    Raises:
        TemplateError: If two labels have the same tokens.
        ModelError: If a log-probability is not finite.
    """
    if isinstance(reader, Extractor):
        assert isinstance(output, GenerateOutput)
        answer = _generated(query, reader, output)
    else:
        assert isinstance(output, ScoreOutput)
        answer = _scored(query, reader, output)
    return {"id": query.id, **answer, **_prompt_fields(query.rendered)}


def skipped_record(query: Query, reader: Scorer | Extractor) -> RowRecord:
    """Returns the record of an evaluated row that is not sent to the model, and so has no answer."""
    return {"id": query.id, **_wrong(query, reader), "skipped": True, **_prompt_fields(query.rendered)}


def _wrong(query: Query, reader: Scorer | Extractor) -> _AnswerFields:
    """The fields of a row without an answer; empty if its label is not recorded."""
    if query.gold is None:
        return {}
    accepted: _AnswerFields = {"accepted": list(query.gold.accepted)} if isinstance(reader, Extractor) else {}
    return {"gold": query.gold.label, **accepted, "prediction": None, "correct": False}


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


def is_complete(record: Mapping[str, object], query: Query, reader: Scorer | Extractor, d_model: int) -> bool:
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
    if query.gold is not None and not (record.get("gold") == query.gold.label and "prediction" in record):
        return False
    if isinstance(reader, Extractor):
        return _has_generations(record, reader.samples) and (query.gold is None or "correct" in record)
    return record.get("no_answer") is True or _has_scores(record, reader.candidates(query.example))


def _has_generations(record: Mapping[str, object], samples: int) -> bool:
    texts, keys = record.get("generations"), GenerationRecord.__required_keys__
    return isinstance(texts, list) and [isinstance(x, dict) and x.keys() >= keys for x in texts] == [True] * samples


def _has_scores(record: Mapping[str, object], candidates: Sequence[str]) -> bool:
    scores = record.get("logprobs")
    if not isinstance(scores, dict) or tuple(scores) != tuple(candidates):
        return False
    return all(isinstance(x, float | int) for x in scores.values()) and isinstance(record.get("continuations"), list)


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


def _scored(query: Query, scorer: Scorer, output: ScoreOutput) -> _AnswerFields:
    rendered = query.rendered
    _check_distinct(query.id, rendered)
    _check_finite(query.id, output)
    if not output.answered:
        return {**_wrong(query, scorer), "no_answer": True}
    candidates = scorer.candidates(query.example)
    scores = [round(value, DECIMALS) for value in scorer.align(counted(rendered, output))]
    answer: _AnswerFields = {}
    if query.gold is not None:
        answer["gold"] = query.gold.label
        answer["prediction"] = candidates[scores.index(max(scores))]
    answer["logprobs"] = dict(zip(candidates, scores, strict=True))
    answer["continuations"] = [
        {"text": text, "logprobs": [round(x, DECIMALS) for x in tokens]}
        for text, tokens in zip(rendered.targets, output.logprobs, strict=True)
    ]
    if any(rendered.label_token_counts):
        answer["given"] = list(rendered.label_token_counts)
    return answer


def _check_finite(row: str, output: Output) -> None:
    if not is_finite(output):
        raise not_finite(f"a number for row {row}", row=row)


def _check_distinct(row: str, rendered: Rendered) -> None:
    pairs = zip(rendered.targets, rendered.continuations, strict=True)
    repeated = tuple(text for text, ids in pairs if rendered.continuations.count(ids) > 1)
    if repeated:
        raise TemplateError(
            f"The labels {', '.join(map(repr, repeated[:5]))} have the same tokens, so the model cannot distinguish them",
            code="indistinguishable-labels",
            got=f"row {row}",
            hint="Inspect the row with promptkit render, and correct the label words or the target block",
            labels=repeated[:5],
            row=row,
        )


def _generated(query: Query, extractor: Extractor, output: GenerateOutput) -> _AnswerFields:
    texts = [query.rendered.answer_text(generation.text) for generation in output.generations]
    answers = [None if text is None else extractor.answer(text, query.example.choices) for text in texts]
    winner = majority([None if answer is None else extractor.normalized(answer) for answer in answers])
    prediction = None if winner is None else answers[winner]
    fields: _AnswerFields = {}
    if query.gold is not None:
        fields["gold"] = query.gold.label
        fields["accepted"] = list(query.gold.accepted)
    fields["prediction"] = prediction
    if query.gold is not None:
        fields["correct"] = extractor.is_correct(prediction, query.gold.accepted)
    fields["generations"] = [
        _generation_record(generation, answer, unclosed=text is None)
        for generation, text, answer in zip(output.generations, texts, answers, strict=True)
    ]
    return fields


def _generation_record(generation: Generation, answer: str | None, *, unclosed: bool) -> GenerationRecord:
    record: GenerationRecord = {
        "text": generation.text,
        "tokens": len(generation.ids),
        "ended": generation.ended,
        "answer": answer,
    }
    return {**record, "unclosed_thought": True} if unclosed else record
