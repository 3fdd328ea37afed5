"""Writes the results of baselines beside a run, and reads them.

    baselines.json    the results of each baseline, the rows that it was fitted on as a hash, and the sha256 of baselines.jsonl
    baselines.jsonl   one record per evaluated row, in the run's order: the prediction and the scores of each baseline

They are not part of the run's identity: a run without them can get them later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict, cast

import numpy as np

from promptkit.core.files import write_atomically
from promptkit.core.hashing import sha256_hex
from promptkit.core.metric_input import MetricInput
from promptkit.core.records import Record
from promptkit.runs.baselines import BaselineResult, Baselines
from promptkit.runs.files import expect, parse_record, read_json, to_file, to_line

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

BaselineKind = Literal["labels", "label_sets", "choices", "texts"]
"""What a baseline predicts: one of the labels that all rows share, a set of them, one of each row's own choices, or a text."""
SUMMARY, ROWS = "baselines.json", "baselines.jsonl"


class BaselineRecord(Record):
    """A line of `baselines.jsonl`."""

    gold: NotRequired[int]
    """Index of the correct label or choice; absent for free answers and sets of labels."""
    gold_labels: NotRequired[list[str]]
    """The correct set of labels."""
    gold_value: NotRequired[float]
    """The number of the row, if there is one."""
    accepted: list[str]
    """The accepted answers."""
    predictions: dict[str, str]
    """Baseline -> prediction."""
    correct: dict[str, bool]
    """Baseline -> whether the prediction is correct."""
    logprobs: NotRequired[dict[str, list[float | None]]]
    """Baseline -> the log-probability of each label or choice, None for a probability of 0; absent for free answers."""
    fields: NotRequired[dict[str, dict[str, bool]]]
    """Baseline -> field of a JSON answer -> whether it is correct."""
    predicted_labels: NotRequired[dict[str, list[str]]]
    """Baseline -> the predicted set of labels."""
    values: NotRequired[dict[str, float | None]]
    """Baseline -> the predicted number; None for a text that is none."""


class _ResultSummary(TypedDict):
    name: str
    description: str
    metrics: dict[str, dict[str, float]]
    predicted: dict[str, int]


class BaselineSummary(TypedDict):
    """The contents of `baselines.json`."""

    identity: str
    """Hash of everything that determines the results: the training rows, the evaluated rows and the baselines."""
    rows: int
    """Number of training rows; with folds, the smallest number of all folds."""
    folds: int
    """Number of folds; 0 without folds."""
    kind: BaselineKind
    """What was predicted."""
    labels: list[str]
    """The labels that all rows share; empty if they share none."""
    results: list[_ResultSummary]
    sha256: str
    """Hash of `baselines.jsonl`."""


def write_baselines(
    folder: Path,
    baselines: Baselines,
    records: Sequence[BaselineRecord],
    *,
    identity: str,
    kind: BaselineKind,
    labels: Sequence[str],
) -> None:
    """Writes baselines into the folder of a run.

    Args:
        folder: The run's folder.
        baselines: The results.
        records: The record of each row.
        identity: Hash of everything that determines the results.
        kind: What was predicted.
        labels: The labels that all rows share; empty if they share none.
    """
    rows = "".join(to_line(cast("Mapping[str, object]", record)) + "\n" for record in records).encode()
    results = [result.to_json() for result in baselines.results]
    summary = {
        "identity": identity,
        "rows": baselines.rows,
        "folds": baselines.folds,
        "kind": kind,
        "labels": list(labels),
        "results": results,
        "sha256": sha256_hex(rows),
    }
    write_atomically(folder / ROWS, rows)
    write_atomically(folder / SUMMARY, to_file(summary))


def write_missing(folder: Path, reason: str) -> None:
    """Writes why a run has no baselines into its folder, unless it contains some."""
    if not (folder / ROWS).is_file():
        write_atomically(folder / SUMMARY, to_file({"missing": reason}))


def read_missing(folder: Path) -> str | None:
    """Returns why a run has no baselines; None if it has some, or none were evaluated."""
    summary = read_json(folder / SUMMARY)
    return str(summary["missing"]) if isinstance(summary, dict) and "missing" in summary else None


def read_baselines(folder: Path, identity: str | None = None) -> Baselines | None:
    """Returns the baselines in a run's folder; None if it has none, they are incomplete, or their identity is another one.

    Args:
        folder: The run's folder.
        identity: Hash of everything that determines the results; any if None.

    Raises:
        RunError: A file is damaged.
    """
    summary = cast("BaselineSummary | None", read_json(folder / SUMMARY))
    if summary is None or not (folder / ROWS).is_file():
        return None
    content = (folder / ROWS).read_bytes()
    with expect(folder / SUMMARY, "the results of baselines"):
        if sha256_hex(content) != summary["sha256"] or identity not in (None, summary["identity"]):
            return None
        lines = enumerate(content.splitlines(), start=1)
        records = cast("list[BaselineRecord]", [parse_record(folder / ROWS, number, line) for number, line in lines])
        results = tuple(
            BaselineResult(
                name=each["name"],
                description=each["description"],
                metrics=each["metrics"],
                predicted=each["predicted"],
                predictions=tuple(record["predictions"][each["name"]] for record in records),
                metric_input=metric_input(records, each["name"], summary["kind"], summary["labels"]),
            )
            for each in summary["results"]
        )
        return Baselines(rows=summary["rows"], folds=summary["folds"], results=results)


def metric_input(records: Sequence[BaselineRecord], baseline: str, kind: BaselineKind, labels: Sequence[str]) -> MetricInput:
    """Returns the input of the metrics of one baseline.

    Args:
        records: The record of each row.
        baseline: Name of the baseline.
        kind: What was predicted.
        labels: The labels that all rows share; empty if they share none.
    """
    inputs = _answers_input(records, baseline, kind, labels).with_folds([record.get("fold", 0) for record in records])
    if not all("gold_value" in record for record in records):
        return inputs
    values = [record["values"][baseline] for record in records]
    gold = np.array([record["gold_value"] for record in records], float)
    return inputs.with_values(gold, np.array([np.nan if value is None else value for value in values], float))


def _answers_input(records: Sequence[BaselineRecord], baseline: str, kind: BaselineKind, labels: Sequence[str]) -> MetricInput:
    """Returns the input of the metrics without numbers."""
    predictions = [record["predictions"][baseline] for record in records]
    accepted = [record["accepted"] for record in records]
    if kind == "texts":
        correct = np.array([record["correct"][baseline] for record in records], float)
        inputs = MetricInput.of_texts(correct, predictions, accepted)
        return _with_fields(inputs, [record["fields"][baseline] for record in records if "fields" in record])
    scores = [record["logprobs"][baseline] for record in records]
    logprobs: Floats = np.full((len(scores), max(map(len, scores))), -np.inf)
    for row, values in zip(logprobs, scores, strict=True):
        row[: len(values)] = [-np.inf if value is None else value for value in values]
    if kind == "label_sets":
        gold, predicted = (
            np.array([[label in each for label in labels] for each in sets], bool)
            for sets in (
                [record["gold_labels"] for record in records],
                [record["predicted_labels"][baseline] for record in records],
            )
        )
        return MetricInput.of_label_sets(gold, predicted, labels, logprobs=logprobs)
    return MetricInput.of_scores(
        np.array([record["gold"] for record in records], int),
        logprobs,
        kind=kind,
        labels=labels,
        predictions=predictions,
        accepted=accepted,
    )


def _with_fields(inputs: MetricInput, fields: Sequence[Mapping[str, bool]]) -> MetricInput:
    """Returns the input with the fields of JSON answers that are correct. Answers of baselines are valid."""
    if not fields:
        return inputs
    shares = {name: np.array([row[name] for row in fields], float) for name in fields[0]}
    return inputs.with_fields(shares, np.ones(len(inputs), bool))


def prediction_of(logprobs: Sequence[float | None], answers: Sequence[str]) -> str:
    """Returns the answer with the highest log-probability; ties go to the first."""
    scores = [-np.inf if value is None else value for value in logprobs]
    return answers[scores.index(max(scores))]
