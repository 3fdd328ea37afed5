"""The line of a run's files for each row that the model was asked about, and what befell the rows."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from promptkit.align.vote import majority
from promptkit.core.alignment import Extractor, Scorer
from promptkit.core.errors import ModelError, TemplateError
from promptkit.core.examples import Example, LabeledExample, inputs_of
from promptkit.core.hashing import short_hash
from promptkit.core.rendered import Rendered
from promptkit.core.requests import GenerateOutput, Output, Read, ReadOutput, ScoreOutput
from promptkit.inputs.text.encoding import counted
from promptkit.runs.folder import File

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECIMALS = 6
_PARTS = frozenset({"text", "tokens", "ended", "answer"})
"""What is kept of a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One row that the model is asked about, and the file that its line goes to."""

    file: File
    id: str
    example: Example
    rendered: Rendered
    gold: LabeledExample | None = None
    verb: Read | None = None
    """What is read of it beside its answer, which goes to a line of its own."""


def line(row: Query, reading: Scorer | Extractor, output: Output) -> dict[str, Any]:
    """What is kept of one row: its answer, what the answer was read from, and the prompt that it was asked in."""
    if isinstance(output, ReadOutput):
        numbers = {
            "logprobs": _packed(output.logprobs),
            "hidden": _packed(() if output.hidden is None else output.hidden.numpy()),
        }
        return {"id": row.id, "question": _question(row), **numbers}
    if isinstance(reading, Extractor):
        assert isinstance(output, GenerateOutput)
        read = _written(row, reading, output)
    else:
        assert isinstance(output, ScoreOutput)
        read = _scored(row, reading, output)
    return {"id": row.id, **read, **_prompt(row.rendered)}


def is_whole(kept: Mapping[str, Any], row: Query, reading: Scorer | Extractor, d_model: int) -> bool:
    """Whether a line that was kept is one of this row, with all its parts; what is not is computed again."""
    if row.verb is not None:
        numbers = {"logprobs": len(row.verb.token_ids), "hidden": 0 if row.verb.hidden_layer is None else d_model}
        return kept.get("question") == _question(row) and all(_holds(kept.get(key), count) for key, count in numbers.items())
    if any(kept.get(key) != value for key, value in _prompt(row.rendered).items()):
        return False
    if row.gold is not None and not (kept.get("gold") == row.gold.label and "prediction" in kept):
        return False
    if isinstance(reading, Extractor):
        texts = kept.get("generations")
        whole = isinstance(texts, list) and [isinstance(text, dict) and text.keys() >= _PARTS for text in texts]
        return whole == [True] * reading.samples and (row.gold is None or "correct" in kept)
    logprobs = kept.get("logprobs")
    if not isinstance(logprobs, dict) or tuple(logprobs) != tuple(reading.candidates(row.example)):
        return False
    return all(isinstance(x, float | int) for x in logprobs.values()) and isinstance(kept.get("continuations"), list)


def _question(row: Query) -> str:
    """A hash of what was asked."""
    return short_hash(repr((row.rendered.input.ids, row.verb)))


def _packed(numbers: Sequence[float] | NDArray[np.float32]) -> str:
    """As float32, little-endian, in base64."""
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


def _holds(packed: object, count: int) -> bool:
    """Whether it is so many numbers."""
    try:
        return isinstance(packed, str) and len(base64.b64decode(packed, validate=True)) == 4 * count
    except ValueError:
        return False


def unpacked(text: str) -> NDArray[np.float32]:
    """The numbers of a line of what was read."""
    return np.frombuffer(base64.b64decode(text), "<f4")


def _prompt(rendered: Rendered) -> dict[str, Any]:
    reasoning = "".join(piece.text for piece in rendered.pieces if piece.part == "reasoning")
    return {
        **({"reasoning": reasoning} if reasoning else {}),
        "demos": list(rendered.demos),
        **({"demo_labels": list(rendered.demo_labels)} if rendered.demo_labels else {}),
        "dropped": list(rendered.dropped),
        "boundary": rendered.rescored_tokens,
        "prompt_hash": short_hash(repr(rendered.input.ids)),
        "tokens": len(rendered.input.ids),
    }


def _scored(row: Query, reading: Scorer, output: ScoreOutput) -> dict[str, Any]:
    rendered = row.rendered
    pairs = zip(rendered.targets, rendered.continuations, strict=True)
    alike = [text for text, ids in pairs if rendered.continuations.count(ids) > 1]
    if alike:
        raise TemplateError(
            f"The labels {', '.join(map(repr, alike[:5]))} have the same tokens, so the model cannot distinguish them",
            code="indistinguishable-labels",
            got=f"row {row.id}",
            hint="Inspect the row with promptkit render, and correct the label words or the target block",
            labels=tuple(alike[:5]),
            row=row.id,
        )
    if not all(isfinite(x) for tokens in output.logprobs for x in tokens):
        raise ModelError(
            f"The model returned a log-probability that is not finite for row {row.id}",
            code="not-finite",
            hint="Its activations overflow at this precision: try --set dtype=bfloat16 or dtype=float32",
            row=row.id,
        )
    candidates = reading.candidates(row.example)
    aligned = [round(value, DECIMALS) for value in reading.align(counted(rendered, output))]
    best = candidates[aligned.index(max(aligned))]
    return {
        **({} if row.gold is None else {"gold": row.gold.label, "prediction": best}),
        "logprobs": dict(zip(candidates, aligned, strict=True)),
        "continuations": [
            {"text": text, "logprobs": [round(x, DECIMALS) for x in tokens]}
            for text, tokens in zip(rendered.targets, output.logprobs, strict=True)
        ],
        **({"given": list(rendered.label_token_counts)} if any(rendered.label_token_counts) else {}),
    }


def _written(row: Query, reading: Extractor, output: GenerateOutput) -> dict[str, Any]:
    answers = [reading.answer(generation.text, row.example.choices) for generation in output.generations]
    won = majority([None if answer is None else reading.normalized(answer) for answer in answers])
    answer = None if won is None else answers[won]
    gold = row.gold
    judged = {} if gold is None else {"gold": gold.label, "accepted": list(gold.accepted)}
    return {
        **judged,
        "prediction": answer,
        **({} if gold is None else {"correct": reading.is_correct(answer, gold.accepted)}),
        "generations": [
            {"text": text.text, "tokens": len(text.ids), "ended": text.ended, "answer": said}
            for text, said in zip(output.generations, answers, strict=True)
        ],
    }


def row_warnings(samples: Sequence[Any]) -> list[str]:
    """What befell some rows, and what a reader of the figures should know of the answers."""
    inputs = {inputs_of(line["id"]) for line in samples}
    most = max(len(line["demos"]) + len(line["dropped"]) for line in samples)
    counts = {
        "lost demonstrations because the prompt would not fit the model's context": sum(bool(x["dropped"]) for x in samples),
        "were scored from an earlier token because a label merges with the prompt": sum(bool(x["boundary"]) for x in samples),
        "were shown fewer demonstrations than others because the pool ran out of different rows": sum(
            len(x["demos"]) + len(x["dropped"]) < most for x in samples
        ),
        "were shown a demonstration that is itself evaluated: train and test overlap": sum(
            any(inputs_of(demo) in inputs for demo in x["demos"]) for x in samples
        ),
        "were still being written when they had the most tokens allowed (max_tokens)": sum(
            any(text["ended"] == "length" for text in x.get("generations", ())) for x in samples
        ),
    }
    notes = [f"{count} of {len(samples)} rows {what}" for what, count in counts.items() if count]
    texts = [continuation["text"] for continuation in samples[0].get("continuations", ())]
    shorter = [text for text in texts if any(other != text and other.startswith(text) for other in texts)]
    if shorter:
        notes.append(f"The answer {shorter[0]!r} is the beginning of another, which can therefore never be likelier by sum")
    return notes
