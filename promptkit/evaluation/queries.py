"""The model requests of a run, in order: evaluated rows, further rows that aligners need, and what else is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptkit.collect.read_plan import ReadPlan, plan_reads
from promptkit.collect.read_records import ReadQuery
from promptkit.collect.records import Query
from promptkit.collect.requirements import (
    calibrations_of,
    check_calibration,
    check_fit_part,
    class_count,
    fit_part,
    select_fit_rows,
)
from promptkit.collect.support import fit_rows, further_rows
from promptkit.core.asking import AskedRow, Asking, Counts, FitPart
from promptkit.core.manipulation import Ask
from promptkit.core.records import RecordFile
from promptkit.core.requests import Request
from promptkit.evaluation.plan import RunPlan
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel
from promptkit.models.registry import load
from promptkit.predictor.predictor import BoundPredictor, sent_rows
from promptkit.runs.folder import FILES


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQueries:
    """The model requests of a run."""

    queries: Sequence[Query | ReadQuery]
    requests: Sequence[Request]
    """The request of each query."""
    evaluated: Sequence[Query]
    """The queries of all evaluated rows, in the run's order, including skipped rows, which `queries` leaves out."""
    read_plan: ReadPlan
    """What is read in addition to answers."""

    @property
    def skipped(self) -> list[Query]:
        """The evaluated rows that are not sent to the model, because their prompts do not fit the context."""
        return [query for query in self.evaluated if query.rendered.skipped]

    def order(self) -> dict[RecordFile, list[str]]:
        """Returns the ids of all records of the run, by file."""
        order: dict[RecordFile, list[str]] = {file: [] for file in FILES}
        order["outputs"] += [record["id"] for record in self.read_plan.records()]
        for query in (*self.evaluated, *(query for query in self.queries if query.file != "samples")):
            order[query.file].append(query.id)
        return order


def build_queries(plan: RunPlan, bound: BoundPredictor, ask: Ask, cache: ScoreCache | None) -> RunQueries:
    """Renders every row of a run and returns the requests.

    Args:
        plan: The run.
        bound: The run's predictor, bound to its task.
        ask: The model, which may be queried while prompts are rendered.
        cache: The score cache for other models that needs query.
    """
    examples = [row.unlabeled() for row in plan.rows]
    evaluated = [
        Query(file="samples", id=example.id, example=example, rendered=rendered, gold=row)
        for example, row, rendered in zip(examples, plan.rows, bound.encode(examples), strict=True)
    ]
    sent = [query for query, _ in sent_rows(evaluated, [query.rendered for query in evaluated])]
    part = fit_part(plan.fit, plan.task.rows(plan.split))
    asking = _asking(plan, part, bound, ask, cache, sent)
    support = [*further_rows(asking, plan.needs), *asking.fit_rows]
    _check_calibrations(plan, part, len(sent), asking.fit_rows)
    read_plan = plan_reads(plan.needs, asking)
    rows = [*sent, *(_support_query(row) for row in support)]
    reads = read_plan.queries([*sent, *asking.fit_rows])
    requests = [bound.request(row.example, row.rendered) for row in rows]
    return RunQueries(
        queries=[*rows, *reads],
        requests=[*requests, *(read.request for read in reads)],
        evaluated=evaluated,
        read_plan=read_plan,
    )


def _asking(
    plan: RunPlan, part: FitPart, bound: BoundPredictor, ask: Ask, cache: ScoreCache | None, sent: Sequence[Query]
) -> Asking:
    return Asking(
        encode=bound.encode,
        ask=ask,
        evaluated=[AskedRow(id=query.id, example=query.example, rendered=query.rendered) for query in sent],
        fit_rows=fit_rows(bound.encode, plan.needs, part),
        fit=plan.fit,
        label_words=plan.reader.label_words(),
        source_classes=plan.reader.source_classes(),
        other_models={name: CachedModel(load(name), cache) for need in plan.needs for name in need.models},
    )


def _support_query(row: AskedRow) -> Query:
    return Query(file="support", id=row.id, example=row.example, rendered=row.rendered, gold=row.gold)


def _check_calibrations(plan: RunPlan, part: FitPart, evaluated: int, fit: Sequence[AskedRow]) -> None:
    """Refuses calibrations that have too few rows left after rows are skipped.

    Args:
        plan: The run, whose calibrations were checked with all rows.
        part: The rows of the fit part.
        evaluated: Number of evaluated rows that are not skipped.
        fit: The selected rows of the fit part that are not skipped.
    """
    if (evaluated, len(fit)) == (len(plan.rows), len(select_fit_rows(plan.needs, part))):
        return
    has_label = [row.gold is not None for row in fit]
    labels, classes = len(plan.reader.labels), class_count(plan.model)
    counts = Counts(labels=labels, evaluated=evaluated, has_label=has_label, classes=classes)
    for calibration in calibrations_of(plan.chains):
        if any(need.select(part) for need in calibration.needs):
            check_fit_part(calibration, [row.example for row in fit])
        check_calibration(calibration, counts)
