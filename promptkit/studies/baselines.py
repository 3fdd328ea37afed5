"""Baselines without a language model: majority class, vote of demonstrations, TF-IDF with logistic regression.

They use only labeled rows that a prompt could contain: the pool, or the demonstrations that a selector chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.chain import reader_for
from promptkit.classical import pixels
from promptkit.classical.baseline import Rows
from promptkit.classical.majority import majority
from promptkit.classical.tfidf import text_regression
from promptkit.core.arguments import check_arguments
from promptkit.core.errors import InputError, TaskError, needs_single_label
from promptkit.core.examples import Example
from promptkit.core.manipulation import BindContext
from promptkit.core.model import Model
from promptkit.core.registry import spelling
from promptkit.core.requests import Output, Request
from promptkit.display.table import Entry, Table
from promptkit.manipulate.demos import Selector
from promptkit.manipulate.prompt import Prompt
from promptkit.metrics.intervals import Estimate, mean_share
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel, DryRunModel
from promptkit.models.registry import load
from promptkit.studies.demonstration_baselines import regressions, vote
from promptkit.tasks.single_table import EvaluatedRows, evaluated_rows, rows_of_run
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats, Integers

DIFFERENCE = "model - baseline"
"""The column with differences of accuracy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The predictions of one baseline."""

    name: str
    k: int | None
    """The number of labeled rows it uses for each item; None for the whole pool."""
    predictions: tuple[str, ...]
    """The predicted label of each item."""
    correct: Floats
    """1.0 for a correct prediction, 0.0 for a wrong one; shape (items,)."""
    folds: Integers | None = None
    """The fold of each item, shape (items,); None without folds."""
    difference: Estimate | None = None
    """The mean accuracy of a study's cells minus that of the baseline, paired by item; None without a study."""
    task: str = ""
    """The name of the task."""
    pool: int = 0
    """The number of labeled rows in the pool of the task."""

    @property
    def accuracy(self) -> Estimate:
        """The accuracy, with its 95% Wilson interval, which contains the variance between folds if there are any."""
        return mean_share(self.correct, self.folds)

    def to_json(self) -> dict[str, object]:
        """Returns name, task, k, accuracy and difference."""
        difference = None if self.difference is None else asdict(self.difference)
        return {"name": self.name, "task": self.task, "k": self.k, "accuracy": asdict(self.accuracy), "difference": difference}


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
                baseline.accuracy,
                *([baseline.difference] if self.reference else []),
            )
            for baseline in self.baselines
        ]
        interval = "Wilson; of differences, over items and seeds" if self.reference else "Wilson"
        model = f"model: {self.reference}; paired by item. " if self.reference else ""
        return Table(
            title=self.title,
            columns=("baseline", *(["task"] if several else []), "k", "accuracy", *([DIFFERENCE] if self.reference else [])),
            rows=tuple(rows),
            names=3 if several else 2,
            caption=f"{model}k: number of labeled rows used. Below each figure its 95% interval ({interval})",
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

    Raises:
        TaskError: If the rows of the task do not have a fixed set of labels.
        InputError: If a selector chooses no demonstrations, or queries a model and `model` is None.
    """
    if not task.labels:
        raise TaskError(
            f"Baselines need labels that are the same for every row, and the task {task.name} has none",
            code="no-fixed-labels",
            hint="Leave out the baselines, or use a task that declares labels",
            task=task.name,
        )
    if task.spec.multi_label:
        raise needs_single_label("A study of baselines")
    split = task.spec.split if split is None else split
    if task.spec.modality == "image" and selectors:
        raise InputError(
            f"Selectors choose demonstrations for prompts, and the task {task.name} has images",
            code="selectors-need-texts",
            hint="Leave them out",
            selector=_name(selectors[0]),
            task=task.name,
        )
    parts = ("pool", *(part for selector in selectors for part in selector.parts))
    by_fold = evaluated_rows(task, split, folds=folds, limit=limit, parts=parts)
    items = rows_of_run(by_fold)
    evaluated = [_of_images(fold) if task.spec.modality == "image" else _of_texts(fold, selectors, model) for fold in by_fold]
    places = {row.id: place for place, row in enumerate(row for fold in by_fold for row in fold.rows)}
    no_model = "no pretrained model" if task.spec.modality == "image" else "no language model"
    return Baselines(
        title=f"{task.name} · {split} · {len(items)} rows · {no_model}",
        baselines=_of_task(
            task,
            min(len(fold.task.pool()) for fold in by_fold),
            [_joined(of_folds, [places[row.id] for row in items]) for of_folds in zip(*evaluated, strict=True)],
        ),
    )


def _of_texts(fold: EvaluatedRows, selectors: Sequence[Selector], model: Model | None) -> list[Baseline]:
    """Returns the baselines of texts on the rows of one fold."""
    pool, labels = fold.task.pool(), fold.task.labels
    items, gold = [row.unlabeled() for row in fold.rows], [row.label for row in fold.rows]
    baselines = [
        _baseline("majority of the pool", None, [majority(pool, labels)] * len(items), gold),
        _baseline("regression on the pool", None, text_regression(pool, items), gold),
    ]
    for selector in selectors:
        chosen, k, name = _choose(fold.task, selector, model, items), selector.k, _name(selector)
        baselines.append(_baseline(f"vote of {name}", k, [*map(vote, chosen)], gold))
        baselines.append(_baseline(f"regression on {name}", k, regressions(chosen, items), gold))
    return baselines


def _of_images(fold: EvaluatedRows) -> list[Baseline]:
    """Returns the baselines of images on the rows of one fold."""
    pool, labels = fold.task.pool(), fold.task.labels
    items, gold, used = (
        [row.unlabeled() for row in fold.rows],
        [row.label for row in fold.rows],
        min(len(pool), pixels.MAX_ROWS),
    )
    return [
        _baseline("majority of the pool", None, [majority(pool, labels)] * len(items), gold),
        _baseline("regression on pixels", used if used < len(pool) else None, pixels.pixel_regression(pool, items), gold),
    ]


def _joined(of_folds: Sequence[Baseline], order: Sequence[int]) -> Baseline:
    """Returns one baseline on the rows of all folds, in the order of the run."""
    predictions = [prediction for baseline in of_folds for prediction in baseline.predictions]
    correct = np.concatenate([baseline.correct for baseline in of_folds])
    folds = np.repeat(range(len(of_folds)), [len(baseline.correct) for baseline in of_folds])
    return replace(
        of_folds[0],
        predictions=tuple(predictions[index] for index in order),
        correct=correct[[*order]],
        folds=folds[[*order]] if len(of_folds) > 1 else None,
    )


def _of_task(task: Task, pool: int, baselines: Sequence[Baseline]) -> tuple[Baseline, ...]:
    return tuple(replace(baseline, task=task.name, pool=pool) for baseline in baselines)


def _baseline(name: str, k: int | None, predictions: Sequence[str], gold: Sequence[str]) -> Baseline:
    correct = np.array([prediction == label for prediction, label in zip(predictions, gold, strict=True)], float)
    return Baseline(name=name, k=k, predictions=tuple(predictions), correct=correct)


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
