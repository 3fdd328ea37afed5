"""The rows of one or several runs as the data of the item browser.

branches   name and number of the run of each branch
runs       the name of each run
labels     the labels that all rows share; empty if they share none
parts      the distinct texts of prompts
rows       the rows: their inputs and gold answers, the answer of each branch (`a`), and for each run the record of the
           model's answer (`r`)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite
from typing import TYPE_CHECKING, cast

from promptkit.core.records import RowRecord
from promptkit.reports.blocks import Items
from promptkit.reports.compressed import packed
from promptkit.runs.finished import read_rows
from promptkit.runs.prompts import Prompts, read_prompts
from promptkit.runs.rows import EvaluatedRow
from promptkit.runs.run import Run

if TYPE_CHECKING:
    from promptkit.runs.result import Result

KEYS = frozenset(
    ("id", "logprobs", "log_odds", "continuations", "generations", "reasoning", "demos", "dropped", "tokens", "seen", "skipped")
)
"""The fields of records that the browser shows."""
TEXTS = frozenset({"reasoning", "generations", "continuations"})
"""Fields with texts of the prompt or the model."""
SCORES = frozenset({"logprobs", "log_odds"})
"""Fields with the names of labels, or of the choices of a row, which are texts."""
DIGITS = 4
"""Decimals of probabilities and log-probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowsedRun:
    """A run whose rows are browsed."""

    run: Run
    records: Mapping[str, RowRecord]
    """Id of a row -> the record of its answer."""
    prompts: Prompts
    """The prompts of its rows, if it has recorded them."""

    @classmethod
    def read(cls, run: Run) -> BrowsedRun:
        """Reads the records of a run."""
        _, samples, _ = read_rows(run.path, KEYS)
        records = {record["id"]: record for record in samples}
        return cls(run=run, records=records, prompts=read_prompts(run.path))


def items_block(runs: Sequence[Run], names: Sequence[str], *, text: bool, images: Mapping[str, str] | None = None) -> Items:
    """Returns the browser of the rows that all runs have.

    Args:
        runs: The runs, of the same task.
        names: The names of the runs.
        text: Whether the texts of the data are included.
        images: Hash of an image in the inputs -> its thumbnail, as a data URL.
    """
    browsed = [BrowsedRun.read(run) for run in runs]
    first = runs[0]
    shared = [row for row in first.evaluated if all(row.id in each.records for each in browsed)]
    positions = [{row.id: index for index, row in enumerate(run.evaluated)} for run in runs]
    branches = [(number, result) for number, run in enumerate(runs) for result in run.results]
    probabilities = [result.metric_input.probabilities for _, result in branches]
    starts = [0, *accumulate(len(each.prompts.parts) for each in browsed[:-1])]
    rows = []
    for row in shared:
        answers = [
            _answer(result, positions[number][row.id], each, row if text or first.labels else None)
            for (number, result), each in zip(branches, probabilities, strict=True)
        ]
        records = [_record(each.records[row.id], text=text, has_labels=bool(first.labels)) for each in browsed]
        for record, each, start in zip(records, browsed, starts, strict=True):
            if text and row.id in each.prompts.rows:
                record["prompt"] = [start + number for number in each.prompts.rows[row.id]]
        rows.append({**_head(row, text=text, has_labels=bool(first.labels)), "a": answers, "r": records})
    data = {
        "branches": [{"name": result.align, "run": number} for number, result in branches],
        "runs": list(names),
        "labels": list(first.labels),
        "images": dict(images or {}),
        "text": text,
        "parts": [list(part) for each in browsed for part in each.prompts.parts] if text else [],
        "rows": rows,
    }
    return Items(data=packed(data), count=len(rows))


def _head(row: EvaluatedRow, *, text: bool, has_labels: bool) -> dict[str, object]:
    """Returns the row itself. Without texts, gold answers are kept if they are labels that all rows share."""
    head: dict[str, object] = {"id": row.id}
    if row.row_id is not None:
        head["row"] = row.row_id
    if row.fold:
        head["fold"] = row.fold
    if text or has_labels:
        head["gold"] = row.gold
    if text:
        head["in"] = dict(row.inputs)
        if row.choices:
            head["choices"] = list(row.choices)
        if len(row.accepted) > 1:
            head["accepted"] = list(row.accepted)
    return head


def _answer(result: Result, index: int, probabilities: object, row: EvaluatedRow | None) -> list[object]:
    """Returns whether a prediction is correct, the prediction, the probabilities, and the predicted value if there is one."""
    rows = result.metric_input
    answered = bool(rows.answered[index])
    values = cast("Sequence[Sequence[float]]", probabilities)[index]
    numbers = [round(float(value), DIGITS) for value in values] if answered else []
    if row is not None and row.choices:
        numbers = numbers[: len(row.choices)]
    prediction = result.predictions[index] if row is not None else None
    answer: list[object] = [int(rows.correct[index]), prediction, numbers, int(answered)]
    if rows.predicted_values is not None and isfinite(value := float(rows.predicted_values[index])):
        answer.append(value)
    return answer


def _record(record: RowRecord, *, text: bool, has_labels: bool) -> dict[str, object]:
    """Returns what the browser shows of a record, with rounded numbers and without what is empty."""
    hidden = {"id"} if text else {"id", *TEXTS, *(() if has_labels else SCORES)}
    return {name: _rounded(value) for name, value in record.items() if name not in hidden and value not in ([], None)}


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, DIGITS) if isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value
