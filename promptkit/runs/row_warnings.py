"""Warnings about individual rows of a run, such as demonstrations that did not fit the context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptkit.core.caller import spelled
from promptkit.core.examples import inputs_of
from promptkit.core.records import RowRecord
from promptkit.runs.schema import TooLongCounts
from promptkit.tasks.label_values import labels_alike, visible

MESSAGES = {
    "seen-rows": "were used to fit the predictor: its figures are no estimate for new rows",
    "dropped-demonstrations": "lost demonstrations because the prompt would not fit the model's context",
    "skipped": "were skipped because the prompt would not fit the model's context: they count as wrong",
    "no-answer": "have no answer, because the model's reply names no label: they count as wrong",
    "rescored-tokens": "were scored from an earlier token because a label merges with the prompt",
    "fewer-demonstrations": "have fewer demonstrations than others because the pool has too few different rows",
    "evaluated-demonstration": "have a demonstration that is itself evaluated: train and test overlap",
    "contradictory-labels": "have the same inputs as another evaluated row with a different label",
    "may-think": "were scored where the model may begin a thought instead of its answer; see {thinking}",
    "unclosed-thought": "have a text whose thought is not closed, which has no answer (a larger max_tokens may close it)",
    "max-tokens": "reached the maximum number of generated tokens (max_tokens)",
}
"""Code of a warning -> what its rows have in common, as the end of a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWarning:
    """A problem that some rows of a run have."""

    code: str
    """A key of `MESSAGES`."""
    rows: int
    """Number of rows that have the problem."""
    of: int
    """Number of all rows."""

    def __str__(self) -> str:
        return f"{self.rows} of {self.of} rows {spelled(MESSAGES[self.code])}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixAnswer:
    """An answer of the first row that is a prefix of another answer."""

    answer: str

    def __str__(self) -> str:
        return f"The answer {self.answer!r} is a prefix of another answer, which can therefore never have a higher summed score"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikeAnswers:
    """Answers of the first row that differ only in case, white space or Unicode form."""

    answers: tuple[str, ...]

    def __str__(self) -> str:
        return f"The answers {', '.join(map(visible, self.answers))} differ only in case, white space or Unicode form"


def row_warnings(samples: Sequence[RowRecord]) -> list[RowWarning | PrefixAnswer | AlikeAnswers]:
    """Returns the problems that the evaluated rows of a run have."""
    evaluated = {(row.get("fold", 0), inputs_of(row["id"])) for row in samples}
    most_demos, too_long = max(map(_count_demos, samples)), count_too_long(samples)
    counts = {
        "seen-rows": count_seen(samples),
        "dropped-demonstrations": too_long["truncated"],
        "skipped": too_long["skipped"],
        "no-answer": sum(row.get("no_answer", False) for row in samples),
        "rescored-tokens": sum(bool(row.get("boundary")) for row in samples),
        "fewer-demonstrations": sum(_count_demos(row) < most_demos for row in samples),
        "evaluated-demonstration": sum(
            any((row.get("fold", 0), inputs_of(demo)) in evaluated for demo in row.get("demos", ())) for row in samples
        ),
        "contradictory-labels": _count_contradictory(samples),
        "may-think": sum("may_think" in row for row in samples),
        "unclosed-thought": sum(any("unclosed_thought" in text for text in row.get("generations", ())) for row in samples),
        "max-tokens": sum(any(text["ended"] == "length" for text in row.get("generations", ())) for row in samples),
    }
    warnings = [RowWarning(code=code, rows=count, of=len(samples)) for code, count in counts.items() if count]
    scored = next((row for row in samples if "continuations" in row), None)
    if scored is None:
        return [*warnings]
    prefix = _prefix_of_another([continuation["text"] for continuation in scored["continuations"]])
    alike = labels_alike(tuple(scored.get("logprobs", ())))
    return [
        *warnings,
        *([] if prefix is None else [PrefixAnswer(answer=prefix)]),
        *([AlikeAnswers(answers=alike)] if alike else []),
    ]


def count_too_long(samples: Sequence[RowRecord]) -> TooLongCounts:
    """Counts the evaluated rows that lost demonstrations or were skipped because their prompts are too long."""
    return {
        "truncated": sum(bool(row.get("dropped")) for row in samples),
        "skipped": sum(row.get("skipped", False) for row in samples),
    }


def seen_warnings(samples: Sequence[RowRecord]) -> list[str]:
    """Returns a warning if the predictor was fitted on evaluated rows."""
    count = count_seen(samples)
    return [str(RowWarning(code="seen-rows", rows=count, of=len(samples)))] if count else []


def count_seen(samples: Sequence[RowRecord]) -> int:
    """Counts the evaluated rows that the predictor was fitted on."""
    return sum(row.get("seen", False) for row in samples)


def count_no_answer(samples: Sequence[RowRecord]) -> int:
    """Counts the evaluated rows that were sent to the model and in whose reply or generated texts no answer was found."""
    return sum(row.get("prediction", "") is None and not row.get("skipped") for row in samples)


def _count_demos(row: RowRecord) -> int:
    return len(row.get("demos", ())) + len(row.get("dropped", ()))


def _count_contradictory(samples: Sequence[RowRecord]) -> int:
    """Returns the number of rows that have the same inputs as another row but a different label or other answers."""
    answers: dict[str, set[tuple[str, ...]]] = {}
    labeled = [(inputs_of(row["id"]), tuple(row.get("accepted", (row["gold"],)))) for row in samples if "gold" in row]
    for inputs, accepted in labeled:
        answers.setdefault(inputs, set()).add(accepted)
    return sum(len(answers[inputs]) > 1 for inputs, _ in labeled)


def _prefix_of_another(texts: Sequence[str]) -> str | None:
    return next((text for text in texts if any(other != text and other.startswith(text) for other in texts)), None)
