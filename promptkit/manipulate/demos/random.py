"""Demonstrations without regard to the row: none, the first, or by chance.

Chance comes from hashes of (seed, id) and not from a generator's state, so that neither the order nor the subset in which
rows are asked for changes it, and the k demonstrations of one seed are among the k + 1 of the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.errors import TaskError
from promptkit.core.examples import Example
from promptkit.core.registry import checked
from promptkit.core.seeding import hash_rank
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import (
    Choose,
    Demonstrations,
    check_pool_size,
    choose_shared,
    count_distinct,
    draw_excluding_self,
)


@dataclass(frozen=True)
class zero:  # noqa: N801 - a selector's class name is its spelling everywhere
    """No demonstrations."""

    name: ClassVar[str] = "zero"
    k: ClassVar[int] = 0

    def bind(self, context: SelectionContext) -> Choose:
        """Nothing, for every row."""
        return choose_shared([])


@dataclass(frozen=True)
class first:  # noqa: N801
    """The first k rows of the pool, in the file's order."""

    k: int = 8
    name: ClassVar[str] = "first"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def bind(self, context: SelectionContext) -> Choose:
        """The same k rows for every row."""
        check_pool_size(self.k, context.pool)
        return choose_shared([context.pool] * self.k)


@dataclass(frozen=True)
class random:  # noqa: N801
    """k rows drawn once, for all rows alike."""

    k: int = 8
    seed: int = 0
    name: ClassVar[str] = "random"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def bind(self, context: SelectionContext) -> Choose:
        """The same k rows for every row."""
        check_pool_size(self.k, context.pool)
        queue = sorted(context.pool, key=lambda row: hash_rank(self.seed, row.id))
        return choose_shared([queue] * self.k)


@dataclass(frozen=True)
class random_each:  # noqa: N801
    """k rows drawn anew for each row."""

    k: int = 8
    seed: int = 0
    name: ClassVar[str] = "random-each"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def bind(self, context: SelectionContext) -> Choose:
        """Another k rows for every row."""
        check_pool_size(self.k, context.pool)

        def drawn(example: Example) -> Demonstrations:
            queue = sorted(context.pool, key=lambda row: hash_rank(self.seed, example.id, row.id))
            return draw_excluding_self([queue] * self.k, example)

        return lambda examples: [*map(drawn, examples)]


@dataclass(frozen=True)
class balanced:  # noqa: N801
    """k rows drawn once, k / K of each class; which classes get the remainder is drawn too."""

    k: int = 8
    seed: int = 0
    name: ClassVar[str] = "balanced"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def bind(self, context: SelectionContext) -> Choose:
        """The same k rows for every row, the classes mixed by chance; raises if a class has too few rows."""
        labels = context.labels
        if not labels:
            raise TaskError(
                "Balanced demonstrations need a task whose labels are the same for every row",
                code="no-fixed-labels",
                hint="Use random or random-each demonstrations",
                selector=self.name,
            )
        check_pool_size(self.k, context.pool)
        lines = {label: [row for row in context.pool if row.label == label] for label in labels}
        for line in lines.values():
            line.sort(key=lambda row: hash_rank(self.seed, row.id))
        by_chance = sorted(labels, key=lambda label: hash_rank(self.seed, "class", label))
        share, rest = divmod(self.k, len(labels))
        places = {label: share + (by_chance.index(label) < rest) for label in labels}
        short = [label for label, count in places.items() if count > count_distinct(lines[label])]
        if short:
            raise TaskError(
                f"The pool has too few rows with the label {', '.join(short[:5])} for {self.k} balanced demonstrations",
                code="too-few-rows-of-label",
                got=", ".join(f"{count_distinct(lines[label])} of {label}" for label in short[:5]),
                hint="Use fewer shots, or --demos random",
                k=self.k,
                labels=tuple(short[:5]),
                rows=tuple(count_distinct(lines[label]) for label in short[:5]),
            )
        slots = [(hash_rank(self.seed, row.id), label) for label in labels for row in lines[label][: places[label]]]
        queues = [lines[label] for _, label in sorted(slots)]
        return choose_shared(queues)
