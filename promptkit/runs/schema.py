"""The types of the JSON objects in a run's files."""

from __future__ import annotations

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
    folds: NotRequired[int]
    """Number of folds; absent without folds."""
    too_long: TooLongCounts
    no_answer: int
    """Number of evaluated rows that were sent to the model and have no answer; they count as wrong."""
    seen_rows: int
    """Number of evaluated rows that the predictor was fitted on, so that the metrics are no estimate for new rows."""
    results: list[BranchSummary]
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
