"""Executes a run: finds the missing records, queries the model and appends the records of its answers to the run's folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from promptkit.collect.read_records import ReadQuery, is_complete_read, read_record
from promptkit.collect.records import Query, is_complete, row_record, skipped_record
from promptkit.core.records import RECORD_FILES, ReadPlanRecord, ReadRecord, RecordFile, RowRecord, record_key
from promptkit.core.requests import GenerateOutput, Output, Request
from promptkit.display.progress import Progress
from promptkit.evaluation.early_loading import EarlyLoading, FirstPrompt
from promptkit.evaluation.plan import FoldPlan, RunPlan
from promptkit.evaluation.queries import RunQueries, run_queries
from promptkit.evaluation.untrained import untrained_notes
from promptkit.models.cache import ScoreCache, merge_generations, without_known
from promptkit.models.client import CachedModel
from promptkit.predictor.bound import BoundPredictor
from promptkit.runs.executor import Executor
from promptkit.runs.folder import RunFolder
from promptkit.runs.prompts import record_prompts
from promptkit.runs.schema import Timing
from promptkit.runs.shard import Shard

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedRun:
    """The records of a run or shard, in the run's order, and how they were obtained."""

    samples: Sequence[RowRecord]
    support: Sequence[RowRecord]
    outputs: Sequence[ReadRecord | ReadPlanRecord] = ()
    order: Mapping[RecordFile, Sequence[str]]
    """RecordFile -> keys of the records of the whole run; empty for a run that was already finished."""
    timing: Timing
    """The duration of the execution, and remarks about it."""

    def marked(self, seen: frozenset[str]) -> CompletedRun:
        """Returns the records with a mark on the rows that a predictor was fitted on, given their ids."""
        if not seen:
            return self
        samples: list[RowRecord] = [{**row, "seen": True} if row["id"] in seen else row for row in self.samples]
        return replace(self, samples=samples)


def read_completed(plan: RunPlan, folder: RunFolder) -> CompletedRun:
    """Returns the records of a finished shard."""
    samples, timing = folder.lines("samples"), folder.timing()
    resumed, notes = _count_resumed(plan, samples), timing["notes"] if timing else []
    return CompletedRun(
        samples=samples,
        support=folder.lines("support"),
        order={},
        timing=Timing(seconds=0.0, examples_per_second=0.0, resumed=resumed, notes=notes),
    )


def execute(
    plan: RunPlan,
    folder: RunFolder,
    model_identity: Mapping[str, object],
    *,
    cache: ScoreCache | None,
    progress: Progress,
    executor: Executor,
    shard: Shard | None = None,
    early: EarlyLoading | None = None,
) -> CompletedRun:
    """Computes the missing records of a run or shard.

    Args:
        plan: The run.
        folder: The folder of the run or shard, locked by this process.
        model_identity: The identity of the model, for the score cache.
        cache: Score cache that answers are read from and added to.
        progress: Called after each batch.
        executor: Computes the batches.
        shard: The shard that is computed; None for the whole run.
        early: Loads the weights while prompts are rendered; None to load them afterwards.
    """
    started = time.perf_counter()
    earlier = [*folder.lines("samples"), *folder.lines("support"), *folder.lines("outputs")]
    resumed = _count_resumed(plan, earlier)
    if resumed:
        _log.warning("Continuing %s: %d of %d rows are already computed.", folder.path, resumed, len(plan.rows))
    ask, answered = CachedModel(plan.model, cache), {record["id"] for record in earlier}

    def begin(fold: FoldPlan, bound: BoundPredictor) -> None:
        if early is not None:
            first = FirstPrompt(fold=fold, bound=bound, ask=ask, answered=answered, cache=cache, model_identity=model_identity)
            early.start_if_needed(first)

    queries = run_queries(plan, ask, cache, begin)
    record_prompts(folder.path, ((query.id, query.rendered) for query in queries.evaluated))
    execution = _Execution(plan, folder, model_identity, queries, cache, progress, executor, shard)
    execution.restore(earlier)
    recalled, missing = execution.recall()
    if early is not None:
        early.use_time()
    rate = execution.compute()
    notes = [*untrained_notes(plan.predictor.manipulate), *plan.model.notes(), *ask.notes()]
    if recalled:
        notes.append(f"{recalled} of {missing} answers were taken from the score cache")
    seconds = time.perf_counter() - started
    timing = Timing(seconds=seconds, examples_per_second=rate, resumed=resumed, notes=notes)
    folder.record_timing(timing)
    return CompletedRun(
        samples=execution.rows("samples"),
        support=execution.rows("support"),
        outputs=execution.reads(),
        order=queries.order(),
        timing=timing,
    )


def _count_resumed(plan: RunPlan, records: Sequence[RowRecord | ReadRecord | ReadPlanRecord]) -> int:
    return len({row.id for row in plan.rows} & {record["id"] for record in records})


class _Execution:
    """The state of one execution: which records exist, and which requests this process computes."""

    def __init__(
        self,
        plan: RunPlan,
        folder: RunFolder,
        model_identity: Mapping[str, object],
        queries: RunQueries,
        cache: ScoreCache | None,
        progress: Progress,
        executor: Executor,
        shard: Shard | None,
    ) -> None:
        self._executor = executor
        self._reader = plan.reader
        self._folder = folder
        self._identity = model_identity
        self._order = queries.order()
        self._read_plan = {record_key(record): record for record in queries.read_plan}
        skipped = queries.skipped if shard is None else queries.skipped[shard.number - 1 :: shard.of]
        self._skipped = {query.key: skipped_record(query, plan.reader) for query in skipped}
        self._cache = cache
        self._progress = progress
        self._records: dict[str, RowRecord | ReadRecord] = {}
        asked: dict[Request, list[Query | ReadQuery]] = {}
        for query, request in zip(queries.queries, queries.requests, strict=True):
            asked.setdefault(request, []).append(query)
        self._requests = [*asked]
        self._queries = [*asked.values()]
        """The queries that each request answers: equal requests are computed once."""
        self._assigned = executor.assigned(self._requests)
        self._total = sum(len(self._queries[index]) for index in self._assigned)

    def restore(self, records: Sequence[RowRecord | ReadRecord | ReadPlanRecord]) -> None:
        """Keeps the records of an earlier execution that answer the queries of this one."""
        queries = {query.key: query for each in self._queries for query in each}
        for record in records:
            query = queries.get(record_key(record))
            if query is not None and self._is_complete(record, query):
                self._records[query.key] = cast("RowRecord | ReadRecord", record)

    def _is_complete(self, record: RowRecord | ReadRecord | ReadPlanRecord, query: Query | ReadQuery) -> bool:
        return is_complete_read(record, query) if isinstance(query, ReadQuery) else is_complete(record, query, self._reader)

    def recall(self) -> tuple[int, int]:
        """Reads missing answers from the score cache; returns the numbers of found and of missing answers."""
        missing = self._missing()
        found: dict[int, Output] = {}
        if self._cache is not None and missing:
            cached = self._cache.find(self._identity, [self._requests[index] for index in missing])
            found = {missing[position]: output for position, output in cached.items()}
        self._keep([*found], [*found.values()])
        return len(found), len(missing)

    def compute(self) -> float:
        """Computes the missing answers with the model; returns the evaluated rows per second of model time."""
        missing = self._missing()
        if not missing:
            return 0.0
        done = frozenset(range(len(self._requests))) - frozenset(missing)
        partial = self._partial_answers(missing)
        requests = [without_known(request, partial[i]) if i in partial else request for i, request in enumerate(self._requests)]
        self._executor.load()
        started, computed = time.perf_counter(), 0
        for indices, outputs in self._executor.execute(requests, done):
            if self._cache is not None:
                self._cache.add(self._identity, [requests[i] for i in indices], outputs)
            pairs = zip(indices, outputs, strict=True)
            self._keep(indices, [merge_generations(partial[i], output) if i in partial else output for i, output in pairs])
            computed += sum(query.file == "samples" for i in indices if i not in done for query in self._queries[i])
        return computed / (time.perf_counter() - started)

    def _partial_answers(self, missing: Sequence[int]) -> dict[int, GenerateOutput]:
        """The first texts of missing answers with several texts, where the score cache has some of them."""
        if self._cache is None:
            return {}
        found: Mapping[int, GenerateOutput] = self._cache.find_partial(self._identity, [self._requests[i] for i in missing])
        return {missing[position]: output for position, output in found.items()}

    def _missing(self) -> list[int]:
        return [index for index in sorted(self._assigned) if any(self._unanswered(index))]

    def _unanswered(self, index: int) -> list[Query | ReadQuery]:
        """The queries of a request that have no record."""
        return [query for query in self._queries[index] if query.key not in self._records]

    def _keep(self, indices: Sequence[int], outputs: Sequence[Output]) -> None:
        """Appends the records of new answers to the folder."""
        new = [
            (query, output)
            for index, output in zip(indices, outputs, strict=True)
            if index in self._assigned
            for query in self._unanswered(index)
        ]
        for file in RECORD_FILES:
            records = [self._record(query, output) for query, output in new if query.file == file]
            self._folder.append(file, records)
            self._records.update({record_key(record): record for record in records})
        self._progress(len(self._records), self._total)

    def _record(self, query: Query | ReadQuery, output: Output) -> RowRecord | ReadRecord:
        return read_record(query, output) if isinstance(query, ReadQuery) else row_record(query, self._reader, output)

    def rows(self, file: RecordFile) -> list[RowRecord]:
        """Returns the records of `samples` or `support` that exist, in the run's order."""
        return cast("list[RowRecord]", self._existing(file))

    def reads(self) -> list[ReadRecord | ReadPlanRecord]:
        """Returns the records of `outputs` that exist, in the run's order, with the plan of what is read."""
        return cast("list[ReadRecord | ReadPlanRecord]", self._existing("outputs"))

    def _existing(self, file: RecordFile) -> list[RowRecord | ReadRecord | ReadPlanRecord]:
        records = {**self._records, **self._skipped, **self._read_plan}
        return [records[key] for key in self._order[file] if key in records]
