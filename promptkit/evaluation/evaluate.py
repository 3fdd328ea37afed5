"""Predictors over a task's rows -> a run. Predictors that share model, manipulation and reading share one pass."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from promptkit.core.alignment import Extractor
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import LabeledExample
from promptkit.core.hashing import short_hash
from promptkit.core.requests import GenerateOutput, Output, Request
from promptkit.core.version import __version__
from promptkit.evaluation import requirements, support
from promptkit.evaluation import results as figures
from promptkit.evaluation.readings import ReadPlan, observed, stored
from promptkit.models.cache import ScoreCache, merge_generations, without_known
from promptkit.models.client import CachedModel, DryRunModel, NeedsAnswer
from promptkit.models.registry import load
from promptkit.predictor.predictor import BoundPredictor, Predictor
from promptkit.runs.folder import FILES, RunFolder, Shard
from promptkit.runs.records import Query, is_whole, line, row_warnings
from promptkit.runs.run import Run, ShardRun
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task, untested

OUT = "runs"


Progress = Callable[[int, int], None]
"""(rows done, rows in all)"""


_log = logging.getLogger(__name__)


def evaluate(
    predictors: Predictor | Sequence[Predictor],
    task: Task,
    *,
    split: str | None = None,
    limit: int | None = None,
    out: str | Path = OUT,
    cache: bool = True,
    progress: Progress | None = None,
) -> Run:
    """Run predictors that share model, manipulation and reading over a split, in one pass.

    `limit` takes the N rows with the smallest hash of id. The run's folder is `out`/TASK-<hash of settings>: if it is
    there already and finished it is read, if it was broken off it is continued. Answers are taken from the score cache and
    kept there, unless `cache` is False.
    """
    return _made(predictors, task, split, limit, cache, progress).run(out)


def evaluate_shard(
    predictors: Predictor | Sequence[Predictor],
    task: Task,
    shard: Shard,
    *,
    split: str | None = None,
    limit: int | None = None,
    out: str | Path = OUT,
    cache: bool = True,
    progress: Progress | None = None,
) -> ShardRun:
    """As `evaluate`, of every n-th batch of the run alone; `merge` puts the shards together as the run they are of."""
    return _made(predictors, task, split, limit, cache, progress).run_shard(out, shard)


def _made(
    predictors: Predictor | Sequence[Predictor],
    task: Task,
    split: str | None,
    limit: int | None,
    cache: bool,
    progress: Progress | None,
) -> _Pass:
    if not isinstance(task, Task):
        raise InputError(
            "The task must be a Task object, not its name",
            code="not-a-task",
            got=repr(task)[:100],
            hint='Write pk.task("sentiment")',
            value=repr(task)[:100],
        )
    branches = [predictors] if isinstance(predictors, Predictor) else list(predictors)
    if not branches or not all(predictor.shares_pass_with(branches[0]) for predictor in branches):
        raise InputError(
            "The predictors of one run must share their model, manipulation and first aligner",
            code="predictors-differ",
            got=", ".join(predictor.name for predictor in branches) or "none",
            hint="Use pk.compare for predictors that differ",
            predictors=tuple(predictor.name for predictor in branches),
        )
    kept = ScoreCache() if cache else None
    return _Pass(branches, task, split, limit, cache=kept, progress=progress or (lambda done, total: None))


def dry_run(predictors: Sequence[Predictor], task: Task, *, split: str | None = None, limit: int | None = None) -> None:
    """Raise what a run of these would raise before it asks a model anything: nothing is written.

    One row's prompt is made as far as no model need be asked, with predictors of the fake engine in the place of those that
    are slow to load; what is too long is not found, as each model has a length of its own.
    """
    _Pass(list(predictors), task, split, limit).dry_run()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A run's lines in its order, and how they were come by."""

    samples: Sequence[Any]
    support: Sequence[Any]
    outputs: Sequence[Any] = ()
    resumed: int
    """Samples that were there already."""
    rate: float = 0.0
    """Samples computed per second of the model's work."""
    recalled: int = 0
    """Answers that the score cache knew, of those that were missing."""
    missing: int = 0


class _Pass:
    """One pass of a model over the rows of a run and those that its aligners need."""

    def __init__(
        self,
        branches: Sequence[Predictor],
        task: Task,
        split: str | None,
        limit: int | None,
        *,
        cache: ScoreCache | None = None,
        progress: Progress = lambda done, total: None,
    ) -> None:
        names = [predictor.name for predictor in branches]
        if len(set(names)) < len(names):
            raise InputError(
                "Two predictors of one run have the same name",
                code="duplicate-branch",
                got=", ".join(names),
                hint="Request each calibration only once",
                names=tuple(names),
            )
        first = branches[0]
        self._chains = [predictor.chain for predictor in branches]
        self._task = task
        self._split = split = task.spec.split if split is None else split
        self._cache = cache
        self._progress = progress
        self._labels = first.reading.labels
        self._items = by_hash(task.rows(split), limit)
        self._first = first
        self._model = first.model
        self._asking = CachedModel(first.model, cache)
        self._needs = requirements.united(self._chains)
        self._fit = by_hash(task.part("fit"), None) if requirements.uses_fit(self._needs) else []
        self._check_labels()
        self._check_support(task.rows(split))
        self._identity = dict(self._model.identity())
        self._settings = {
            "promptkit": __version__,
            "task": task.identity(),
            "split": split,
            "limit": limit,
            "rows": _digest(map(_identity, self._items)),
            "parts": {part: _digest(map(_identity, task.part(part))) for part in first.manipulate.parts},
            "fit": _digest(map(_identity, support.used_of(self._needs, self._fit, task.rows(split)))),
            "model": self._identity,
            "models": {name: dict(load(name).identity()) for name in first.manipulate.models},
            "manipulate": dict(first.manipulate.settings()),
            "align": [chain.settings() for chain in self._chains],
        }

    def dry_run(self) -> None:
        """Make the first row's prompt as if there were no end of room for it."""
        silent = DryRunModel(replace(self._model.card, context_length=sys.maxsize))
        try:
            bound = self._first.bind(self._task, ask=silent, load_model=lambda name: load("fake"))
            if self._needs.premise:
                bound.apply.premise(self._items[0].unlabeled())
            bound.apply([self._items[0].unlabeled()])
        except NeedsAnswer:
            return

    def run(self, out: str | Path) -> Run:
        """Read the run if it is finished, else compute what is missing of it."""
        started = time.perf_counter()
        folder = RunFolder(out, self._task.name, self._settings)
        with folder.locked():
            finished = folder.finished()
            done = self._completed(folder, finished=finished)
            seen = stored(folder.tensors()) if finished else observed(done.outputs)
            results = figures.results(self._chains, done.samples, done.support, seen)
            if not finished:
                told = {"task": self._task.name, "split": self._split, "n": len(self._items), "model": self._model.name}
                figures.conclude(folder, told, done.samples, done.support, results, seen)
            notes = self._record(folder, done, started, finished=finished)
        return Run(
            task=self._task.name,
            split=self._split,
            model=self._model.name,
            path=folder.path,
            labels=self._labels,
            ids=tuple(row.id for row in self._items),
            gold=tuple(row.label for row in self._items),
            results=results,
            seconds=time.perf_counter() - started,
            examples_per_second=done.rate,
            resumed=done.resumed,
            notes=(*row_warnings(done.samples), *requirements.fit_warnings(self._chains, done.samples, done.support), *notes),
        )

    def run_shard(self, out: str | Path, shard: Shard) -> ShardRun:
        """Compute the shard's batches of the run's plan, of which the run folder's settings say nothing."""
        started = time.perf_counter()
        folder = RunFolder(out, self._task.name, self._settings, shard)
        with folder.locked():
            finished = folder.finished()
            done = self._completed(folder, finished=finished, shard=shard)
            if not finished:
                order: dict[str, list[str]] = {file: [] for file in FILES}
                order["outputs"] += [told["id"] for told in self._wanted.lines()]
                for row in self._asked:
                    order[row.file].append(row.id)
                lines = {"samples": done.samples, "support": done.support, "outputs": done.outputs}
                folder.finish(lines, {"shard": list(shard), "order": order})
            notes = self._record(folder, done, started, finished=finished)
        return ShardRun(
            task=self._task.name,
            split=self._split,
            model=self._model.name,
            path=folder.path,
            shard=str(shard),
            rows=len(done.samples),
            n=len(self._items),
            seconds=time.perf_counter() - started,
            examples_per_second=done.rate,
            resumed=done.resumed,
            notes=tuple(notes),
        )

    def _completed(self, folder: RunFolder, *, finished: bool, shard: Shard | None = None) -> _Done:
        """Every line of both files, in the run's order; computes those that are missing."""
        samples, besides = folder.lines("samples"), folder.lines("support")
        resumed = len({row.id for row in self._items} & {kept["id"] for kept in samples})
        if finished:
            return _Done(samples=samples, support=besides, resumed=resumed)
        if resumed:
            _log.warning("Continuing %s: %d of %d rows are there already.", folder.path, resumed, len(self._items))
        return self._complete(folder, [*samples, *besides, *folder.lines("outputs")], resumed, shard)

    def _complete(self, folder: RunFolder, lines: Sequence[Any], resumed: int, shard: Shard | None) -> _Done:
        asked, reading = self._asked, self._bound.reading
        known = {row.id: row for row in asked}
        width = self._model.card.d_model
        of_id = {k["id"]: k for k in lines if k["id"] in known and is_whole(k, known[k["id"]], reading, width)}
        requests = [self._bound.request(row.example, row.rendered, row.verb) for row in asked]
        mine = frozenset(range(len(asked)))
        if shard is not None:
            mine = frozenset(i for batch in self._model.batches(requests)[shard.number - 1 :: shard.of] for i in batch)

        def keep(indices: Sequence[int], outputs: Sequence[Output]) -> None:
            fresh = {i: o for i, o in zip(indices, outputs, strict=True) if i in mine and asked[i].id not in of_id}
            for file in FILES:
                made = [line(asked[i], reading, output) for i, output in fresh.items() if asked[i].file == file]
                folder.append(file, made)
                of_id.update({each["id"]: each for each in made})
            self._progress(len(of_id), len(mine))

        missing = [i for i in sorted(mine) if asked[i].id not in of_id]
        recalled = self._recalled(requests, missing)
        keep([*recalled], [*recalled.values()])
        done = frozenset(i for i, row in enumerate(asked) if i not in mine or row.id in of_id)
        working = 0.0
        computed = 0
        if len(done) < len(asked):
            begun = self._begun(requests, [i for i in missing if i not in done])
            asking = [without_known(request, begun[i]) if i in begun else request for i, request in enumerate(requests)]
            self._model.load()
            began = time.perf_counter()
            for indices, outputs in self._model.answer(asking, done):
                if self._cache is not None:
                    self._cache.add(self._identity, [asking[i] for i in indices], outputs)
                keep(
                    indices,
                    [merge_generations(begun[i], o) if i in begun else o for i, o in zip(indices, outputs, strict=True)],
                )
                computed += sum(asked[i].file == "samples" and i not in done for i in indices)
            working = time.perf_counter() - began
        whole = [[of_id[row.id] for row in asked if row.file == file and row.id in of_id] for file in FILES]
        return _Done(
            samples=whole[0],
            support=whole[1],
            outputs=[*self._wanted.lines(), *whole[2]],
            resumed=resumed,
            rate=computed / working if working else 0.0,
            recalled=len(recalled),
            missing=len(missing),
        )

    def _recalled(self, requests: Sequence[Request], missing: Sequence[int]) -> dict[int, Output]:
        """What the score cache knows of the missing answers."""
        if self._cache is None or not missing:
            return {}
        found = self._cache.find(self._identity, [requests[i] for i in missing])
        return {missing[place]: output for place, output in found.items()}

    def _begun(self, requests: Sequence[Request], missing: Sequence[int]) -> dict[int, GenerateOutput]:
        """The first texts of missing answers, where the score cache knows those."""
        if self._cache is None:
            return {}
        return {
            missing[i]: known for i, known in self._cache.find_partial(self._identity, [requests[m] for m in missing]).items()
        }

    def _record(self, folder: RunFolder, done: _Done, started: float, *, finished: bool) -> Sequence[str]:
        """Write what this execution took; answers what happened in it, or in the one that made the run."""
        if finished:
            return list((folder.timing() or {}).get("notes", ()))
        notes = [*self._model.notes(), *self._asking.notes()]
        if done.recalled:
            notes.append(f"{done.recalled} of {done.missing} answers were taken from the score cache")
        folder.record_timing(
            {
                "seconds": time.perf_counter() - started,
                "examples_per_second": done.rate,
                "resumed": done.resumed,
                "notes": notes,
            }
        )
        return notes

    @cached_property
    def _bound(self) -> BoundPredictor:
        return self._first.bind(self._task, ask=self._asking, cache=self._cache)

    @cached_property
    def _rows(self) -> list[Query]:
        """Every row that the model is asked about, in the run's order: those evaluated, then those that aligners need."""
        items = [item.unlabeled() for item in self._items]
        rendered = zip(items, self._items, self._bound.apply(items), strict=True)
        rows = [Query(file="samples", id=item.id, example=item, rendered=each, gold=gold) for item, gold, each in rendered]
        return [*rows, *support.asked(self._bound, rows, self._needs, self._fit, self._task.rows(self._split))]

    @cached_property
    def _wanted(self) -> ReadPlan:
        """What is read of them besides."""
        return support.wanted_of(self._asking, self._needs, self._rows, self._first.reading.label_words())

    @cached_property
    def _asked(self) -> list[Query]:
        """Every question of the run: for a row's answer, and for what is read besides."""
        return [*self._rows, *support.reads(self._wanted, self._rows, self._asking)]

    def _check_labels(self) -> None:
        kind = self._task.spec.kind
        first = self._chains[0]
        scored = "classification" if self._labels else "choice"
        if kind != ("generation" if isinstance(first.reader, Extractor) else scored):
            raise TaskError(
                f"{self._task.name} is a {kind} task, and the first aligner of this predictor is {first.reader.name}",
                code="wrong-task-kind",
                hint={
                    "classification": "Use a Verbalizer of its labels",
                    "choice": "Use pk.Choices()",
                    "generation": "Use an extraction, such as pk.extract.first_line()",
                }[kind],
                task=self._task.name,
                kind=kind,
                aligner=first.reader.name,
            )
        foreign = sorted({row.label for row in (*self._items, *self._fit)} - set(self._labels)) if self._labels else []
        if foreign:
            raise TaskError(
                f"Rows of {self._task.name} have the label {', '.join(foreign[:5])}, for which the verbalizer has no word",
                code="label-without-word",
                got=f"labels {', '.join(self._labels)}",
                hint="Give the verbalizer a word for every label",
                task=self._task.name,
                labels=tuple(foreign[:5]),
                known=self._labels,
            )

    def _check_support(self, evaluated: Sequence[LabeledExample]) -> None:
        may_see = {row.id for row in untested(self._fit, evaluated)}
        known = [row.id in may_see for row in self._fit]
        for calibration in (chain.calibration for chain in self._chains if chain.calibration):
            requirements.check_fit(calibration, self._fit)
            requirements.check(calibration, labels=len(self._labels), items=len(self._items), known=known)


def _identity(row: LabeledExample) -> str:
    """What of a row determines a result, besides its inputs, which its id is a hash of."""
    more = (row.accepted, tuple(row.rationale.items()))
    return f"{row.id} {row.label}" + (f" {more}" if any(more) else "")


def _digest(rows: Iterable[str]) -> str:
    """Of the rows in their order."""
    return short_hash("\n".join(rows))
