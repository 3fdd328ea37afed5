"""Checks the metrics that a user requests before a model is loaded or answers."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.core.metric_input import MetricInput
from promptkit.core.output_reader import OutputReader
from promptkit.metrics.requested import RequestedMetric, check, parse_metrics
from promptkit.runs.recorded import record_metrics
from promptkit.runs.run import Run
from promptkit.tasks.task import Task


def requested_metrics(given: object, task: Task) -> tuple[RequestedMetric, ...]:
    """Returns the metrics that a user requests, by default the metrics of the task.

    Raises:
        InputError: There is no such metric.
    """
    return parse_metrics(task.spec.metrics, files=False) if given is None or given == () else parse_metrics(given)


def check_metrics(requested: Sequence[RequestedMetric], reader: OutputReader, task: Task) -> None:
    """Raises the errors of metrics that do not apply to the predictions of an aligner, or whose packages are missing.

    Args:
        requested: The metrics.
        reader: The aligner.
        task: The task. The predictions are those of rows without an answer.
    """
    if requested:
        check(requested, unanswered_input(reader, task))


def unanswered_input(reader: OutputReader, task: Task, split: str | None = None) -> MetricInput:
    """Returns the input of the metrics of rows without an answer, which has the kind of the predictions of an aligner.

    Args:
        reader: The aligner.
        task: The task.
        split: The split whose rows it contains; if None, the first row of the task's default split, or else of the pool.
    """
    rows = (task.rows(task.spec.split) or task.part("pool"))[:1] if split is None else task.rows(split)
    return reader.outcome([{**reader.unanswered(row), "no_answer": True} for row in rows]).metric_input


def with_requested(run: Run, requested: Sequence[RequestedMetric]) -> Run:
    """Returns a run with the metrics that a user requests, whose names are also written into its folder."""
    record_metrics(run.path, [name for name in requested if isinstance(name, str)])
    return run.with_metrics(*requested)
