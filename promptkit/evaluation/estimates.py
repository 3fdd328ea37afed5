"""Converts the results of a run to the estimate that is saved with a predictor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from promptkit.predictor.estimate import Estimate, Figure
from promptkit.predictor.out_of_fold import OutOfFold
from promptkit.runs.result import Result
from promptkit.runs.run import Run


def estimate_of(run: Run, result: Result, *, command: str = "") -> Estimate:
    """Returns the results of one branch of a run, with the results of the baselines on the same rows.

    Args:
        run: The run.
        result: The branch.
        command: The command that repeats the run.
    """
    baselines = () if run.baselines is None else run.baselines.results
    return Estimate(
        task=run.task,
        split=run.split,
        rows=len(run.ids),
        folds=run.folds,
        metrics=_figures(result.metrics),
        baselines={baseline.name: _figures(baseline.metrics) for baseline in baselines},
        notes=tuple(_notes(run)),
        command=command,
    )


def out_of_fold_of(run: Run, result: Result) -> OutOfFold | None:
    """Returns the probabilities of the rows of a run; None for generated texts and for rows with their own choices."""
    if result.metric_input.kind != "labels":
        return None
    return OutOfFold.of_metric_input(result.metric_input, run.labels, folds=run.folds)


def _notes(run: Run) -> Iterator[str]:
    """Yields warnings about the figures; they do not depend on how the run was executed."""
    if run.seen_rows:
        yield f"{run.seen_rows} of the rows were used for fitting, so the figures are too high"
    if run.no_answer:
        yield f"{run.no_answer} of the rows have no answer and count as wrong"
    if run.too_long["skipped"]:
        yield f"{run.too_long['skipped']} of the rows are too long for the model and count as wrong"


def _figures(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, Figure]:
    return {name: Figure(**values) for name, values in metrics.items()}
