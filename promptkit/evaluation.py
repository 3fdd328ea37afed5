"""Predictors over a task's rows -> a run. Predictors that share model, manipulation and reading share one pass."""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptkit import __version__, figures, support
from promptkit.aligners import Extractor
from promptkit.errors import PromptkitError
from promptkit.predictor import BoundPredictor, Predictor
from promptkit.run import Result, Run
from promptkit.samples import Asked, is_whole, line, peculiarities
from promptkit.store import FILES, RunFolder
from promptkit.tasks import Task
from promptkit.types import Example, LabelledExample

OUT = "runs"
SKEWED = 1.5
"""A class is over-represented that has this many times its equal share."""
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
    progress: Progress | None = None,
) -> Run:
    """Run predictors that share model, manipulation and reading over a split, in one pass.

    `limit` takes the N rows with the smallest hash of id. The run's folder is `out`/TASK-<hash of settings>: if it is
    there already and finished it is read, if it was broken off it is continued.
    """
    if not isinstance(task, Task):
        raise PromptkitError("A run takes a task, not its name", got=repr(task), hint='Write pk.task("sentiment")')
    branches = [predictors] if isinstance(predictors, Predictor) else list(predictors)
    if not branches or not all(predictor.shares_pass_with(branches[0]) for predictor in branches):
        raise PromptkitError("Predictors of one run must share model, manipulation and first aligner", hint="Use compare")
    return _Pass(branches, task, task.spec.split if split is None else split, limit).run(
        out, progress or (lambda done, total: None)
    )


def rehearse(predictors: Sequence[Predictor], task: Task, *, split: str | None = None) -> None:
    """Raise what a run of these would raise before it asks a model anything: nothing is written.

    One row's prompt is made, with predictors of the fake engine in the place of those that are slow to load; what is too
    long is not found, as each model has a length of its own.
    """
    _Pass(list(predictors), task, task.spec.split if split is None else split, 1).rehearse()


def by_hash(rows: Sequence[LabelledExample], limit: int | None) -> list[LabelledExample]:
    """The rows with the smallest hash of id, in that order: nested in `limit`, and not sorted by label as files are."""
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise PromptkitError("The limit must be a whole number of at least 1", got=repr(limit))
    return sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())[:limit]


class _Pass:
    """One pass of a model over the rows of a run and those that its aligners need."""

    def __init__(self, branches: Sequence[Predictor], task: Task, split: str, limit: int | None) -> None:
        names = [predictor.name for predictor in branches]
        if len(set(names)) < len(names):
            raise PromptkitError(
                "Two branches of a run have one name", got=", ".join(names), hint="Ask for each calibration once"
            )
        self._branches = branches
        self._task = task
        self._split = split
        first = branches[0]
        self._labels = first.reading.labels
        self._items = by_hash(task.rows(split), limit)
        pool = task.pool() if first.manipulate.needs_pool else []
        self._check_labels()
        self._model = first.model
        self._texts = support.content_free_texts(branches)
        wanted = support.unlabelled_rows(branches)
        self._fit = [_without_label(row) for row in by_hash(task.part("fit"), wanted)] if wanted else []
        if wanted and not self._fit:
            raise PromptkitError(
                "Batch calibration has no rows to estimate its prior on: the fit part of the train split is empty",
                hint="Use --calibrate batch:estimate_on=test, which estimates it on the evaluated rows themselves",
            )
        self._bound: BoundPredictor = first.bind(pool)
        self._settings = {
            "promptkit": __version__,
            "task": task.identity(),
            "split": split,
            "limit": limit,
            "rows": _digest(map(_identity, self._items)),
            "pool": _digest(map(_identity, pool)),
            "fit": _digest(row.id for row in self._fit),
            "model": dict(self._model.identity()),
            "manipulate": dict(first.manipulate.settings()),
            "align": [[dict(p.reading.settings()), *(dict(c.settings()) for c in p.calibrations)] for p in branches],
        }

    def rehearse(self) -> None:
        """Make the first row's prompt as if there were no end of room for it."""
        card = replace(self._model.card, context_length=sys.maxsize)
        reading = self._bound.reading
        row = _without_label(self._items[0])
        self._bound.apply(row, card, () if isinstance(reading, Extractor) else reading.words(row))

    def run(self, out: str | Path, progress: Progress) -> Run:
        """Read the run if it is finished, else compute what is missing of it."""
        started = time.perf_counter()
        working = 0.0
        folder = RunFolder(out, self._task.name, self._settings)
        with folder.locked():
            finished = folder.finished()
            samples, besides = folder.lines("samples"), folder.lines("support")
            resumed = len({row.id for row in self._items} & {kept["id"] for kept in samples})
            if not finished:
                if resumed:
                    _log.warning("Continuing %s: %d of %d rows are there already.", folder.path, resumed, len(self._items))
                samples, besides, working = self._complete(folder, [*samples, *besides], progress)
            results = self._results(samples, besides)
            seconds = time.perf_counter() - started
            rate = (len(samples) - resumed) / working if working else 0.0
            if finished:
                happened = (folder.timing() or {}).get("notes", ())
            else:
                happened = self._model.notes()
                folder.finish(samples, besides, self._predictions(results), self._summary(results))
                timing = {"seconds": seconds, "examples_per_second": rate, "resumed": resumed, "notes": happened}
                folder.record_timing(timing)
            notes = (*peculiarities(samples), *happened)
        return Run(
            task=self._task.name,
            split=self._split,
            model=self._model.name,
            path=folder.path,
            labels=self._labels,
            ids=tuple(row.id for row in self._items),
            gold=tuple(row.label for row in self._items),
            results=results,
            seconds=seconds,
            examples_per_second=rate,
            resumed=resumed,
            notes=notes,
        )

    def _complete(self, folder: RunFolder, lines: Sequence[Any], progress: Progress) -> tuple[list[Any], list[Any], float]:
        """Every line of both files, in the run's order, and the seconds that the model worked."""
        asked = self._asked()
        known = {row.id: row for row in asked}
        of_id = {k["id"]: k for k in lines if k["id"] in known and is_whole(k, known[k["id"]], self._bound.reading)}
        done = {i for i, row in enumerate(asked) if row.id in of_id}
        self._model.load()
        progress(len(done), len(asked))
        began = time.perf_counter()
        for indices, outputs in self._model.answer([self._bound.request(row.example, row.rendered) for row in asked], done):
            for file in FILES:
                fresh = [
                    line(asked[i], self._bound.reading, output)
                    for i, output in zip(indices, outputs, strict=True)
                    if asked[i].file == file and asked[i].id not in of_id
                ]
                folder.append(file, fresh)
                of_id |= {kept["id"]: kept for kept in fresh}
            progress(len(of_id), len(asked))
        working = time.perf_counter() - began
        samples, besides = ([of_id[row.id] for row in asked if row.file == file] for file in FILES)
        return samples, besides, working

    def _asked(self) -> list[Asked]:
        """Every row that the model is asked about, in the run's order: those evaluated, then those that aligners need."""
        rows = []
        for gold in self._items:
            item = _without_label(gold)
            rows.append(Asked(file="samples", id=item.id, example=item, rendered=self._bound.render(item), gold=gold))
        return [*rows, *support.asked(self._bound, rows, self._texts, self._fit)]

    def _check_labels(self) -> None:
        kind = self._task.spec.kind
        first = self._branches[0]
        scored = "classification" if self._labels else "choice"
        if kind != ("generation" if isinstance(first.reading, Extractor) else scored):
            raise PromptkitError(
                f"{self._task.name} is a task of {kind}, and this predictor begins with {first.reading.name}",
                hint={
                    "classification": "Use a Verbalizer of its labels",
                    "choice": "Use pk.Choices()",
                    "generation": "Use an extraction, such as pk.extract.first_line()",
                }[kind],
            )
        foreign = sorted({row.label for row in self._items} - set(self._labels)) if self._labels else []
        if foreign:
            raise PromptkitError(
                f"The verbalizer has no word for {', '.join(foreign[:5])}, which rows of {self._task.name} are labelled",
                got=f"labels {', '.join(self._labels)}",
            )

    def _results(self, samples: Sequence[Any], besides: Sequence[Any]) -> tuple[Result, ...]:
        first = self._branches[0]
        if isinstance(first.reading, Extractor):
            return (figures.of_texts(first, samples),)
        if not self._labels:
            return (figures.of_choices(first, samples),)
        self._warn_of_skew()
        collected = support.collected(samples, besides, self._texts, self._fit, self._labels)
        return figures.of_labels(self._branches, samples, collected)

    def _predictions(self, results: Sequence[Result]) -> list[dict[str, object]]:
        return [
            {
                "id": row.id,
                "gold": row.label,
                "predictions": {result.align: result.predictions[index] for result in results},
                "correct": {result.align: bool(result.correct[index]) for result in results},
            }
            for index, row in enumerate(self._items)
        ]

    def _summary(self, results: Sequence[Result]) -> dict[str, object]:
        return {
            "task": self._task.name,
            "split": self._split,
            "n": len(self._items),
            "model": self._model.name,
            "results": [result.to_json() for result in results],
        }

    def _warn_of_skew(self) -> None:
        label, count = Counter(row.label for row in self._items).most_common(1)[0]
        share = count / len(self._items)
        batch = any(calibration.name == "batch" for branch in self._branches for calibration in branch.calibrations)
        if batch and share > SKEWED / len(self._labels):
            _log.warning(
                "Batch calibration assumes about equal classes, and %.0f%% of these rows are %s: read its figures with care.",
                100 * share,
                label,
            )


def _without_label(row: LabelledExample) -> Example:
    """The row as a manipulation may see it."""
    return Example(id=row.id, inputs=row.inputs, choices=row.choices)


def _identity(row: LabelledExample) -> str:
    """What of a row determines a result, besides its inputs, which its id is a hash of."""
    more = (row.accepted, tuple(row.working.items()))
    return f"{row.id} {row.label}" + (f" {more}" if any(more) else "")


def _digest(rows: Iterable[str]) -> str:
    """Of the rows in their order."""
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogatepass")).hexdigest()[:16]
