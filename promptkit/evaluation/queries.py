"""The model requests of a run, in order: evaluated rows, further rows that aligners need, and reads of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptkit.core.manipulation import Ask
from promptkit.core.requests import Request
from promptkit.evaluation.plan import RunPlan
from promptkit.evaluation.read_plan import ReadPlan, plan_reads
from promptkit.evaluation.support import support_queries
from promptkit.predictor.predictor import BoundPredictor
from promptkit.runs.records import Query


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQueries:
    """The model requests of a run."""

    queries: Sequence[Query]
    requests: Sequence[Request]
    """The request of each query."""
    read_plan: ReadPlan
    """What is read at the answer slots in addition to scores."""


def build_queries(plan: RunPlan, bound: BoundPredictor, ask: Ask) -> RunQueries:
    """Renders every row of a run and returns the requests.

    Args:
        plan: The run.
        bound: The run's predictor, bound to its task.
        ask: The model, which may be queried while prompts are rendered.
    """
    examples = [row.unlabeled() for row in plan.rows]
    rows = [
        Query(file="samples", id=example.id, example=example, rendered=rendered, gold=row)
        for example, row, rendered in zip(examples, plan.rows, bound.apply(examples), strict=True)
    ]
    rows += support_queries(bound, rows, plan.needs, plan.fit, plan.task.rows(plan.split))
    read_plan = plan_reads(plan.needs, ask, rows, [*plan.reader.label_words().values()])
    queries = [*rows, *read_plan.queries(rows, ask)]
    requests = [bound.request(query.example, query.rendered, query.verb) for query in queries]
    return RunQueries(queries=queries, requests=requests, read_plan=read_plan)
