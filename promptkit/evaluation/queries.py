"""The model requests of a run, in order, fold by fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from promptkit.collect.queries import Pass, Queries, build_queries, other_models_of
from promptkit.collect.read_records import ReadQuery
from promptkit.collect.records import Query
from promptkit.collect.requirements import fit_part
from promptkit.core.manipulation import Ask
from promptkit.core.records import RECORD_FILES, ReadPlanRecord, ReadRecord, RecordFile, record_key
from promptkit.core.requests import Request
from promptkit.evaluation.plan import FoldPlan, RunPlan
from promptkit.models.cache import ScoreCache
from promptkit.predictor.bound import BoundPredictor

Started = Callable[[FoldPlan, BoundPredictor], None]
"""Called for each fold before its prompts are rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQueries:
    """The model requests of a run."""

    queries: Sequence[Query | ReadQuery]
    requests: Sequence[Request]
    """The request of each query."""
    evaluated: Sequence[Query]
    """The queries of all evaluated rows, in the run's order, including skipped rows, which `queries` leaves out."""
    read_plan: Sequence[ReadPlanRecord | ReadRecord]
    """The first records of `outputs.jsonl`: what is read in addition to answers."""

    @property
    def skipped(self) -> list[Query]:
        """The evaluated rows that are not sent to the model, because their prompts do not fit the context."""
        return [query for query in self.evaluated if query.rendered.skipped]

    def order(self) -> dict[RecordFile, list[str]]:
        """Returns the keys of all records of the run, by file."""
        order: dict[RecordFile, list[str]] = {file: [] for file in RECORD_FILES}
        order["outputs"] += map(record_key, self.read_plan)
        for query in (*self.evaluated, *(query for query in self.queries if query.file != "samples")):
            order[query.file].append(query.key)
        return order


def run_queries(plan: RunPlan, ask: Ask, cache: ScoreCache | None, started: Started) -> RunQueries:
    """Renders every row of a run and returns its requests.

    Args:
        plan: The run.
        ask: The model, which may be queried while prompts are rendered.
        cache: The score cache for other models that prompts and needs query.
        started: Called for each fold before its prompts are rendered.
    """
    other_models = other_models_of(plan.needs, cache)
    folds: list[tuple[FoldPlan, Queries]] = []
    for fold in plan.folds:
        bound = plan.predictor.bind(fold.task, ask=ask, cache=cache)
        started(fold, bound)
        folds.append((fold, _fold_queries(plan, fold, bound, ask, other_models)))
    evaluated = {query.id: query for _, queries in folds for query in queries.evaluated}
    return RunQueries(
        queries=[query for _, queries in folds for query in queries.queries],
        requests=[request for _, queries in folds for request in queries.requests],
        evaluated=[evaluated[row.id] for row in plan.rows],
        read_plan=[record for fold, queries in folds for record in queries.read_plan.records(fold.number)],
    )


def _fold_queries(plan: RunPlan, fold: FoldPlan, bound: BoundPredictor, ask: Ask, other_models: Mapping[str, Ask]) -> Queries:
    examples = [row.unlabeled() for row in fold.rows]
    evaluated = [
        Query(file="samples", id=example.id, example=example, rendered=rendered, gold=row, fold=fold.number)
        for example, row, rendered in zip(examples, fold.rows, bound.encode(examples), strict=True)
    ]
    model_pass = Pass(
        model=plan.model,
        chains=plan.chains,
        encode=bound.encode,
        ask=ask,
        part=fit_part(fold.fit, fold.split),
        other_models=other_models,
        fold=fold.number,
    )
    return build_queries(model_pass, evaluated)
