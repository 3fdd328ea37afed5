"""The model requests of a run, in order: evaluated rows, further rows that aligners need, and reads of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptkit.core.manipulation import Ask
from promptkit.core.requests import Request
from promptkit.evaluation.fit_rows import select_fit_rows
from promptkit.evaluation.plan import RunPlan
from promptkit.evaluation.read_plan import ReadPlan, plan_reads
from promptkit.evaluation.requirements import check_calibration, check_fit_part
from promptkit.evaluation.support import support_queries
from promptkit.predictor.predictor import BoundPredictor, sent_rows
from promptkit.runs.folder import FILES, File
from promptkit.runs.records import Query
from promptkit.runs.row_ids import FitRow


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQueries:
    """The model requests of a run."""

    queries: Sequence[Query]
    requests: Sequence[Request]
    """The request of each query."""
    evaluated: Sequence[Query]
    """The queries of all evaluated rows, in the run's order, including skipped rows, which `queries` leaves out."""
    read_plan: ReadPlan
    """What is read at the answer slots in addition to scores."""

    @property
    def skipped(self) -> list[Query]:
        """The evaluated rows that are not sent to the model, because their prompts do not fit the context."""
        return [query for query in self.evaluated if query.rendered.skipped]

    def order(self) -> dict[File, list[str]]:
        """Returns the ids of all records of the run, by file."""
        order: dict[File, list[str]] = {file: [] for file in FILES}
        order["outputs"] += [record["id"] for record in self.read_plan.records()]
        for query in (*self.evaluated, *(query for query in self.queries if query.file != "samples")):
            order[query.file].append(query.id)
        return order


def build_queries(plan: RunPlan, bound: BoundPredictor, ask: Ask) -> RunQueries:
    """Renders every row of a run and returns the requests.

    Args:
        plan: The run.
        bound: The run's predictor, bound to its task.
        ask: The model, which may be queried while prompts are rendered.
    """
    examples = [row.unlabeled() for row in plan.rows]
    evaluated = [
        Query(file="samples", id=example.id, example=example, rendered=rendered, gold=row)
        for example, row, rendered in zip(examples, plan.rows, bound.apply(examples), strict=True)
    ]
    rows = [query for query, _ in sent_rows(evaluated, [query.rendered for query in evaluated])]
    support = support_queries(bound, rows, plan.needs, plan.fit, plan.task.rows(plan.split))
    _check_calibrations(plan, len(rows), support)
    rows += support
    read_plan = plan_reads(plan.needs, ask, rows, [*plan.reader.label_words().values()])
    queries = [*rows, *read_plan.queries(rows, ask)]
    requests = [bound.request(query.example, query.rendered, query.verb) for query in queries]
    return RunQueries(queries=queries, requests=requests, evaluated=evaluated, read_plan=read_plan)


def _check_calibrations(plan: RunPlan, evaluated: int, support: Sequence[Query]) -> None:
    """Refuses calibrations that have too few rows left after rows are skipped.

    Args:
        plan: The run, whose calibrations were checked with all rows.
        evaluated: Number of evaluated rows that are not skipped.
        support: Queries of the further rows that are not skipped.
    """
    fit = [query for query in support if FitRow.parse(query.id)]
    selected = select_fit_rows(plan.needs, plan.fit, plan.task.rows(plan.split))
    if (evaluated, len(fit)) == (len(plan.rows), len(selected)):
        return
    has_label = [query.gold is not None for query in fit]
    for calibration in (chain.calibration for chain in plan.chains):
        if calibration is not None:
            if calibration.needs.rows or calibration.needs.labeled:
                check_fit_part(calibration, [query.example for query in fit])
            check_calibration(calibration, labels=len(plan.reader.labels), evaluated=evaluated, has_label=has_label)
