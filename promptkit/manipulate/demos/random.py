"""Selection that does not depend on the row: no demonstrations, the first k, or random ones.

Random selection sorts by a hash of (seed, id) instead of drawing from a generator, so that it depends neither on the order nor
on the subset of the rows, and the k demonstrations of a seed are among the k + 1 of the same seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from promptkit.core.caller import setting
from promptkit.core.errors import TaskError
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.seeding import hash_rank
from promptkit.manipulate.demos.selector import Selector
from promptkit.manipulate.prompting.checks import check_has_labels, check_pool_size
from promptkit.manipulate.prompting.context import SelectionContext
from promptkit.manipulate.prompting.rows import Choose, Demonstrations, choose_shared, count_distinct, draw_excluding_self


@dataclass(frozen=True)
class Zero(Selector):
    """Shows no demonstrations."""

    name: ClassVar[str] = "zero"
    is_shared: ClassVar[bool] = True

    @property
    def k(self) -> int:
        """Always 0."""
        return 0

    def bind(self, context: SelectionContext) -> Choose:
        """Returns a selection without demonstrations."""
        return choose_shared([])


@dataclass(frozen=True)
class First(Selector):
    """Shows the first k rows of the pool, in the order of the file."""

    k: int = 8
    """Number of demonstrations."""
    name: ClassVar[str] = "first"
    is_shared: ClassVar[bool] = True

    def bind(self, context: SelectionContext) -> Choose:
        """Returns the same k rows for every row."""
        check_pool_size(self.k, context.pool)
        return choose_shared([context.pool] * self.k)


@dataclass(frozen=True)
class Random(Selector):
    """Shows k random rows, the same for all rows."""

    k: int = 8
    """Number of demonstrations."""
    seed: int = 0
    """Seed of the draw."""
    name: ClassVar[str] = "random"
    is_shared: ClassVar[bool] = True

    def bind(self, context: SelectionContext) -> Choose:
        """Returns the same k rows for every row."""
        check_pool_size(self.k, context.pool)
        queue = sorted(context.pool, key=lambda row: hash_rank(self.seed, row.id))
        return choose_shared([queue] * self.k)


@dataclass(frozen=True)
class RandomEach(Selector):
    """Shows k random rows, drawn separately for each row."""

    k: int = 8
    """Number of demonstrations."""
    seed: int = 0
    """Seed of the draws."""
    name: ClassVar[str] = "random-each"

    def bind(self, context: SelectionContext) -> Choose:
        """Returns a separate draw for every row."""
        check_pool_size(self.k, context.pool)

        def draw(example: Example) -> Demonstrations:
            queue = sorted(context.pool, key=lambda row: hash_rank(self.seed, example.id, row.id))
            return draw_excluding_self([queue] * self.k, example)

        return lambda examples: [*map(draw, examples)]


@dataclass(frozen=True)
class Balanced(Selector):
    """Shows k random rows, k / K of each of K classes; the classes that get the remainder are random too."""

    k: int = 8
    """Number of demonstrations."""
    seed: int = 0
    """Seed of the draw."""
    name: ClassVar[str] = "balanced"
    is_shared: ClassVar[bool] = True

    def has_enough(self, pool: Sequence[LabeledExample], labels: Sequence[str]) -> bool:
        """Returns whether the pool has enough rows of each label."""
        counts = self._counts(tuple(labels)) if labels else {}
        return all(count_distinct([row for row in pool if row.label == label]) >= count for label, count in counts.items())

    def bind(self, context: SelectionContext) -> Choose:
        """Returns the same k rows for every row, in random order; raises TaskError if a class has too few rows."""
        check_has_labels(
            context, "Balanced demonstrations need", hint="Use random or random-each demonstrations", selector=self.name
        )
        check_pool_size(self.k, context.pool)
        queues = {
            label: sorted((row for row in context.pool if row.label == label), key=lambda row: hash_rank(self.seed, row.id))
            for label in context.labels
        }
        counts = self._counts(context.labels)
        self._check_class_sizes(counts, queues)
        drawn = [(hash_rank(self.seed, row.id), label) for label, rows in queues.items() for row in rows[: counts[label]]]
        return choose_shared([queues[label] for _, label in sorted(drawn)])

    def _counts(self, labels: tuple[str, ...]) -> dict[str, int]:
        """Returns the number of demonstrations of each class."""
        shuffled = sorted(labels, key=lambda label: hash_rank(self.seed, "class", label))
        share, remainder = divmod(self.k, len(labels))
        return {label: share + (shuffled.index(label) < remainder) for label in labels}

    def _check_class_sizes(self, counts: Mapping[str, int], queues: Mapping[str, list[LabeledExample]]) -> None:
        sizes = {label: count_distinct(rows) for label, rows in queues.items()}
        short = [label for label, count in counts.items() if count > sizes[label]][:5]
        if short:
            raise TaskError(
                f"The pool has too few rows with the label {', '.join(short)} for {self.k} balanced demonstrations",
                code="too-few-rows-of-label",
                got=", ".join(f"{sizes[label]} of {label}" for label in short),
                hint=f"Use fewer shots, or {setting('demos', 'random')}",
                k=self.k,
                labels=tuple(short),
                rows=tuple(sizes[label] for label in short),
            )
