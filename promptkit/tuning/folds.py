"""Divides labeled rows into stratified folds, so that every row is answered with what the rows of the other folds provide.

Every label is spread evenly over the folds, and rows with equal inputs are in the same fold. The folds depend only on the
contents of the rows, their labels and the seed, not on the order of the rows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from promptkit.core.errors import TaskError
from promptkit.core.examples import LabeledExample
from promptkit.core.seeding import hash_rank
from promptkit.tasks.division import WITHOUT_FIT, Division
from promptkit.tasks.folds import Fold
from promptkit.tasks.task import Task

FOLDS = 5
"""The number of folds, if every label has that many rows."""
EVERYTHING = Division(pool=1.0)
"""All rows of the other folds are available for demonstrations; alignments are fitted on their answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRows:
    """The labeled rows of a task in the order in which candidates answer them, and the fold of each row."""

    task: Task
    rows: tuple[LabeledExample, ...]
    """The rows, in their order: by hash."""
    folds: tuple[int, ...] = field(repr=False)
    """The number of each row's fold, from 1."""
    of: int
    """The number of folds."""
    apart: tuple[LabeledExample, ...] = field(default=(), repr=False)
    """Rows that are never answered, because instructions are proposed from them. They are available in every fold."""

    @property
    def labeled(self) -> tuple[LabeledExample, ...]:
        """All labeled rows: those that are answered, then those that are not."""
        return (*self.rows, *self.apart)

    def __len__(self) -> int:
        return len(self.rows)

    def task_of_fold(self, number: int) -> Task:
        """Returns the task with a fold as its evaluated split and all rows of the other folds as the pool."""
        return self._held_out(number, [fold == number for fold in self.folds])

    def task_of_all(self) -> Task:
        """Returns the task with all rows as the pool, and no evaluated rows."""
        return self._held_out(0, [False] * len(self))

    def training_task(self, number: int) -> Task:
        """Returns the task of a fold, or of all rows for 0, with 80% of the other rows to train on and 20% as dev rows."""
        task = self.task_of_fold(number) if number else self.task_of_all()
        return replace(task, division=WITHOUT_FIT)

    def _held_out(self, number: int, evaluated: Sequence[bool]) -> Task:
        pairs = list(zip(self.rows, evaluated, strict=True))
        fold = Fold(
            number=number,
            of=self.of,
            split=self.task.spec.split,
            rows=tuple(row for row, held_out in pairs if held_out),
            others=(*(row for row, held_out in pairs if not held_out), *self.apart),
            division=EVERYTHING,
        )
        return replace(self.task, held_out=fold, division=EVERYTHING)


def stratified(
    task: Task, rows: Sequence[LabeledExample], seed: int = 0, *, apart: Sequence[LabeledExample] = ()
) -> TuningRows:
    """Divides labeled rows into folds.

    Args:
        task: The task of the rows.
        rows: The rows.
        seed: Seed of the order of the rows, by which they are dealt to the folds.
        apart: The rows that are not answered.

    Raises:
        TaskError: Fewer than 2 rows differ.
    """
    ids = {row.id for row in apart}
    answered = [row for row in rows if row.id not in ids]
    ordered = sorted(answered, key=lambda row: hash_rank(seed, "tune", row.content.digest(row.choices), row.id))
    groups: dict[object, list[LabeledExample]] = defaultdict(list)
    for row in ordered:
        groups[row.content].append(row)
    of = min(FOLDS, len(groups))
    if of < 2:
        raise TaskError(
            "Rows cannot be divided into folds if all of them have the same inputs",
            code="too-few-distinct-rows",
            got=f"{len(ordered)} rows",
            hint="Add rows with other inputs",
            distinct=len(groups),
            rows=len(ordered),
        )
    sizes: Counter[int] = Counter(dict.fromkeys(range(1, of + 1), 0))
    labels: dict[str, Counter[int]] = defaultdict(Counter)
    fold_of: dict[object, int] = {}
    for content, group in groups.items():
        label = group[0].label
        fold_of[content] = min(sizes, key=lambda number: (labels[label][number], sizes[number], number))
        labels[label][fold_of[content]] += len(group)
        sizes[fold_of[content]] += len(group)
    folds = tuple(fold_of[row.content] for row in ordered)
    return TuningRows(task=task, rows=tuple(ordered), folds=folds, of=of, apart=tuple(apart))
