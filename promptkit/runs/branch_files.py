"""The results of a run in its files: `predictions.jsonl` for readers, and `results.safetensors` for exact numbers.

`results.safetensors` contains the input of the metrics of each branch and its label maps, as `core.state` converts them. A
finished run is read from it without the task, the model or another fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, cast

import numpy as np

from promptkit.align.labelmap.mapping import LabelMap
from promptkit.core.metric_input import MetricInput
from promptkit.core.state import State, from_state, to_state
from promptkit.runs.result import Result
from promptkit.runs.rows import EvaluatedRow
from promptkit.runs.schema import BranchSummary, LabelSetFields, PredictionRecord, ValueFields

if TYPE_CHECKING:
    from promptkit.core.arrays import Bools, Floats

DIGITS = 6
"""Significant digits of probabilities in `predictions.jsonl`."""
_STATE = "state"
"""The tensor with the JSON value of the state, in UTF-8."""


def prediction_records(
    rows: Sequence[EvaluatedRow], labels: Sequence[str], results: Sequence[Result]
) -> Iterator[PredictionRecord]:
    """Yields the lines of `predictions.jsonl`.

    Args:
        rows: The evaluated rows.
        labels: The labels of all rows; empty if rows have different answer choices, and for free texts.
        results: The results of each branch.
    """
    probabilities = {result.align: result.metric_input.probabilities for result in results}
    has_scores = any(values.shape[1] for values in probabilities.values())
    for index, row in enumerate(rows):
        answers = {
            "predictions": {result.align: result.predictions[index] for result in results},
            "correct": {result.align: bool(result.correct[index]) for result in results},
        }
        record = cast("PredictionRecord", {**row.to_record(), **answers})
        if has_scores:
            names = labels or row.choices
            record["probabilities"] = {align: by_label(names, each[index]) for align, each in probabilities.items()}
        yield {**record, **_label_sets(results, index), **_values(results, index)}


def _label_sets(results: Sequence[Result], row: int) -> LabelSetFields:
    """Returns the labels that apply to a row and those that each branch predicts, of a multi-label task."""
    inputs = {result.align: result.metric_input for result in results if result.metric_input.kind == "label_sets"}
    if not inputs:
        return {}
    first = next(iter(inputs.values()))
    return {
        "gold_labels": _members(first.labels, first.gold_sets[row]),
        "predicted_labels": {
            align: _members(each.labels, each.predicted_sets[row]) if each.answered[row] else None
            for align, each in inputs.items()
        },
    }


def _members(labels: Sequence[str], members: Bools) -> list[str]:
    return [label for label, is_member in zip(labels, members.tolist(), strict=True) if is_member]


def _values(results: Sequence[Result], row: int) -> ValueFields:
    """Returns the number of a row on a scale and the expected value of each branch, of a task with a scale."""
    predicted = {result.align: result.metric_input.predicted_values for result in results}
    gold = results[0].metric_input.gold_values
    if gold is None:
        return {}
    values = {align: float(each[row]) for align, each in predicted.items() if each is not None}
    rounded = {align: None if isnan(value) else float(f"{value:.{DIGITS}g}") for align, value in values.items()}
    return {"gold_value": float(gold[row]), "values": rounded}


def by_label(labels: Sequence[str], probabilities: Floats) -> dict[str, float]:
    """Returns label -> probability, rounded; empty for a row without an answer."""
    values = probabilities[: len(labels)].tolist()
    return {label: float(f"{value:.{DIGITS}g}") for label, value in zip(labels, values, strict=True)} if any(values) else {}


def results_to_bytes(results: Sequence[Result]) -> bytes:
    """Returns the contents of `results.safetensors`."""
    from safetensors.numpy import save

    state = to_state({result.align: (result.metric_input, result.label_maps) for result in results}, "branch")
    value = json.dumps(state.value, ensure_ascii=True).encode()
    return bytes(save({**state.arrays, _STATE: np.frombuffer(value, np.uint8)}))


def results_from_bytes(
    content: bytes, branches: Sequence[BranchSummary], predictions: Mapping[str, tuple[str | None, ...]]
) -> tuple[Result, ...]:
    """Returns the results of each branch of a run.

    Args:
        content: The contents of `results.safetensors`.
        branches: The results in the summary.
        predictions: Branch -> the prediction for each row.
    """
    from safetensors.numpy import load

    arrays = load(content)
    value = json.loads(arrays.pop(_STATE).tobytes())
    states = cast("Mapping[str, tuple[MetricInput, Mapping[int, LabelMap]]]", from_state(State(value=value, arrays=arrays)))
    return tuple(
        Result(
            align=branch["align"],
            metrics=branch["metrics"],
            predicted=branch["predicted"],
            predictions=predictions[branch["align"]],
            metric_input=states[branch["align"]][0],
            label_maps=states[branch["align"]][1],
        )
        for branch in branches
    )
