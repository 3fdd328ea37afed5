"""The fields of a row's record that come from the model's answer."""

from __future__ import annotations

from typing import Literal, TypedDict

DECIMALS = 6
"""Decimals of log-probabilities in records."""


class ContinuationRecord(TypedDict):
    """A scored continuation."""

    text: str
    logprobs: list[float]
    """Log-probability of each token."""


class _TextProblems(TypedDict, total=False):
    unclosed_thought: bool
    """True if a thought in the text is not closed; absent otherwise."""
    problems: dict[str, str]
    """For a JSON answer that is not valid under its schema, field -> what is wrong with it, such as `missing`; absent
    otherwise. The empty field stands for the object as a whole."""


class GenerationRecord(_TextProblems):
    """A generated text."""

    text: str
    tokens: int
    ended: Literal["stop", "end", "length"]
    answer: str | None
    """The extracted answer, or None if the text has none."""


class AnswerRecord(TypedDict, total=False):
    """What the first aligner records of a model's answer to a row.

    Scored rows have `logprobs` or `log_odds`, and generated rows have `generations`; rows that were skipped, or whose reply
    names no label, have none of them. `gold`, `prediction` and `correct` are absent if the row has no label or its label may
    not be used.
    """

    gold: str
    accepted: list[str]
    """For free-text answers, all correct texts."""
    gold_labels: list[str]
    """For rows with any number of labels, the correct ones."""
    gold_value: float
    """The number of the row on the scale of its task, if there is one."""
    prediction: str | None
    """The predicted answer, or None if there is none; absent if the aligner alone predicts nothing."""
    correct: bool
    skipped: bool
    """True if the row was not sent to the model, because its prompt does not fit the context; absent otherwise."""
    no_answer: bool
    """True if the label was read from a chat reply that names none; absent otherwise."""
    logprobs: dict[str, float]
    """Label or choice -> score."""
    log_odds: dict[str, float]
    """For rows with any number of labels, label -> log p(applies) - log p(does not apply)."""
    continuations: list[ContinuationRecord]
    given: list[int]
    """For channel prompts, the number of label tokens at the start of each continuation."""
    generations: list[GenerationRecord]


GOLD_KEYS = ("gold", "gold_labels", "gold_value", "accepted")
"""The keys of a record that contain the correct answer of its row."""
SCORE_KEYS = ("logprobs", "log_odds")
"""The keys of a record that contain scores of labels."""


def is_answered(record: AnswerRecord) -> bool:
    """Returns whether a row has an answer of the model; a generated text without an answer is one."""
    return not (record.get("skipped") or record.get("no_answer"))
