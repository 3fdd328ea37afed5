"""The types of the JSON objects in a run's files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from promptkit.core.answer_record import AnswerRecord, is_answered
from promptkit.core.asking import ReadField


class RunSettings(TypedDict):
    """The contents of `run.json`: everything that determines a run's results."""

    promptkit: str
    """The version of promptkit."""
    task: dict[str, object]
    split: str
    limit: int | None
    rows: str
    """Hash of the evaluated rows."""
    parts: dict[str, str]
    """Part of the train split that the manipulation uses -> hash of its rows."""
    fit: str
    """Hash of the rows that calibrations use."""
    model: dict[str, object]
    """Identity of the model."""
    models: dict[str, dict[str, object]]
    """Name of each other model that the manipulation queries -> its identity."""
    manipulate: dict[str, object]
    align: list[list[dict[str, object]]]
    """For each branch, the settings of its aligners."""


class Record(TypedDict):
    """A line of any `.jsonl` file of a run."""

    id: str


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


class PredictionRecord(Record):
    """A line of `predictions.jsonl`."""

    gold: str
    predictions: dict[str, str | None]
    """Branch -> prediction."""
    correct: dict[str, bool]
    """Branch -> whether the prediction is correct."""


class TooLongCounts(TypedDict):
    """The numbers of evaluated rows whose prompts with all demonstrations do not fit the model's context."""

    truncated: int
    """Rows with a prompt that lost demonstrations."""
    skipped: int
    """Rows that were not sent to the model; they count as wrong."""


class BranchSummary(TypedDict):
    """The metrics of one branch in `summary.json`."""

    align: str
    metrics: dict[str, dict[str, float]]
    predicted: dict[str, int]


class RunSummary(TypedDict):
    """The contents of `summary.json`, which marks a run as finished."""

    task: str
    split: str
    n: int
    model: str
    too_long: TooLongCounts
    no_answer: int
    """Number of evaluated rows that were sent to the model and have no answer; they count as wrong."""
    results: list[BranchSummary]
    sha256: dict[str, str]
    """File name -> hash of its contents."""


class ShardSummary(TypedDict):
    """The contents of `shard.json`, which marks a shard as finished."""

    shard: tuple[int, int]
    """Number of the shard, from 1, and number of shards."""
    order: dict[str, list[str]]
    """File -> ids of the records of the whole run, in order."""
    sha256: dict[str, str]


class Timing(TypedDict):
    """The contents of `timing.json`: what differs between executions of the same run."""

    seconds: float
    examples_per_second: float
    resumed: int
    """Number of rows that an earlier execution had computed."""
    notes: list[str]
