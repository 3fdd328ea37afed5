"""Which rows of the pool are shown as demonstrations.

A choice is a function of the row's input, the set of pool rows, k and the seed. Chance comes from hashes of (seed, id)
and not from a generator's state, so that neither the order nor the subset in which rows are asked for changes it, and
the k demonstrations of one seed are among the k + 1 of the same seed. A row is never its own demonstration, nor is
one with equal inputs: where a shared set holds it, its place is taken by the next in line, for that row only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from promptkit.errors import PromptkitError
from promptkit.registry import checked
from promptkit.types import Example, LabelledExample

Choose = Callable[[Example], tuple[LabelledExample, ...]]


class Selector(Protocol):
    """Chooses demonstrations; one instance is one setting."""

    name: ClassVar[str]

    def over(self, pool: Sequence[LabelledExample], labels: Sequence[str]) -> Choose:
        """The choice for any row, over this pool; raises if the pool is too small."""
        ...


def _chance(seed: int, *keys: str) -> bytes:
    """A rank by chance: a hash of the seed and the keys."""
    return hashlib.sha256("\0".join([str(seed), *keys]).encode("utf-8", "surrogatepass")).digest()


def _in_line(queues: Sequence[Sequence[LabelledExample]], example: Example) -> tuple[LabelledExample, ...]:
    """One row from each queue; a queue may stand in several places. No two have equal inputs.

    The place of a row with inputs equal to the example's is taken by the next in its queue; the others stay.
    """
    taken: list[Mapping[str, str]] = []

    def next_of(queue: Sequence[LabelledExample]) -> LabelledExample | None:
        row = next((row for row in queue if row.inputs not in taken), None)
        if row is not None:
            taken.append(row.inputs)
        return row

    chosen = [next_of(queue) for queue in queues]
    if example.inputs not in taken:
        taken.append(example.inputs)
    chosen = [
        next_of(queue) if row is not None and row.inputs == example.inputs else row
        for queue, row in zip(queues, chosen, strict=True)
    ]
    return tuple(row for row in chosen if row is not None)


def _different(rows: Sequence[LabelledExample]) -> int:
    """How many of them have different inputs."""
    return len({tuple(sorted(row.inputs.items())) for row in rows})


def _enough(k: int, pool: Sequence[LabelledExample]) -> None:
    if k < 0:
        raise PromptkitError("The number of demonstrations cannot be negative", got=f"k={k}")
    if k > _different(pool):
        raise PromptkitError(
            f"{k} demonstrations were asked for, but the pool has {_different(pool)} different rows",
            hint="Ask for fewer shots, or give more train rows: most of them are the pool, the others are kept for calibration",
        )


@dataclass(frozen=True)
class zero:  # noqa: N801 - a selector's class name is its spelling everywhere
    """No demonstrations."""

    name: ClassVar[str] = "zero"
    k: ClassVar[int] = 0

    def over(self, pool: Sequence[LabelledExample], labels: Sequence[str]) -> Choose:
        """Nothing, for every row."""
        return lambda example: ()


@dataclass(frozen=True)
class first:  # noqa: N801
    """The first k rows of the pool, in the file's order."""

    k: int = 8
    name: ClassVar[str] = "first"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def over(self, pool: Sequence[LabelledExample], labels: Sequence[str]) -> Choose:
        """The same k rows for every row."""
        _enough(self.k, pool)
        return lambda example: _in_line([pool] * self.k, example)


@dataclass(frozen=True)
class random:  # noqa: N801
    """k rows drawn once, for all rows alike."""

    k: int = 8
    seed: int = 0
    name: ClassVar[str] = "random"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def over(self, pool: Sequence[LabelledExample], labels: Sequence[str]) -> Choose:
        """The same k rows for every row."""
        _enough(self.k, pool)
        queue = sorted(pool, key=lambda row: _chance(self.seed, row.id))
        return lambda example: _in_line([queue] * self.k, example)


@dataclass(frozen=True)
class random_each:  # noqa: N801
    """k rows drawn anew for each row."""

    k: int = 8
    seed: int = 0
    name: ClassVar[str] = "random-each"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def over(self, pool: Sequence[LabelledExample], labels: Sequence[str]) -> Choose:
        """Another k rows for every row."""
        _enough(self.k, pool)

        def choose(example: Example) -> tuple[LabelledExample, ...]:
            queue = sorted(pool, key=lambda row: _chance(self.seed, example.id, row.id))
            return _in_line([queue] * self.k, example)

        return choose


@dataclass(frozen=True)
class balanced:  # noqa: N801
    """k rows drawn once, k / K of each class; which classes get the remainder is drawn too."""

    k: int = 8
    seed: int = 0
    name: ClassVar[str] = "balanced"

    def __post_init__(self) -> None:
        """Refuse what is no number."""
        checked(self)

    def over(self, pool: Sequence[LabelledExample], labels: Sequence[str]) -> Choose:
        """The same k rows for every row, the classes mixed by chance; raises if a class has too few rows."""
        if not labels:
            hint = "Use random demonstrations, or random-each"
            raise PromptkitError("Balanced demonstrations need labels that are the same for every row", hint=hint)
        _enough(self.k, pool)
        lines = {label: [row for row in pool if row.label == label] for label in labels}
        for line in lines.values():
            line.sort(key=lambda row: _chance(self.seed, row.id))
        by_chance = sorted(labels, key=lambda label: _chance(self.seed, "class", label))
        share, rest = divmod(self.k, len(labels))
        places = {label: share + (by_chance.index(label) < rest) for label in labels}
        short = [label for label, count in places.items() if count > _different(lines[label])]
        if short:
            raise PromptkitError(
                f"The pool has too few rows of {', '.join(short[:5])} for {self.k} balanced demonstrations",
                got=", ".join(f"{_different(lines[label])} of {label}" for label in short[:5]),
                hint="Ask for fewer shots, or for --demos random",
            )
        slots = [(_chance(self.seed, row.id), label) for label in labels for row in lines[label][: places[label]]]
        queues = [lines[label] for _, label in sorted(slots)]
        return lambda example: _in_line(queues, example)


SELECTORS: Mapping[str, type] = {selector.name: selector for selector in (zero, first, random, random_each, balanced)}
