"""What no language model would get: the majority class, a vote of the demonstrations, TF-IDF with logistic regression.

They see the rows that the model is shown, or could be, and their labels; nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING

import numpy as np

from promptkit.align.chain import reader_for
from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.manipulation import BindContext
from promptkit.core.model import Model
from promptkit.core.registry import spelling
from promptkit.core.requests import Output, Request
from promptkit.display.table import Entry, Table
from promptkit.manipulate.demos import Selector
from promptkit.manipulate.prompt import Prompt
from promptkit.metrics.intervals import Estimate, wilson
from promptkit.models.cache import ScoreCache
from promptkit.models.client import CachedModel, DryRunModel
from promptkit.models.registry import load
from promptkit.tasks.sampling import by_hash
from promptkit.tasks.task import Task

if TYPE_CHECKING:
    from promptkit.core.arrays import Floats

Rows = Sequence[LabeledExample]
LESS = "model less it"
"""The column of differences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One way to answer without a language model."""

    name: str
    k: int | None
    """How many labeled rows it sees for an item; None where it sees the whole pool."""
    predictions: tuple[str, ...]
    correct: Floats
    """Shape (N,): 1.0 or 0.0."""
    difference: Estimate | None = None
    """The study's accuracy less its own, paired by item."""

    @property
    def accuracy(self) -> Estimate:
        """With its Wilson interval."""
        return wilson(int(self.correct.sum()), len(self.correct))

    def to_json(self) -> dict[str, object]:
        """Its figures."""
        difference = None if self.difference is None else asdict(self.difference)
        return {"name": self.name, "k": self.k, "accuracy": asdict(self.accuracy), "difference": difference}


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """Several, over the same items. Prints as a table."""

    title: str
    pool: int
    """How many labeled rows the pool has."""
    baselines: tuple[Control, ...]
    against: str = ""
    """What of the study the differences are of."""

    def table(self) -> Table:
        """A line a control."""
        columns = ("without a model", "k", "accuracy", *([LESS] if self.against else []))
        rows: list[tuple[Entry, ...]] = [
            (each.name, self.pool if each.k is None else each.k, each.accuracy, *([each.difference] if self.against else []))
            for each in self.baselines
        ]
        over = "Wilson; of differences, over items and seeds" if self.against else "Wilson"
        told = f"model: {self.against}; paired by item. " if self.against else ""
        return Table(
            title=self.title,
            columns=columns,
            rows=tuple(rows),
            names=2,
            caption=f"{told}k: the labeled rows that it sees. Below each figure its 95% interval ({over})",
            signed=(LESS,),
        )

    def to_json(self) -> list[dict[str, object]]:
        """What `promptkit study --json` prints of them."""
        return [each.to_json() for each in self.baselines]

    def __str__(self) -> str:
        """The table."""
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def baselines(
    task: Task, *selectors: Selector, model: Model | None = None, split: str | None = None, limit: int | None = None
) -> Baselines:
    """The majority of the pool and a regression on it; for each selector a vote of the rows it chooses, and a regression.

    The rows are those that a study of the task evaluates, with the same `split` and `limit`; `model` is what a selector asks
    that asks the model. Raises for a task whose rows have no labels in common.
    """
    if not task.labels:
        raise TaskError(
            f"Controls need labels that are the same for every row, and the task {task.name} has none",
            code="no-fixed-labels",
            hint="Leave out the controls, or use a task that declares labels",
            task=task.name,
        )
    split = split or task.spec.split
    rows, pool = by_hash(task.rows(split), limit), task.pool()
    items, gold = [row.unlabeled() for row in rows], [row.label for row in rows]

    def control(name: str, k: int | None, said: Sequence[str]) -> Control:
        correct = np.array([one == other for one, other in zip(said, gold, strict=True)], float)
        return Control(name=name, k=k, predictions=tuple(said), correct=correct)

    found = [
        control("majority of the pool", None, [majority(pool, task.labels)] * len(items)),
        control("regression on the pool", None, regression(pool, items)),
    ]
    for selector in selectors:
        chosen, k, name = _chosen(task, selector, model, items), getattr(selector, "k", None), _name(selector)
        found.append(control(f"vote of {name}", k, [*map(vote, chosen)]))
        found.append(control(f"regression on {name}", k, regressions(chosen, items)))
    title = f"{task.name} · {split} · {len(items)} rows · no language model"
    return Baselines(title=title, pool=len(pool), baselines=tuple(found))


def majority(pool: Rows, labels: Sequence[str]) -> str:
    """The most frequent label of the pool; ties go to the first that is declared."""
    counts = Counter(row.label for row in pool)
    return max(labels, key=lambda label: counts[label])


def vote(chosen: Rows) -> str:
    """The most frequent label of the demonstrations chosen for a row; ties go to the one that was chosen first."""
    return Counter(row.label for row in chosen).most_common(1)[0][0]


def regression(rows: Rows, items: Sequence[Example]) -> list[str]:
    """The items' labels by TF-IDF of words, then logistic regression (scikit-learn, its defaults), fitted on the rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = sorted(rows, key=lambda row: row.id)
    labels = [row.label for row in rows]
    if len(set(labels)) == 1:
        return labels[:1] * len(items)
    pipeline = make_pipeline(TfidfVectorizer(token_pattern=r"\w+"), LogisticRegression(max_iter=1000))
    pipeline.fit([_text(row) for row in rows], labels)
    return [str(label) for label in pipeline.predict([_text(item) for item in items])]


def regressions(chosen: Sequence[Rows], items: Sequence[Example]) -> list[str]:
    """For each item a regression on the rows chosen for it; those that have the same rows share it."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, rows in enumerate(chosen):
        groups.setdefault(tuple(sorted(row.id for row in rows)), []).append(number)
    said: dict[int, str] = {}
    for numbers in groups.values():
        labels = regression(chosen[numbers[0]], [items[number] for number in numbers])
        said |= dict(zip(numbers, labels, strict=True))
    return [said[number] for number in range(len(items))]


def _chosen(task: Task, selector: Selector, model: Model | None, items: Sequence[Example]) -> Sequence[Rows]:
    """The demonstrations of each item, in the order of choice."""
    prompt, cache = Prompt(task.spec.template, demos=selector), ScoreCache()
    bind_context = BindContext(
        ask=_Nobody(_name(selector)) if model is None else CachedModel(model, cache),
        reading=reader_for(task),
        rows={part: task.part(part) for part in prompt.parts},
        other_models={name: CachedModel(load(name), cache) for name in prompt.models},
    )
    chosen = prompt.bind(bind_context).choose(items)
    if not all(chosen):
        raise InputError(
            "A control needs demonstrations, and the selector chooses none",
            code="no-demonstrations",
            got=_name(selector),
            hint="Give a selector with k above 0",
            selector=_name(selector),
        )
    return chosen


class _Nobody(DryRunModel):
    """Stands for a model where none was given."""

    def __init__(self, selector: str) -> None:
        super().__init__(load("fake").card)
        self._selector = selector

    def __call__(self, requests: Sequence[Request]) -> list[Output]:
        hint = "Give one with controls(..., model=model)"
        raise InputError(
            f"The selector {self._selector} needs a model", code="missing-model", hint=hint, selector=self._selector
        )


def _name(selector: Selector) -> str:
    """Its spelling, which k is no part of."""
    if not is_dataclass(selector):
        return selector.name
    return ":".join(part for part in spelling(selector).split(":") if not part.startswith("k="))


def _text(example: Example) -> str:
    return "\n".join(example.inputs.values())
