"""Selection of demonstrations from ranked queues of rows.

No row is shown as its own demonstration, no demonstration has the same inputs as the row, and no two demonstrations of a row
have equal inputs. A demonstration that would break these rules is replaced by the next in its queue, for that row only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence

from promptkit.core.examples import Example, LabeledExample, Part
from promptkit.core.hashing import short_hash
from promptkit.core.seeding import hash_rank
from promptkit.core.values import Value, value_identity

Demonstrations = tuple[LabeledExample, ...]
"""The demonstrations of one row, in order."""
Choose = Callable[[Sequence[Example]], list[Demonstrations]]
"""Returns the demonstrations of each row."""
Arrange = Callable[[Sequence[Example], Sequence[Demonstrations]], list[Demonstrations]]
"""Returns each row's demonstrations in the order shown."""
Reason = Callable[[Sequence[Example], Sequence[Demonstrations]], list[str]]
"""Returns the reasoning text that follows each row's query and precedes its answer."""


def draw_excluding_self(queues: Sequence[Sequence[LabeledExample]], example: Example) -> Demonstrations:
    """Draws one row from each queue, never a row with the example's own inputs.

    Args:
        queues: One queue per demonstration, best row first. The same queue may be used several times.
        example: The row to show demonstrations for. If its inputs were drawn, that demonstration is replaced by the next in
            its queue and the others stay the same.

    Returns:
        The demonstrations in the order of the queues. Exhausted queues are skipped.
    """
    used: list[Mapping[str, Value]] = []

    def next_in(queue: Sequence[LabeledExample]) -> LabeledExample | None:
        row = next((row for row in queue if row.inputs not in used), None)
        if row is not None:
            used.append(row.inputs)
        return row

    drawn = [next_in(queue) for queue in queues]
    if example.inputs not in used:
        used.append(example.inputs)
    drawn = [
        next_in(queue) if row is not None and row.inputs == example.inputs else row
        for queue, row in zip(queues, drawn, strict=True)
    ]
    return tuple(row for row in drawn if row is not None)


def choose_shared(queues: Sequence[Sequence[LabeledExample]]) -> Choose:
    """Returns a selection from the same queues for every row."""
    common = draw_excluding_self(queues, Example(id="", inputs={}))
    inputs = {inputs_key(row) for row in common}
    return lambda examples: [
        draw_excluding_self(queues, example) if inputs_key(example) in inputs else common for example in examples
    ]


def inputs_text(example: Example) -> str:
    """Returns the text by which rows are compared: the inputs, sorted by variable name, one per line, without the template."""
    return "\n".join(text for _, text in sorted(example.texts.items()))


def inputs_key(example: Example) -> Hashable:
    """Returns a key that is equal for two rows if and only if their inputs are equal."""
    return frozenset(example.inputs.items())


def shuffle_by_hash(seed: int, rows: Demonstrations) -> Demonstrations:
    """Shuffles a set of rows by hash; the result does not depend on the order of `rows`."""
    set_key = ",".join(sorted(row.id for row in rows))
    return tuple(sorted(rows, key=lambda row: hash_rank(seed, set_key, row.id)))


def rows_digest(rows: Mapping[Part, Sequence[LabeledExample]]) -> str:
    """Returns a hash of rows, in their order, with their labels and rationales."""
    return short_hash(json.dumps([[part, *map(_row_identity, of_part)] for part, of_part in rows.items()]))


def _row_identity(row: LabeledExample) -> list[object]:
    inputs = {variable: value_identity(value) for variable, value in sorted(row.inputs.items())}
    return [row.id, inputs, row.choices, row.label, row.accepted, row.labels, row.value, sorted(row.rationale.items())]


def count_distinct(rows: Sequence[LabeledExample]) -> int:
    """Returns the number of rows with distinct inputs."""
    return len(distinct(rows))


def distinct(rows: Sequence[LabeledExample]) -> list[LabeledExample]:
    """Returns the rows without those that repeat the inputs of an earlier row."""
    first: dict[Hashable, LabeledExample] = {}
    for row in rows:
        first.setdefault(inputs_key(row), row)
    return [*first.values()]
