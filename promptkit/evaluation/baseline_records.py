"""Turns the predictions of baselines into the records of their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, log

from promptkit.classical.baseline import AnyBaseline, NumberBaseline, Rows, Scores, predicted
from promptkit.core.answer_record import DECIMALS
from promptkit.core.examples import JOINT, LabeledExample
from promptkit.core.output_reader import OutputReader
from promptkit.runs.baseline_files import BaselineRecord, prediction_of
from promptkit.tasks.scale import as_number
from promptkit.tasks.spec import TaskSpec

HALF = log(0.5)
"""A label of a multi-label task is predicted if its log-probability is above this."""


def predicted_records(
    baselines: Sequence[AnyBaseline], train: Rows, evaluated: Rows, spec: TaskSpec, reader: OutputReader
) -> list[BaselineRecord]:
    """Returns the record of each evaluated row.

    Args:
        baselines: The baselines.
        train: The rows that they are fitted on.
        evaluated: The evaluated rows.
        spec: The task file, which defines the kind of answers.
        reader: The first aligner of the run, which judges free answers.
    """
    train, evaluated = ([_compared(row, reader) for row in rows] for rows in (train, evaluated))
    items, labels = [row.unlabeled() for row in evaluated], tuple(spec.labels or ())
    numbers = {each.name: each.predict_values(train, items) for each in baselines if isinstance(each, NumberBaseline)}
    scores = {
        each.name: [_as_scores(value, spec) for value in numbers[each.name]]
        if isinstance(each, NumberBaseline)
        else each.predict(train, items, labels)
        for each in baselines
    }
    records = []
    for index, row in enumerate(evaluated):
        of_row = {name: each[index] for name, each in scores.items()}
        record = _record(row, of_row, spec, reader)
        if spec.numeric or spec.scale is not None:
            known = {name: values[index] for name, values in numbers.items()}
            record = _with_values(record, row, {name: known.get(name, _value(each, spec)) for name, each in of_row.items()})
        records.append(record)
    return records


def _compared(row: LabeledExample, reader: OutputReader) -> LabeledExample:
    """Returns a row with the parts of its correct texts that answers are compared with."""
    if not row.accepted:
        return row
    return replace(row, label=reader.compared(row.label), accepted=tuple(map(reader.compared, row.accepted)))


def _as_scores(value: float, spec: TaskSpec) -> Scores:
    """Returns the answer that a predicted number means: the nearest label of the scale, or the number as text."""
    scale = spec.scale
    if scale is None:
        return {f"{value:.6g}": 0.0}
    return {min(scale, key=lambda label: abs(scale[label] - value)): 0.0}


def _value(scores: Scores, spec: TaskSpec) -> float | None:
    """Returns the expected value of labels on a scale, or the number that a predicted text is."""
    if spec.scale is None:
        return as_number(predicted(scores))
    total = sum(map(exp, scores.values()))
    return sum(exp(logprob) * spec.scale[label] for label, logprob in scores.items()) / total


def _with_values(record: BaselineRecord, row: LabeledExample, values: Mapping[str, float | None]) -> BaselineRecord:
    rounded = {name: None if value is None else round(value, DECIMALS) for name, value in values.items()}
    return record if row.value is None else {**record, "gold_value": row.value, "values": rounded}


def _record(row: LabeledExample, scores: Mapping[str, Scores], spec: TaskSpec, reader: OutputReader) -> BaselineRecord:
    answers = tuple(spec.labels or row.choices)
    if row.accepted:
        predictions = {name: predicted(each) for name, each in scores.items()}
        correct = {name: reader.is_correct(answer, row.accepted) for name, answer in predictions.items()}
        fields = {name: dict(reader.correct_fields(answer, row.accepted)) for name, answer in predictions.items()}
        record: BaselineRecord = {"id": row.id, "accepted": [*row.accepted], "predictions": predictions, "correct": correct}
        return {**record, "fields": fields} if any(fields.values()) else record
    logprobs = {
        name: [round(each[answer], DECIMALS) if answer in each else None for answer in answers] for name, each in scores.items()
    }
    if spec.multi_label:
        return _label_set_record(row, scores, logprobs, answers)
    predictions = {name: prediction_of(each, answers) for name, each in logprobs.items()}
    return {
        "id": row.id,
        "gold": answers.index(row.label),
        "accepted": [row.label],
        "predictions": predictions,
        "correct": {name: answer == row.label for name, answer in predictions.items()},
        "logprobs": logprobs,
    }


def _label_set_record(
    row: LabeledExample, scores: Mapping[str, Scores], logprobs: dict[str, list[float | None]], labels: Sequence[str]
) -> BaselineRecord:
    sets = {name: [label for label in labels if each.get(label, -1.0) > HALF] for name, each in scores.items()}
    return {
        "id": row.id,
        "gold_labels": [*row.labels],
        "accepted": [row.label],
        "predictions": {name: JOINT.join(members) for name, members in sets.items()},
        "correct": {name: members == [*row.labels] for name, members in sets.items()},
        "predicted_labels": sets,
        "logprobs": logprobs,
    }
