"""Checks a run before a model is queried: its task, its predictors and the labels of its rows."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.collect.requirements import calibrations_of, check_calibration, check_fit_part, class_count
from promptkit.core.caller import setting
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import LabeledExample, gold_labels
from promptkit.core.fingerprints import SeenRows
from promptkit.core.need_context import Counts
from promptkit.core.output_reader import OutputReader
from promptkit.predictor.predictor import Predictor
from promptkit.tasks.task import Task, untested


def share_pass(one: Predictor, other: Predictor) -> bool:
    """Returns whether two predictors send the same requests, so that one pass of the model serves both."""
    first, second = ((each.manipulate.settings(), each.reader.settings()) for each in (one, other))
    return one.model is other.model and first == second


def check_predictors(predictors: Sequence[Predictor]) -> None:
    """Refuses predictors that cannot share one pass of the model, and two with the same name."""
    names = tuple(predictor.name for predictor in predictors)
    if not predictors or not all(share_pass(predictor, predictors[0]) for predictor in predictors):
        raise InputError(
            "The predictors of one run must share their model, manipulation and first aligner",
            code="predictors-differ",
            got=", ".join(names) or "none",
            hint="Use pk.compare for predictors that differ",
            predictors=names,
        )
    if len(set(names)) < len(names):
        raise InputError(
            "Two predictors of one run have the same name",
            code="duplicate-branch",
            got=", ".join(names),
            hint="Request each calibration only once",
            names=names,
        )


def seen_rows(
    predictors: Sequence[Predictor], task: Task, rows: Sequence[LabeledExample], *, allowed: bool = False
) -> frozenset[str]:
    """Returns the ids of the evaluated rows that a predictor was fitted on.

    Args:
        predictors: The branches.
        task: The task.
        rows: The evaluated rows.
        allowed: Whether there may be such rows.

    Raises:
        TaskError: There are such rows, and they are not allowed.
    """
    fitted = SeenRows(frozenset().union(*(predictor.fitted_on for predictor in predictors)))
    seen = frozenset(row.id for row in rows if row.content in fitted) if len(fitted) else frozenset()
    if seen and not allowed:
        raise TaskError(
            f"{len(seen)} of the {len(rows)} evaluated rows of {task.name} are demonstrations of the predictor, or were used "
            "to fit it, so its figures would be no estimate for new rows",
            code="seen-rows",
            hint="Evaluate other rows, such as the split that was left out of the training "
            f"({setting('folds', 1)} for a single file); {setting('allow_seen', True)} evaluates them nevertheless, and marks "
            "the figures",
            task=task.name,
            seen=len(seen),
            rows=len(rows),
        )
    return seen


def check_task_kind(task: Task, reader: OutputReader) -> None:
    """Refuses a first aligner that reads another kind of answer than the task has."""
    kind = task.spec.kind
    if kind != reader.task_kind:
        raise TaskError(
            f"{task.name} is a {kind} task, and the first aligner of this predictor is {reader.name}",
            code="wrong-task-kind",
            hint={
                "classification": "Use a Verbalizer of its labels",
                "multi-label": "Use pk.MultiLabel of its labels",
                "choice": "Use pk.Choices()",
                "generation": "Use an extraction, such as pk.extract.FirstLine()",
            }[kind],
            task=task.name,
            kind=kind,
            aligner=reader.name,
        )


def check_labels(task: Task, labels: Sequence[str], rows: Sequence[LabeledExample]) -> None:
    """Refuses rows with a label that the verbalizer has no word for. Without fixed labels, every row is allowed."""
    found = {label for row in rows for label in gold_labels(row, task.spec.kind)}
    unknown = sorted(found - set(labels)) if labels else []
    if unknown:
        raise TaskError(
            f"Rows of {task.name} have the label {', '.join(unknown[:5])}, for which the verbalizer has no word",
            code="label-without-word",
            got=f"labels {', '.join(labels)}",
            hint="Give the verbalizer a word for every label",
            task=task.name,
            labels=tuple(unknown[:5]),
            known=tuple(labels),
        )


def check_calibrations(
    predictors: Sequence[Predictor], *, evaluated: int, fit: Sequence[LabeledExample], split: Sequence[LabeledExample]
) -> None:
    """Refuses calibrations that cannot be fitted on the rows of a run.

    Args:
        predictors: The branches.
        evaluated: Number of evaluated rows.
        fit: Rows of the fit part.
        split: All rows of the evaluated split.
    """
    may_see = {row.id for row in untested(fit, split)}
    calibrations = calibrations_of([predictor.chain for predictor in predictors])
    counts = Counts(
        labels=len(predictors[0].reader.labels),
        evaluated=evaluated,
        has_label=[row.id in may_see for row in fit],
        classes=class_count(predictors[0].model) if calibrations else None,
    )
    for calibration in calibrations:
        check_fit_part(calibration, fit)
        check_calibration(calibration, counts)
