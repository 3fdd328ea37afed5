"""The predictions of baselines, and the metric that candidates are compared by."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.classical.baseline import AnyBaseline, Rows
from promptkit.core.errors import InputError
from promptkit.core.metric_input import MetricInput
from promptkit.core.output_reader import OutputReader
from promptkit.evaluation.baseline_records import predicted_records
from promptkit.evaluation.baselines import OUTPUTS
from promptkit.evaluation.metric_checks import unanswered_input
from promptkit.metrics.base import Metric
from promptkit.metrics.requested import RequestedMetric, check
from promptkit.metrics.table import applicable, defaults
from promptkit.runs.baseline_files import BaselineRecord, metric_input
from promptkit.tasks.task import Task
from promptkit.tuning.folds import TuningRows


def baseline_predictions(baselines: Sequence[AnyBaseline], rows: TuningRows, reader: OutputReader) -> list[MetricInput]:
    """Returns the predictions of each baseline for all rows, in their order; each row is predicted from the other folds.

    Args:
        baselines: The baselines.
        rows: The labeled rows and their folds.
        reader: The first aligner of the prompts, which judges free answers.
    """
    task = rows.task
    records: dict[str, BaselineRecord] = {}
    for number in range(1, rows.of + 1):
        fold = rows.task_of_fold(number).held_out
        assert fold is not None
        records |= {record["id"]: record for record in predicted_records(baselines, fold.others, fold.rows, task.spec, reader)}
    ordered = [records[row.id] for row in rows.rows]
    return [metric_input(ordered, each.name, OUTPUTS[task.spec.kind], task.labels) for each in baselines]


def predictions_of(baseline: AnyBaseline, train: Rows, evaluated: Rows, task: Task, reader: OutputReader) -> MetricInput:
    """Returns the predictions of a baseline for rows, from other rows.

    Args:
        baseline: The baseline.
        train: The rows that it is fitted on.
        evaluated: The rows that it predicts.
        task: The task of the rows.
        reader: The first aligner, which judges free answers.
    """
    records = predicted_records([baseline], train, evaluated, task.spec, reader)
    return metric_input(records, baseline.name, OUTPUTS[task.spec.kind], task.labels)


def compared_metric(requested: RequestedMetric | None, reader: OutputReader, task: Task) -> Metric:
    """Returns the metric that candidates are compared by.

    Args:
        requested: The metric that the user requests; None for the main metric of the task.
        reader: The first aligner of the prompts.
        task: The task.

    Raises:
        InputError: The metric does not apply to the predictions.
    """
    predictions = unanswered_input(reader, task)
    if requested is None:
        return next(iter(defaults(predictions).values()))
    check((requested,), predictions)
    if isinstance(requested, Metric):
        return requested
    found = applicable(predictions)
    if requested not in found:
        raise InputError(
            f"Candidates cannot be compared by {requested}",
            code="metric-not-applicable",
            hint=f"Choose one of {', '.join(found)}",
            metric=requested,
        )
    return found[requested]
