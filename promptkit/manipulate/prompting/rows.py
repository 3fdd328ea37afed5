"""Demonstrations taken from rows that stand in line.

A row is never its own demonstration, nor is one with equal inputs, and no two demonstrations have equal inputs: the place of
one that would be is taken by the next in line, for that row only.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

from promptkit.core.errors import InputError, TaskError
from promptkit.core.examples import Example, LabeledExample
from promptkit.core.seeding import hash_rank

Demonstrations = tuple[LabeledExample, ...]


Choose = Callable[[Sequence[Example]], list[Demonstrations]]
"""The demonstrations of each row."""


Arrange = Callable[[Sequence[Example], Sequence[Demonstrations]], list[Demonstrations]]
"""Each row's demonstrations in the order shown."""


Reason = Callable[[Sequence[Example], Sequence[Demonstrations]], list[str]]
"""What stands between each row's query and its answer."""


def draw_excluding_self(queues: Sequence[Sequence[LabeledExample]], example: Example) -> Demonstrations:
    """One row from each queue; a queue may stand in several places.

    The place of a row with inputs equal to the example's is taken by the next in its queue; the others stay.
    """
    taken: list[Mapping[str, str]] = []

    def next_of(queue: Sequence[LabeledExample]) -> LabeledExample | None:
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


def inputs_text(example: Example) -> str:
    """What a row is compared by: its inputs, a line each in the order of their names; the template does not change it."""
    return "\n".join(text for _, text in sorted(example.inputs.items()))


def choose_shared(queues: Sequence[Sequence[LabeledExample]]) -> Choose:
    """The same queues for every row."""
    return lambda examples: [draw_excluding_self(queues, example) for example in examples]


def shuffle_by_hash(seed: int, rows: Demonstrations) -> Demonstrations:
    """The set in an order by chance, whichever order it comes in."""
    whole = ",".join(sorted(row.id for row in rows))
    return tuple(sorted(rows, key=lambda row: hash_rank(seed, whole, row.id)))


def inputs_key(example: Example) -> Hashable:
    """Equal for rows of equal inputs, and for no others."""
    return frozenset(example.inputs.items())


def count_distinct(rows: Sequence[LabeledExample]) -> int:
    """How many of them have different inputs."""
    return len(distinct(rows))


def distinct(rows: Sequence[LabeledExample]) -> list[LabeledExample]:
    """Those whose inputs no earlier one has."""
    first: dict[Hashable, LabeledExample] = {}
    for row in rows:
        first.setdefault(inputs_key(row), row)
    return [*first.values()]


def check_pool_size(k: int, pool: Sequence[LabeledExample]) -> None:
    """Raise if the pool has too few rows for k demonstrations."""
    if k < 0:
        raise InputError("The number of demonstrations must not be negative", code="out-of-range", got=f"k={k}", k=k)
    if k > count_distinct(pool):
        raise TaskError(
            f"{k} demonstrations were requested, but the pool has only {count_distinct(pool)} distinct rows",
            code="too-few-rows",
            hint="Use fewer shots, or add train rows: most of them form the pool, the others are reserved for calibration",
            k=k,
            rows=count_distinct(pool),
        )
