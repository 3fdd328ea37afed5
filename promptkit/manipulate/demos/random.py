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
from promptkit.core.seeding import chance
from promptkit.manipulate.prompting.context import Bench
from promptkit.manipulate.prompting.rows import Choose, Demonstrations, different, enough, in_line, shared


@dataclass(frozen=True)
class zero:  # noqa: N801 - a selector's class name is its spelling everywhere
    """No demonstrations."""

    name: ClassVar[str] = "zero"
    k: ClassVar[int] = 0

    def bind(self, bench: Bench) -> Choose:
        """Nothing, for every row."""
        return shared([])


@dataclass(frozen=True)
class first:  # noqa: N801
    """The first k rows of the pool, in the file's order."""

    k: int = 8
    name: ClassVar[str] = "first"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def bind(self, bench: Bench) -> Choose:
        """The same k rows for every row."""
        enough(self.k, bench.pool)
        return shared([bench.pool] * self.k)


@dataclass(frozen=True)
class random:  # noqa: N801
    """k rows drawn once, for all rows alike."""

    k: int = 8
    seed: int = 0
    name: ClassVar[str] = "random"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def bind(self, bench: Bench) -> Choose:
        """The same k rows for every row."""
        enough(self.k, bench.pool)
        queue = sorted(bench.pool, key=lambda row: chance(self.seed, row.id))
        return shared([queue] * self.k)


@dataclass(frozen=True)
class random_each:  # noqa: N801
    """k rows drawn anew for each row."""

    k: int = 8
    seed: int = 0
    name: ClassVar[str] = "random-each"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def bind(self, bench: Bench) -> Choose:
        """Another k rows for every row."""
        enough(self.k, bench.pool)

        def drawn(example: Example) -> Demonstrations:
            queue = sorted(bench.pool, key=lambda row: chance(self.seed, example.id, row.id))
            return in_line([queue] * self.k, example)

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

    def bind(self, bench: Bench) -> Choose:
        """The same k rows for every row, the classes mixed by chance; raises if a class has too few rows."""
        labels = bench.labels
        if not labels:
            raise TaskError(
                "Balanced demonstrations need a task whose labels are the same for every row",
                code="no-fixed-labels",
                hint="Use random or random-each demonstrations",
                selector=self.name,
            )
        enough(self.k, bench.pool)
        lines = {label: [row for row in bench.pool if row.label == label] for label in labels}
        for line in lines.values():
            line.sort(key=lambda row: chance(self.seed, row.id))
        by_chance = sorted(labels, key=lambda label: chance(self.seed, "class", label))
        share, rest = divmod(self.k, len(labels))
        places = {label: share + (by_chance.index(label) < rest) for label in labels}
        short = [label for label, count in places.items() if count > different(lines[label])]
        if short:
            raise TaskError(
                f"The pool has too few rows with the label {', '.join(short[:5])} for {self.k} balanced demonstrations",
                code="too-few-rows-of-label",
                got=", ".join(f"{different(lines[label])} of {label}" for label in short[:5]),
                hint="Use fewer shots, or --demos random",
                k=self.k,
                labels=tuple(short[:5]),
                rows=tuple(different(lines[label]) for label in short[:5]),
            )
        slots = [(chance(self.seed, row.id), label) for label in labels for row in lines[label][: places[label]]]
        queues = [lines[label] for _, label in sorted(slots)]
        return shared(queues)
