"""The types of the JSON objects in a run's files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from promptkit.core.records import Record


class RunSettings(TypedDict):
    """The contents of `run.json`: everything that determines a run's results."""

    promptkit: str
    """The version of promptkit."""
    task: dict[str, object]
    split: str
    limit: int | None
    folds: NotRequired[int]
    """Number of folds; absent without folds."""
    rows: str
    """Hash of the evaluated rows."""
    row_ids: NotRequired[str]
    """Hash of the user's own ids of the evaluated rows; absent if no column of ids is named."""
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


class Origin(TypedDict):
    """The contents of `origin.json`: where a run was evaluated, on this machine or another one."""

    folder: str
    """The current folder, which relative paths in the options are relative to."""
    task: dict[str, object] | None
    """The options that load the task, with absolute paths; None if its rows were in memory."""


class EvaluatedRecord(Record):
    """An evaluated row: a line of a shard's `rows.jsonl`, and the first fields of a line of `predictions.jsonl`."""

    row_id: NotRequired[str]
    """The id in the column that the user named; absent if none was named."""
    inputs: dict[str, str]
    """Variable -> the text that the template shows; for a file or an array, the hash of its content."""
    choices: NotRequired[list[str]]
    """The answer choices of the row; absent if all rows have the same labels, and for free texts."""
    gold: str
    """The label or a correct answer."""
    accepted: NotRequired[list[str]]
    """For free-text answers, all correct texts."""


class LabelSetFields(TypedDict, total=False):
    """The fields of a line of `predictions.jsonl` that only multi-label tasks have."""

    gold_labels: list[str]
    """The labels that apply to the row."""
    predicted_labels: dict[str, list[str] | None]
    """Branch -> the predicted labels; None for a row without an answer."""


class ValueFields(TypedDict, total=False):
    """The fields of a line of `predictions.jsonl` that only tasks with a numeric scale have."""

    gold_value: float
    """The number of the row."""
    values: dict[str, float | None]
    """Branch -> the expected value; None for a row without an answer."""


class PredictionRecord(EvaluatedRecord, LabelSetFields, ValueFields):
    """A line of `predictions.jsonl`."""

    predictions: dict[str, str | None]
    """Branch -> prediction."""
    correct: dict[str, bool]
    """Branch -> whether the prediction is correct."""
    probabilities: NotRequired[dict[str, dict[str, float]]]
    """Branch -> label or choice -> probability, empty for a row without an answer; absent for free texts."""


class TooLongCounts(TypedDict):
    """The numbers of evaluated rows whose prompts with all demonstrations do not fit the model's context."""

    truncated: int
    """Rows with a prompt that lost demonstrations."""
    skipped: int
    """Rows that were not sent to the model; they count as wrong."""


class BranchSummary(TypedDict):
    """The metrics of one branch in `summary.json`."""

    align: str
    metrics: Mapping[str, Mapping[str, float]]
    predicted: Mapping[str, int]


class RunTitle(TypedDict):
    """What a run evaluates."""

    task: str
    split: str
    n: int
    """Number of evaluated rows."""
    model: str
    folds: NotRequired[int]
    """Number of folds; absent without folds."""


class RunResults(RunTitle):
    """The contents of `summary.json` besides the hashes of files."""

    labels: list[str]
    """The labels in the declared order; empty if rows have different answer choices, and for free texts."""
    too_long: TooLongCounts
    no_answer: int
    """Number of evaluated rows that were sent to the model and have no answer; they count as wrong."""
    seen_rows: int
    """Number of evaluated rows that the predictor was fitted on, so that the metrics are no estimate for new rows."""
    notes: list[str]
    """Warnings and remarks about the run that do not depend on its execution."""
    results: list[BranchSummary]


class RunSummary(RunResults):
    """The contents of `summary.json`, which marks a run as finished."""

    sha256: dict[str, str]
    """File name -> hash of its contents."""


class ShardSummary(TypedDict):
    """The contents of `shard.json`, which marks a shard as finished."""

    shard: tuple[int, int]
    """Number of the shard, from 1, and number of shards."""
    order: dict[str, list[str]]
    """File -> keys of the records of the whole run, in order."""
    sha256: dict[str, str]


class Timing(TypedDict):
    """The contents of `timing.json`: what differs between executions of the same run."""

    seconds: float
    examples_per_second: float
    resumed: int
    """Number of rows that an earlier execution had computed."""
    notes: list[str]
