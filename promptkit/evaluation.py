"""Predictors over a task's rows -> a run. Predictors that share model, manipulation and scorer share one pass."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from promptkit import __version__
from promptkit.errors import PromptkitError
from promptkit.metrics import classification
from promptkit.predictor import BoundPredictor, Predictor
from promptkit.run import Result, Run
from promptkit.store import FILES, File, RunFolder
from promptkit.tasks import Task
from promptkit.types import Calibration, Example, LabelledExample, Rendered, ScoreOutput, Support

if TYPE_CHECKING:
    from promptkit.types import Floats, Integers

OUT = "runs"
DECIMALS = 6
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
    """Run predictors that share model, manipulation and scorer over a split, in one pass.

    `limit` takes the N rows with the smallest hash of id. The run's folder is `out`/TASK-<hash of settings>: if it is
    there already and finished it is read, if it was broken off it is continued.
    """
    if not isinstance(task, Task):
        raise PromptkitError("A run takes a task, not its name", got=repr(task), hint='Write pk.task("sentiment")')
    branches = [predictors] if isinstance(predictors, Predictor) else list(predictors)
    if not branches or not all(predictor.shares_pass_with(branches[0]) for predictor in branches):
        raise PromptkitError("Predictors of one run must share model, manipulation and scorer", hint="Use compare")
    return _Pass(branches, task, task.spec.split if split is None else split, limit).run(
        out, progress or (lambda done, total: None)
    )


def by_hash(rows: Sequence[LabelledExample], limit: int | None) -> list[LabelledExample]:
    """The rows with the smallest hash of id, in that order: nested in `limit`, and not sorted by label as files are."""
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise PromptkitError("The limit must be a whole number of at least 1", got=repr(limit))
    return sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest())[:limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One row that the model is asked about, and the file that its line goes to."""

    file: File
    id: str
    rendered: Rendered
    gold: str | None = None


class _Pass:
    """One pass of a model over the rows of a run and those that its aligners need."""

    def __init__(self, branches: Sequence[Predictor], task: Task, split: str, limit: int | None) -> None:
        names = [predictor.name for predictor in branches]
        if len(set(names)) < len(names):
            raise PromptkitError("Two branches of a run have one name", got=", ".join(names), hint="Ask for each once")
        self._branches = branches
        self._task = task
        self._split = split
        first = branches[0]
        self._labels = first.scorer.labels
        self._items = by_hash(task.rows(split), limit)
        pool = task.pool() if first.manipulate.needs_pool else []
        foreign = sorted({row.label for row in self._items} - set(self._labels))
        if foreign:
            raise PromptkitError(
                f"The verbalizer has no word for {', '.join(foreign[:5])}, which rows of {task.name} are labelled",
                got=f"labels {', '.join(self._labels)}",
            )
        self._model = first.model
        self._content_free = tuple(dict.fromkeys(t for p in branches for c in p.calibrations for t in c.needs.content_free))
        wanted = max((c.needs.unlabelled for p in branches for c in p.calibrations), default=0)
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
            "rows": _digest(f"{row.id} {row.label}" for row in self._items),
            "pool": _digest(f"{row.id} {row.label}" for row in pool),
            "fit": _digest(row.id for row in self._fit),
            "model": dict(self._model.identity()),
            "manipulate": dict(first.manipulate.settings()),
            "align": [[dict(p.scorer.settings()), *(dict(c.settings()) for c in p.calibrations)] for p in branches],
        }

    def run(self, out: str | Path, progress: Progress) -> Run:
        """Read the run if it is finished, else compute what is missing of it."""
        started = time.perf_counter()
        working = 0.0
        folder = RunFolder(out, self._task.name, self._settings)
        with folder.locked():
            finished = folder.finished()
            samples, support = folder.lines("samples"), folder.lines("support")
            resumed = len({row.id for row in self._items} & {line["id"] for line in samples})
            if not finished:
                if resumed:
                    _log.warning("Continuing %s: %d of %d rows are there already.", folder.path, resumed, len(self._items))
                samples, support, working = self._complete(folder, [*samples, *support], progress)
            results = self._results(samples, support)
            seconds = time.perf_counter() - started
            rate = (len(samples) - resumed) / working if working else 0.0
            if finished:
                happened = (folder.timing() or {}).get("notes", ())
            else:
                happened = self._model.notes()
                folder.finish(samples, support, self._predictions(results), self._summary(results))
                timing = {"seconds": seconds, "examples_per_second": rate, "resumed": resumed, "notes": happened}
                folder.record_timing(timing)
            notes = (*_peculiarities(samples), *happened)
        return Run(
            task=self._task.name,
            split=self._split,
            model=self._model.name,
            path=folder.path,
            labels=self._labels,
            ids=tuple(row.id for row in self._items),
            gold=self._gold(),
            results=results,
            seconds=seconds,
            examples_per_second=rate,
            resumed=resumed,
            notes=notes,
        )

    def _complete(self, folder: RunFolder, lines: Sequence[Any], progress: Progress) -> tuple[list[Any], list[Any], float]:
        """Every line of both files, in the run's order, and the seconds that the model worked."""
        asked = self._asked()
        known = {row.id for row in asked}
        of_id = {line["id"]: line for line in lines if line["id"] in known and "logprobs" in line}
        done = {i for i, row in enumerate(asked) if row.id in of_id}
        self._model.load()
        progress(len(done), len(asked))
        began = time.perf_counter()
        for indices, outputs in self._model.answer([self._bound.request(row.rendered) for row in asked], done):
            for file in FILES:
                fresh = [
                    self._line(asked[i], output)
                    for i, output in zip(indices, outputs, strict=True)
                    if asked[i].file == file and asked[i].id not in of_id and isinstance(output, ScoreOutput)
                ]
                folder.append(file, fresh)
                of_id |= {line["id"]: line for line in fresh}
            progress(len(of_id), len(asked))
        working = time.perf_counter() - began
        samples, support = ([of_id[row.id] for row in asked if row.file == file] for file in FILES)
        return samples, support, working

    def _asked(self) -> list[_Asked]:
        """Every row that the model is asked about, in the run's order: those evaluated, then those that aligners need."""
        items = [_without_label(row) for row in self._items]
        rows = [
            _Asked(file="samples", id=row.id, rendered=self._bound.render(item), gold=row.label)
            for row, item in zip(self._items, items, strict=True)
        ]
        for context, index in _contexts(row.rendered for row in rows).items():
            for text in self._content_free:
                row = Example(id=f"content-free {text}", inputs=dict.fromkeys(items[index].inputs, text))
                rendered = self._bound.render(row, like=items[index])
                rows.append(_Asked(file="support", id=_content_free_id(context, text), rendered=rendered))
        for row in self._fit:
            rendered = self._bound.render(row)
            rows.append(_Asked(file="support", id=_unlabelled_id(row), rendered=rendered))
        return rows

    def _line(self, row: _Asked, output: ScoreOutput) -> dict[str, Any]:
        rendered = row.rendered
        pairs = zip(rendered.targets, rendered.continuations, strict=True)
        alike = [text for text, ids in pairs if rendered.continuations.count(ids) > 1]
        if alike:
            raise PromptkitError(
                f"The labels {', '.join(map(repr, alike[:5]))} read the same to the model, so that it cannot tell them apart",
                got=f"row {row.id}",
                hint="Look at it with promptkit render, and mend the label words or the target block",
            )
        if not all(isfinite(x) for tokens in output.logprobs for x in tokens):
            raise PromptkitError(
                f"The model gave a log-probability that is no number for row {row.id}",
                hint="Its activations overflow in this precision: try --set dtype=bfloat16 or dtype=float32",
            )
        aligned = [round(value, DECIMALS) for value in self._bound.scorer.align(output)]
        judged = {} if row.gold is None else {"gold": row.gold, "prediction": self._labels[aligned.index(max(aligned))]}
        return {
            "id": row.id,
            **judged,
            "logprobs": dict(zip(self._labels, aligned, strict=True)),
            "continuations": [
                {"text": text, "logprobs": [round(x, DECIMALS) for x in tokens]}
                for text, tokens in zip(rendered.targets, output.logprobs, strict=True)
            ],
            "demos": list(rendered.demos),
            "dropped": list(rendered.dropped),
            "boundary": rendered.boundary,
            "prompt_hash": hashlib.sha256(repr(rendered.input.ids).encode()).hexdigest()[:16],
            "tokens": len(rendered.input.ids),
        }

    def _results(self, samples: Sequence[Any], support: Sequence[Any]) -> tuple[Result, ...]:
        logprobs = _matrix(samples, self._labels)
        gold = self._gold()
        collected = self._support(samples, support)
        results = []
        for predictor in self._branches:
            aligned = logprobs
            for calibration in predictor.calibrations:
                aligned = calibration.align(aligned, collected)
            predicted = aligned.argmax(1)
            _warn_of_skew(predictor.calibrations, gold, self._labels)
            metrics = {
                name: {key: round(value, DECIMALS) for key, value in asdict(estimate).items()}
                for name, estimate in classification(gold, aligned).items()
            }
            histogram = np.bincount(predicted, minlength=len(self._labels)).tolist()
            results.append(
                Result(
                    align=predictor.name,
                    metrics=metrics,
                    predicted=dict(zip(self._labels, histogram, strict=True)),
                    logprobs=aligned,
                    correct=(predicted == gold).astype(float),
                )
            )
        return tuple(results)

    def _support(self, samples: Sequence[Any], support: Sequence[Any]) -> Support:
        of_id = {line["id"]: line for line in support}
        contexts = list(dict.fromkeys(_context(line["demos"]) for line in samples))
        place = {context: number for number, context in enumerate(contexts)}
        return Support(
            content_free={
                text: _matrix([of_id[_content_free_id(context, text)] for context in contexts], self._labels)
                for text in self._content_free
            },
            context=np.array([place[_context(line["demos"])] for line in samples]),
            unlabelled=_matrix([of_id[_unlabelled_id(row)] for row in self._fit], self._labels),
        )

    def _gold(self) -> Integers:
        return np.array([self._labels.index(row.label) for row in self._items])

    def _predictions(self, results: Sequence[Result]) -> list[dict[str, object]]:
        said = {result.align: result.logprobs.argmax(1) for result in results}
        return [
            {
                "id": row.id,
                "gold": row.label,
                "predictions": {branch: self._labels[chosen[index]] for branch, chosen in said.items()},
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


def _without_label(row: LabelledExample) -> Example:
    """The row as a manipulation may see it."""
    return Example(id=row.id, inputs=row.inputs)


def _peculiarities(samples: Sequence[Any]) -> list[str]:
    """What befell some rows, and what a reader of the figures should know of the labels."""
    inputs = {line["id"].partition("#")[0] for line in samples}
    texts = [continuation["text"] for continuation in samples[0]["continuations"]]
    shorter = [text for text in texts if any(other != text and other.startswith(text) for other in texts)]
    most = max(len(line["demos"]) + len(line["dropped"]) for line in samples)
    counts = {
        "lost demonstrations because the prompt would not fit the model's context": sum(bool(x["dropped"]) for x in samples),
        "were scored from an earlier token because a label merges with the prompt": sum(bool(x["boundary"]) for x in samples),
        "were shown fewer demonstrations than others because the pool ran out of different rows": sum(
            len(x["demos"]) + len(x["dropped"]) < most for x in samples
        ),
        "were shown a demonstration that is itself evaluated: train and test overlap": sum(
            any(demo.partition("#")[0] in inputs for demo in x["demos"]) for x in samples
        ),
    }
    notes = [f"{count} of {len(samples)} rows {what}" for what, count in counts.items() if count]
    if shorter:
        notes.append(f"The answer {shorter[0]!r} is the beginning of another, which can therefore never be likelier by sum")
    return notes


def _matrix(lines: Sequence[Any], labels: Sequence[str]) -> Floats:
    """Shape (lines, labels)."""
    return np.array([[line["logprobs"][label] for label in labels] for line in lines], float).reshape(-1, len(labels))


def _context(demos: Sequence[str]) -> str:
    return " ".join(demos)


def _contexts(rendered: Iterable[Rendered]) -> dict[str, int]:
    """Each context that items are read in -> the first such item."""
    contexts: dict[str, int] = {}
    for index, row in enumerate(rendered):
        contexts.setdefault(_context(row.demos), index)
    return contexts


def _content_free_id(context: str, text: str) -> str:
    return f"content-free {text!r} after {hashlib.sha256(context.encode()).hexdigest()[:12]}"


def _unlabelled_id(row: Example) -> str:
    return f"unlabelled {row.id}"


def _digest(rows: Iterable[str]) -> str:
    """Of the rows in their order."""
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _warn_of_skew(calibrations: Sequence[Calibration], gold: Integers, labels: Sequence[str]) -> None:
    shares = np.bincount(gold, minlength=len(labels)) / len(gold)
    if any(c.name == "batch" for c in calibrations) and shares.max() > SKEWED / len(labels):
        _log.warning(
            "Batch calibration assumes about equal classes, and %.0f%% of these rows are %s: read its figures with care.",
            100 * shares.max(),
            labels[int(shares.argmax())],
        )
