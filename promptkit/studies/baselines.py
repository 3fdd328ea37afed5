"""Baselines without a language model: majority class, vote of demonstrations, TF-IDF with logistic regression.

They use only labeled rows that a prompt could contain: the pool, or the demonstrations that a selector chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.chain import reader_for
from promptkit.align.logprobs import expected_values
from promptkit.classical import pixels
from promptkit.classical.baseline import Rows, Scores
from promptkit.classical.majority import Majority
from promptkit.classical.tfidf import TfidfRegression
from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError, TaskError, needs_single_label
from promptkit.core.examples import Example
from promptkit.core.manipulation import BindContext
from promptkit.core.metric_input import MetricInput
from promptkit.core.model import Model
from promptkit.core.registry import spelling
from promptkit.core.requests import Output, Request
from promptkit.display.table import Entry, Table
from promptkit.evaluation.metric_checks import check_metrics, requested_metrics
from promptkit.manipulate.demos import Selector
from promptkit.manipulate.prompt import Prompt
from promptkit.metrics.base import Interval, Metric
from promptkit.metrics.intervals import Estimate
from promptkit.metrics.requested import MetricLike, chosen
from promptkit.metrics.table import estimate
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel, DryRunModel
from promptkit.models.registry import load
from promptkit.studies.demonstration_baselines import regressions, vote
from promptkit.studies.measures import MAIN
from promptkit.tasks.single_table import EvaluatedRows, evaluated_rows, rows_of_run
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

DIFFERENCE = "model - baseline"
"""The column with differences of the main metric."""
_METHODS: Mapping[Interval, str] = {"wilson": "Wilson", "bootstrap": "bootstrap"}
MAJORITY, REGRESSION, PIXELS = "majority of the pool", "regression on the pool", "regression on pixels"
"""The names of the baselines that use the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The predictions of one baseline."""

    name: str
    k: int | None
    """The number of labeled rows it uses for each item; None for the whole pool."""
    metric_input: MetricInput
    """The predictions, as the input of metrics."""
    metric: Metric
    """The main metric: the first requested one, or that of the study or the task."""
    difference: Estimate | None = None
    """The mean of the main metric over a study's cells minus that of the baseline, paired by item; None without a study."""
    task: str = ""
    """The name of the task."""
    pool: int = 0
    """The number of labeled rows in the pool of the task."""

    @property
    def predictions(self) -> tuple[str | None, ...]:
        """The predicted label of each item."""
        return self.metric_input.predictions

    @property
    def correct(self) -> Floats:
        """1.0 for a correct prediction, 0.0 for a wrong one; shape (items,)."""
        return self.metric_input.correct

    @property
    def estimate(self) -> Estimate:
        """The main metric with its 95% interval, which contains the variance between folds if there are any."""
        return estimate(self.metric, self.metric_input)

    def to_json(self) -> dict[str, object]:
        """Returns name, task, k, the name of the metric, its estimate and the difference."""
        difference = None if self.difference is None else asdict(self.difference)
        figures = {"metric": self.metric.name, "estimate": asdict(self.estimate), "difference": difference}
        return {"name": self.name, "task": self.task, "k": self.k, **figures}


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """Several baselines on the same items. Prints as a table."""

    title: str
    baselines: tuple[Baseline, ...]
    reference: str = ""
    """Describes the cells of a study from which the baselines are subtracted; empty without a study."""

    def table(self) -> Table:
        """Returns a table with a row for each baseline, and each task if there are several."""
        several = len({baseline.task for baseline in self.baselines}) > 1
        rows: list[tuple[Entry, ...]] = [
            (
                baseline.name,
                *([baseline.task] if several else []),
                baseline.pool if baseline.k is None else baseline.k,
                baseline.estimate,
                *([baseline.difference] if self.reference else []),
            )
            for baseline in self.baselines
        ]
        metrics = {baseline.metric.name: baseline.metric for baseline in self.baselines}
        title = next(iter(metrics.values())).title if len(metrics) == 1 else MAIN
        interval = " or ".join(dict.fromkeys(_METHODS[metric.interval] for metric in metrics.values()))
        lower = [metric.title for metric in metrics.values() if not metric.higher_is_better]
        direction = f"; lower is better ({', '.join(lower)})" if lower else ""
        interval += "; of differences, over items and seeds" if self.reference else ""
        model = f"model: {self.reference}; paired by item. " if self.reference else ""
        return Table(
            title=self.title,
            columns=("baseline", *(["task"] if several else []), "k", title, *([DIFFERENCE] if self.reference else [])),
            rows=tuple(rows),
            names=3 if several else 2,
            caption=f"{model}k: number of labeled rows used. Below each figure its 95% interval ({interval}){direction}",
            signed=(DIFFERENCE,),
        )

    def to_json(self) -> list[dict[str, object]]:
        """Returns the baselines as `promptkit study --json` prints them."""
        return [baseline.to_json() for baseline in self.baselines]

    def __str__(self) -> str:
        """Returns the table as text."""
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


@check_arguments("baselines")
def baselines(
    task: Task,
    *selectors: Selector,
    model: Model | None = None,
    split: str | None = None,
    limit: int | None = None,
    folds: int | None = None,
    metrics: Sequence[MetricLike] | MetricLike | None = None,
) -> Baselines:
    """Evaluates baselines without a language model on the items that a study of the task evaluates.

    The majority class of the pool and a regression on the pool, for images on their pixels, are always included. Each selector
    adds a vote of the demonstrations that it chooses for an item, and a regression on them.

    Args:
        task: The task; all rows must have the same labels.
        selectors: Selectors of demonstrations.
        model: The model for selectors that query one.
        split: The split to evaluate; that of the task by default.
        limit: The number of items to evaluate; all by default.
        folds: The number of folds, as for `evaluate`: each item is predicted from the rows of the other folds.
        metrics: The first one, or else the main metric of the task, is computed.

    Raises:
        TaskError: If the rows of the task do not have a fixed set of labels.
        InputError: If the metric does not apply to labels, or a selector chooses no demonstrations, or queries a model and
            `model` is None.
    """
    _check_task(task, selectors)
    split = task.spec.split if split is None else split
    parts = ("pool", *(part for selector in selectors for part in selector.parts))
    requested = requested_metrics(metrics, task)
    check_metrics(requested, reader_for(task), task)
    by_fold = evaluated_rows(task, split, folds=folds, limit=limit, parts=parts)
    items = rows_of_run(by_fold)
    scored = [_of_images(fold) if task.spec.modality == "image" else _of_texts(fold, selectors, model) for fold in by_fold]
    fold_of = {row.id: number for number, fold in enumerate(by_fold, start=len(by_fold) > 1) for row in fold.rows}
    no_model = "no pretrained model" if task.spec.modality == "image" else "no language model"
    evaluated = []
    for of_folds in zip(*scored, strict=True):
        pairs = zip(by_fold, of_folds, strict=True)
        scores = {row.id: each for fold, part in pairs for row, each in zip(fold.rows, part.scores, strict=True)}
        inputs = _metric_input(task, items, [scores[row.id] for row in items]).with_folds([fold_of[row.id] for row in items])
        evaluated.append(
            Baseline(
                name=of_folds[0].name,
                k=of_folds[0].k,
                metric_input=inputs,
                metric=next(iter(chosen(requested, inputs).values())),
                task=task.name,
                pool=min(len(fold.task.pool()) for fold in by_fold),
            )
        )
    return Baselines(title=f"{task.name} · {split} · {len(items)} rows · {no_model}", baselines=tuple(evaluated))


def _check_task(task: Task, selectors: Sequence[Selector]) -> None:
    """Raises the errors of a task that has no baselines of a study, or of images with selectors."""
    if not task.labels:
        raise TaskError(
            f"Baselines need labels that are the same for every row, and the task {task.name} has none",
            code="no-fixed-labels",
            hint="Leave out the baselines, or use a task that declares labels",
            task=task.name,
        )
    if task.spec.multi_label:
        raise needs_single_label("A study of baselines")
    if task.spec.modality == "image" and selectors:
        raise InputError(
            f"Selectors choose demonstrations for prompts, and the task {task.name} has images",
            code="selectors-need-texts",
            hint="Leave them out",
            selector=_name(selectors[0]),
            task=task.name,
        )


@dataclass(frozen=True, slots=True)
class _Scored:
    """The scores of one baseline on the rows of one fold."""

    name: str
    k: int | None
    scores: Sequence[Scores]


def _of_texts(fold: EvaluatedRows, selectors: Sequence[Selector], model: Model | None) -> list[_Scored]:
    """Returns the baselines of texts on the rows of one fold."""
    pool, labels, items = fold.task.pool(), fold.task.labels, [row.unlabeled() for row in fold.rows]
    scored = [
        _Scored(MAJORITY, None, Majority().predict(pool, items, labels)),
        _Scored(REGRESSION, None, TfidfRegression().predict(pool, items, labels)),
    ]
    for selector in selectors:
        demonstrations, k, name = _choose(fold.task, selector, model, items), selector.k, _name(selector)
        scored.append(_Scored(f"vote of {name}", k, [*map(vote, demonstrations)]))
        scored.append(_Scored(f"regression on {name}", k, regressions(demonstrations, items)))
    return scored


def _of_images(fold: EvaluatedRows) -> list[_Scored]:
    """Returns the baselines of images on the rows of one fold."""
    pool, labels, items = fold.task.pool(), fold.task.labels, [row.unlabeled() for row in fold.rows]
    k = pixels.MAX_ROWS if len(pool) > pixels.MAX_ROWS else None
    return [
        _Scored(MAJORITY, None, Majority().predict(pool, items, labels)),
        _Scored(PIXELS, k, pixels.PixelRegression().predict(pool, items, labels)),
    ]


def _metric_input(task: Task, rows: Rows, scores: Sequence[Scores]) -> MetricInput:
    """Returns the input of metrics for rows whose labels have these scores."""
    labels, scale = task.labels, task.spec.scale
    logprobs = np.array([[each.get(label, -np.inf) for label in labels] for each in scores])
    inputs = MetricInput.of_scores(np.array([labels.index(row.label) for row in rows]), logprobs, labels=labels)
    if scale is None:
        return inputs
    gold = np.array([scale[row.label] if row.value is None else row.value for row in rows])
    return inputs.with_values(gold, expected_values(logprobs, [scale[label] for label in labels]))


def _choose(task: Task, selector: Selector, model: Model | None, items: Sequence[Example]) -> Sequence[Rows]:
    """Returns the demonstrations of each item, in the order in which they were chosen."""
    prompt, cache = Prompt(task.spec.template, demos=selector), ScoreCache()
    bind_context = BindContext(
        ask=_MissingModel(_name(selector)) if model is None else CachedModel(model, cache),
        reader=reader_for(task),
        rows={part: task.part(part) for part in prompt.parts},
        other_models={name: CachedModel(load(name), cache) for name in prompt.models},
    )
    chosen = prompt.bind(bind_context).choose(items)
    if not all(chosen):
        raise InputError(
            "A baseline of a selector needs demonstrations, and the selector chooses none",
            code="no-demonstrations",
            got=_name(selector),
            hint="Give a selector with k above 0",
            selector=_name(selector),
        )
    return chosen


class _MissingModel(DryRunModel):
    """Refuses the requests of a selector that queries a model, if none was given."""

    def __init__(self, selector: str) -> None:
        super().__init__(load("fake").card)
        self._selector = selector

    def __call__(self, requests: Sequence[Request]) -> list[Output]:
        raise InputError(
            f"The selector {self._selector} needs a model",
            code="missing-model",
            hint="Give one with baselines(..., model=model)",
            selector=self._selector,
        )


def _name(selector: Selector) -> str:
    """Returns the selector's spelling without k, which has a separate column."""
    if not is_dataclass(selector):
        return selector.name
    return spelling(selector, without="k")
