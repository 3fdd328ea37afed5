"""The results of a run in its files: `predictions.jsonl` for readers, and `results.safetensors` for exact numbers.

`results.safetensors` contains the input of the metrics of each branch and its label maps, as `core.state` converts them. A
finished run is read from it without the task, the model or another fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from promptkit.align.labelmap.mapping import LabelMap
from promptkit.core.metric_input import MetricInput
from promptkit.core.state import State, from_state, to_state
from promptkit.runs.result import Result
from promptkit.runs.rows import EvaluatedRow
from promptkit.runs.schema import BranchSummary, PredictionRecord

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

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
        yield record


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
